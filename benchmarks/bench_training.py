"""Time per step of mixscope's loop, of a bare step on ready tensors, and of a conventional loader-and-transforms loop.

The three take turns within every repetition, so that a slower moment of the machine meets all of them.
"""

import time

import torch
from _bench import parse_arguments, summarise, write_result
from accelerate import Accelerator
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mixscope.data.batches import Augmentation, TrainingBatches
from mixscope.mixing.mixture import soft_cross_entropy
from mixscope.mixing.mixup import Mixup
from mixscope.models.networks import build_model
from mixscope.training.loop import Training
from mixscope.training.recipe import Recipe

BATCH, NUM_CLASSES, SHAPE = 128, 10, (3, 32, 32)
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


class Images(Dataset):
    """Per-image transforms as a conventional pipeline has them: pad, crop, flip, to tensor, normalise."""

    def __init__(self, images, labels):
        self.images, self.labels = images.permute(0, 2, 3, 1).numpy(), labels.tolist()
        self.mean, self.std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        import numpy as np

        padded = Image.new("RGB", (40, 40))
        padded.paste(Image.fromarray(self.images[index]), (4, 4))
        left, top = torch.randint(9, (2,)).tolist()
        image = padded.crop((left, top, left + 32, top + 32))
        if torch.rand(()) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        tensor = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float().div(255)
        return (tensor - self.mean) / self.std, self.labels[index]


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)


def bare_steps(model, steps):
    """Return a function that takes `steps` forward, backward and optimizer steps on one ready batch."""
    model.to(memory_format=torch.channels_last).train()
    inputs = torch.randn(BATCH, *SHAPE).to(memory_format=torch.channels_last)
    targets = torch.softmax(torch.randn(BATCH, NUM_CLASSES), dim=1)
    optimizer = sgd(model)

    def run():
        for _ in range(steps):
            loss = soft_cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def mixscope_epoch(model, images, labels, *, crop_padding, flip):
    batches = TrainingBatches(
        images,
        labels,
        batch_size=BATCH,
        mean=MEAN,
        std=STD,
        seed=0,
        augmentation=Augmentation(crop_padding=crop_padding, flip=flip),
        device=torch.device("cpu"),
        channels_last=True,
    )
    recipe = Recipe(epochs=10**6, learning_rate=0.01)
    training = Training(
        model, batches, Mixup(), recipe, num_classes=NUM_CLASSES, seed=0, accelerator=Accelerator(cpu=True)
    )
    epochs = training.epochs()
    return lambda: next(epochs)


def conventional_epoch(model, images, labels):
    loader = DataLoader(Images(images, labels), batch_size=BATCH, shuffle=True, num_workers=2, persistent_workers=True)
    optimizer = sgd(model)
    beta = torch.distributions.Beta(1.0, 1.0)

    def run():
        model.train()
        for inputs, classes in loader:
            weight, order = float(beta.sample()), torch.randperm(len(inputs))
            mixed = weight * inputs + (1 - weight) * inputs[order]
            logits = model(mixed)
            loss = weight * torch.nn.functional.cross_entropy(logits, classes)
            loss = loss + (1 - weight) * torch.nn.functional.cross_entropy(logits, classes[order])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def main():
    arguments = parse_arguments(__doc__)
    results = []
    for name, steps, repetitions in (("convnet", 12, 15), ("wide-resnet-16-2", 6, 11)):
        if arguments.quick:
            steps, repetitions = 2, 2
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, (steps * BATCH, *SHAPE), dtype=torch.uint8, generator=generator)
        labels = torch.randint(NUM_CLASSES, (steps * BATCH,), generator=generator)
        models = [build_model(name, num_classes=NUM_CLASSES, image_shape=SHAPE, seed=0) for _ in range(4)]
        runs = {
            "bare": bare_steps(models[0], steps),
            "mixscope": mixscope_epoch(models[1], images, labels, crop_padding=0, flip=False),
            "mixscope_crop_flip": mixscope_epoch(models[2], images, labels, crop_padding=4, flip=True),
            "conventional_crop_flip": conventional_epoch(models[3], images, labels),
        }
        seconds = {run: [] for run in runs}
        for repetition in range(repetitions + 1):
            for run, function in runs.items():
                began = time.perf_counter()
                function()
                if repetition:  # the first is warm-up
                    seconds[run].append((time.perf_counter() - began) / steps)
        ratios = {
            run: summarise([own / bare for own, bare in zip(values, seconds["bare"], strict=True)])
            for run, values in seconds.items()
            if run != "bare"
        }
        entry = {
            "model": name,
            "batch": BATCH,
            "steps_per_repetition": steps,
            "milliseconds_per_step": {run: summarise([1e3 * v for v in values]) for run, values in seconds.items()},
            "ratio_to_bare": ratios,
        }
        results.append(entry)
        print(name, {run: round(value["median"], 3) for run, value in ratios.items()})
    notes = [
        "bare: forward, backward, optimizer step on one ready batch, channels last, soft targets.",
        "mixscope: the training loop on uint8 images in memory: order, normalisation, mixup, schedule, loss records.",
        "conventional: torch DataLoader with 2 workers, per-image PIL transforms, batch mixup, contiguous layout.",
    ]
    write_result("training", results, out=arguments.out, notes=notes)


if __name__ == "__main__":
    main()
