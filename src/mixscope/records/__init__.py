"""What is kept of a run, on disk. Imports no torch."""
