"""Softmax regression: flattened pixels and a linear head."""

import math
from collections import OrderedDict

from torch import nn


class SoftmaxRegression(nn.Sequential):
    """Flatten, then a linear head."""

    def __init__(self, *, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__(OrderedDict(flatten=nn.Flatten(), head=nn.Linear(math.prod(image_shape), num_classes)))
        self.sites = ("head",)
