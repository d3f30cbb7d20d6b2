"""Labels of blends: how wrong they are, and against which nature."""
