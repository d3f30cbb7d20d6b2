"""The channel of mixed features: where blends should lie, and curves fitted to measured ones."""
