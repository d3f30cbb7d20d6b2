"""Features and logits of a model over batches, by hooks at named modules."""
