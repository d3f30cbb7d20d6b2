"""A small training on real digits, in one process or as one of several: what the loop's tests run."""

import json
import os
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from mixscope.data.batches import Augmentation, TrainingBatches
from mixscope.data.loading import load_data
from mixscope.mixing.cutmix import CutMix
from mixscope.mixing.manifold import ManifoldMixup
from mixscope.mixing.mixup import Mixup, NoMixing
from mixscope.models.networks import build_model
from mixscope.training.consistency_term import ConsistencyTerm
from mixscope.training.loop import Training
from mixscope.training.recipe import Recipe

SCHEMES = {
    "none": NoMixing(),
    "mixup": Mixup(),
    "three": Mixup(num_points=3, per_example=True),
    "cutmix": CutMix(),
    "manifold": ManifoldMixup(sites=("input", "layer1")),
}


def make_training(
    scheme="mixup",
    *,
    model="mlp",
    accelerator=None,
    size=203,
    padding=1,
    seed=0,
    monitor=None,
    consistency=None,
    **options,
):
    """Train on `size` digits: 203 leaves a last batch of 3 at batch size 50. `consistency` is asked of the others."""
    recipe = Recipe(**({"epochs": 4, "batch_size": 50, "learning_rate": 0.05} | options))
    data = load_data("digits", test_size=1797 - size)
    network = build_model(model, num_classes=10, image_shape=(1, 8, 8), seed=seed)
    batches = TrainingBatches(
        data.train_images,
        data.train_labels,
        batch_size=recipe.batch_size,
        mean=data.channel_mean,
        std=data.channel_std,
        seed=seed,
        augmentation=Augmentation(crop_padding=padding, flip=False),
        device=torch.device("cpu"),
    )
    accelerator = accelerator or Accelerator(cpu=True)
    auxiliary = None
    if consistency is not None:
        unlabelled = TrainingBatches(
            data.test_images[:310],  # seven batches: passes over them and epochs of the labelled five drift apart
            data.test_labels[:310],
            batch_size=47,
            mean=data.channel_mean,
            std=data.channel_std,
            seed=seed + 1000,
        )
        auxiliary = ConsistencyTerm(network, consistency, unlabelled, seed=seed, accelerator=accelerator)
    return Training(
        network,
        batches,
        SCHEMES[scheme],
        recipe,
        num_classes=10,
        seed=seed,
        accelerator=accelerator,
        monitor=monitor,
        auxiliary=auxiliary,
    )


def main(output, *schemes):
    """Train with every scheme as the process torchrun started; the first one writes losses and weights."""
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    for scheme in schemes:
        training = make_training(scheme, accelerator=accelerator)
        summaries = list(training.epochs())
        if accelerator.is_main_process:
            torch.save(training.model.state_dict(), Path(output, f"{scheme}.pt"))
            lines = [[summary.loss, summary.accuracy_blends, summary.step] for summary in summaries]
            Path(output, f"{scheme}.json").write_text(json.dumps(lines))
    accelerator.wait_for_everyone()
    # Not `end_training`: on a busy machine torch now and then aborts while gloo's threads end, all work done.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
