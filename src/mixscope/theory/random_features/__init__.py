"""Random features: the model that explains over-training with mixup."""
