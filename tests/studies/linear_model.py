"""Linear classifiers of pixels, whose features of blends are the blends of their features; one fails in time."""

import math

import torch
from torch import nn


class LinearModel(nn.Module):
    def __init__(self, num_classes, image_shape):
        super().__init__()
        self.flatten = nn.Flatten()
        self.head = nn.Linear(math.prod(image_shape), num_classes)

    def forward(self, inputs):
        return self.head(self.flatten(inputs))


class FailingModel(LinearModel):
    """Gives infinite logits from its seventh pass in training on."""

    def __init__(self, num_classes, image_shape):
        super().__init__(num_classes, image_shape)
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))

    def forward(self, inputs):
        self.passes += self.training
        return super().forward(inputs) * (math.inf if self.training and self.passes >= 7 else 1)
