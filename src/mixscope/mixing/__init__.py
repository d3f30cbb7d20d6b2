"""Mixing schemes: who is blended with whom, and by how much."""
