"""Statistics without torch: intervals, turning points of curves, and numbers in words."""
