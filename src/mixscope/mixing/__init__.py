"""Who is blended with whom, and by how much: the schemes."""
