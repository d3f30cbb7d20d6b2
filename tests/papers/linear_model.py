"""A linear classifier of pixels: a network whose features of blends are the blends of its features."""

import math

from torch import nn


class LinearModel(nn.Module):
    def __init__(self, num_classes, image_shape):
        super().__init__()
        self.flatten = nn.Flatten()
        self.head = nn.Linear(math.prod(image_shape), num_classes)

    def forward(self, inputs):
        return self.head(self.flatten(inputs))
