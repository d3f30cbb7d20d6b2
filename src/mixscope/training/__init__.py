"""One readable training loop, its options, its losses and its checkpoints."""
