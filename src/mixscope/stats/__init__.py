"""Statistics without torch: intervals, and numbers in words."""
