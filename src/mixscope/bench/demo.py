"""The demonstration: ERM, mixup, and mixup that ends by itself, on 200 real digits, long enough to over-train."""

from typing import Literal

from mixscope.bench.options import DataOptions, MixingOptions, TrainOptions
from mixscope.training.recipe import Recipe

NUM_TRAIN, NUM_DIGITS = 200, 1797
# With two hidden layers of 256, SGD 0.05, momentum 0.9, batches of 50 and weight decay 1e-4, 200 digits show mixup's
# over-training within minutes.
NUM_EPOCHS = 1000


def demo_runs(*, num_seeds: int, epochs: int) -> dict[str, TrainOptions]:
    """Return the runs of the demonstration by folder name; seeds are counted from 0."""
    methods: dict[str, tuple[Literal["none", "mixup"], Literal["auto"] | None]] = {
        "erm": ("none", None),
        "mixup": ("mixup", None),
        "mixup-auto": ("mixup", "auto"),
    }
    return {
        f"{name}-seed{seed}": TrainOptions(
            data=DataOptions(data="digits", test_size=NUM_DIGITS - NUM_TRAIN),
            model="mlp",
            mixing=MixingOptions(mixing=scheme),
            training=Recipe(
                epochs=epochs,
                batch_size=50,
                learning_rate=0.05,
                weight_decay=1e-4,
                schedule="constant",
                mixing_off=mixing_off,
            ),
            measure_every=max(1, epochs // 100),
            seed=seed,
            device="cpu",  # steps this small wait longer for a GPU, or for one another's threads, than they compute
            threads=1,
        )
        for seed in range(num_seeds)
        for name, (scheme, mixing_off) in methods.items()
    }
