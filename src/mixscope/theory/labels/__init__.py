"""Labels of blends: how wrong they are."""
