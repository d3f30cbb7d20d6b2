"""A question beyond the papers: mixup that switches itself off. `study` is read first."""
