"""Class statistics in one pass: counts, means and scatter."""
