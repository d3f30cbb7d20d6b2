"""Trainings in float64 of networks with batch norm of every kind, in one process or as one of several."""

import os
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from torch.utils.checkpoint import checkpoint

from mixscope.data.batches import TrainingBatches
from mixscope.data.loading import load_data
from mixscope.mixing.mixup import Mixup
from mixscope.models.networks import build_model
from mixscope.training.loop import Training
from mixscope.training.recipe import Recipe


class Float64(nn.Module):
    """A network of float64 weights on float32 images."""

    def __init__(self, net):
        super().__init__()
        self.net = net.double()

    def forward(self, inputs):
        return self.net(inputs.double())


class Derived(nn.BatchNorm2d):
    """A layer derived from batch norm, with a forward pass of its own."""

    def forward(self, inputs):
        mean, variance = self.running_mean, self.running_var
        return F.relu(F.batch_norm(inputs, mean, variance, self.weight, self.bias, self.training, 0.2, self.eps))


class Functional(nn.Module):
    """Batch norm by torch's functions, without a layer."""

    def forward(self, inputs):
        values = F.batch_norm(inputs, None, None, training=True)
        return torch.batch_norm(values + 1, None, None, None, None, True, 0.1, 1e-5, False)


class Volumes(nn.Module):
    """Batch norm over channels, depth, height and width, of images seen as one channel of depth 4."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm3d(1, momentum=None)

    def forward(self, inputs):
        return self.norm(inputs.unsqueeze(1)).squeeze(1)


class Checkpointed(nn.Module):
    """Layers that are computed again in the backward pass."""

    def __init__(self, net, *, use_reentrant):
        super().__init__()
        self.net, self.use_reentrant = net, use_reentrant

    def forward(self, inputs):
        return checkpoint(self.net, inputs, use_reentrant=self.use_reentrant)


def kinds():
    """Return a network with every kind of norm layer that looks at more than one image."""
    frozen = nn.BatchNorm2d(4)
    frozen.train = lambda mode=True: nn.Module.train(frozen, False)
    norms = [
        nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.BatchNorm2d(4, momentum=None),
        Derived(4),
        Functional(),
        Volumes(),
        frozen,
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    ]
    layers = [nn.Conv2d(1, 4, 3, padding=1), *norms, nn.Flatten(), nn.Linear(256, 12), nn.BatchNorm1d(12), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(12, 10))


def recomputed():
    """Return a network whose batch norm is computed again in the backward pass, in both ways torch has."""
    first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    parts = [Checkpointed(first, use_reentrant=False), Checkpointed(second, use_reentrant=True)]
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(256, 10))


def maps():
    """Return a small convolutional network, which can do with a single image."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


CASES = {  # network, images, smallest batch
    "convnet": (lambda: build_model("convnet", num_classes=10, image_shape=(1, 8, 8), seed=0), 103, 2),
    "kinds": (kinds, 203, 2),  # a last batch of 3: one row and two
    "recomputed": (recomputed, 150, 2),
    "single image": (maps, 151, 1),  # a last batch of 1: one process has none
}


def make_training(case, accelerator):
    """Return the training of a case."""
    make, size, smallest = CASES[case]
    data = load_data("digits", test_size=1797 - size)
    torch.manual_seed(0)
    batches = TrainingBatches(
        data.train_images,
        data.train_labels,
        batch_size=50,
        mean=data.channel_mean,
        std=data.channel_std,
        seed=0,
        smallest=smallest,
    )
    recipe = Recipe(epochs=2, batch_size=50, learning_rate=0.05)
    return Training(Float64(make()), batches, Mixup(), recipe, num_classes=10, seed=0, accelerator=accelerator)


def main(output):
    """Train every case as the process torchrun started; the first one writes the networks."""
    accelerator = Accelerator(cpu=True)
    for case in CASES:
        training = make_training(case, accelerator)
        losses = [summary.loss for summary in training.epochs()]
        if accelerator.is_main_process:
            torch.save({"losses": losses, "state": training.model.state_dict()}, Path(output, f"{case}.pt"))
    accelerator.wait_for_everyone()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
