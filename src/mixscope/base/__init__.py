"""Foundations of every room: errors, checks, files, named generators, simplex frames."""
