"""Instruments in the training of other libraries: torchmetrics, Lightning, transformers; loaded when asked for."""
