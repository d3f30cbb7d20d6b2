"""Over-training: the monitor and its rules, curves, gradients, sharpness."""
