"""The demonstration: ERM, mixup, and mixup switched off early, on 200 real digits, long enough to over-train."""

from mixscope.experiment.options import DataOptions, MixingOptions, TrainOptions
from mixscope.training.recipe import Recipe

NUM_TRAIN, NUM_DIGITS = 200, 1797
# With two hidden layers of 256, SGD 0.05, momentum 0.9, batches of 50 and weight decay 1e-4, 200 digits show mixup's
# over-training within minutes.
EPOCHS = 1000
OFF_AFTER = 0.15  # share of the epochs after which the third method stops mixing


def demo_runs(*, num_seeds: int, epochs: int) -> dict[str, TrainOptions]:
    """Return the runs of the demonstration by folder name.

    Args:
        num_seeds: Seeds of every method, counted from 0.
        epochs: Epochs of every run.
    """
    off_after = max(1, round(OFF_AFTER * epochs))
    methods = {"erm": ("none", None), "mixup": ("mixup", None), "mixup-off": ("mixup", off_after)}
    return {
        f"{name}-seed{seed}": TrainOptions(
            data=DataOptions(data="digits", test_size=NUM_DIGITS - NUM_TRAIN),
            model="mlp",
            mixing=MixingOptions(mixing="none" if scheme == "none" else "mixup"),
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
