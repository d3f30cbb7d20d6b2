"""The study of Liu et al. 2023: over-training with mixup. `study` is read first."""
