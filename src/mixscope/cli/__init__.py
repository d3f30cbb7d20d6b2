"""The command line: what it takes, what it says."""
