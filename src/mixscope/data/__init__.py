"""Data sets: named, from a path or from the hub; checked, cached, and cut into batches on the device."""
