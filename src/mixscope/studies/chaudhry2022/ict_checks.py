"""Checks of how ICT[K] trains, exact ones, and the linear classifier that its runs are held against."""

from pathlib import Path

import torch
from torch import Tensor

from mixscope.base.generators import named_generator
from mixscope.bench.build import build_bench
from mixscope.bench.description import describe_images
from mixscope.bench.observer import SILENT
from mixscope.bench.options import ConsistencyOptions, DataOptions, MixingOptions, TrainOptions
from mixscope.bench.run_images import prepare_images
from mixscope.mixing.consistency import Consistency, Space
from mixscope.mixing.mixture import blend
from mixscope.studies.chaudhry2022.metric_checks import centred_digits
from mixscope.studies.engine.trial import Measured
from mixscope.training.recipe import Recipe

DIGITS_TEST = 600  # the other 1,197 digits are trained on, with their labels or without


def ramp() -> Measured:
    """Read the weight of the consistency loss along trainings of several lengths."""
    consistency = Consistency()
    at_fifth, from_end, start = [], [], []
    for num_steps in (10, 1500, 100_000):
        at_fifth.append(abs(consistency.weight_at(num_steps // 5, num_steps) - 50))
        later = range(2 * num_steps // 5, num_steps)
        from_end.append(max(abs(consistency.weight_at(step, num_steps) - 100) for step in later))
        start.append(consistency.weight_at(0, num_steps))
    return Measured({"error_at_fifth": max(at_fifth), "error_from_end": max(from_end), "at_start": max(start)})


def trivial_zero() -> Measured:
    """Take the consistency loss of a linear classifier with outputs as large as a trained one's, in every space."""
    images = centred_digits()
    mixture = Consistency().draw(len(images), generator=named_generator(0, "trivial zero"))
    matrix = torch.randn(images.shape[1], 10, generator=named_generator(0, "linear classifier")) / 2
    spaces: dict[str, Space] = {"logits": "logits", "softmax": "softmax", "late_softmax": "late-softmax"}
    outputs = (blend(images, mixture) @ matrix).double(), (images @ matrix).double()
    return Measured({name: float(Consistency(space=space).loss(*outputs, mixture)) for name, space in spaces.items()})


def no_weight() -> Measured:
    """Train with the consistency loss at weight 0 and without it; return the largest difference of any number."""
    differences = []
    for model in ("residual-mlp", "convnet"):
        plain = _trained(model, ConsistencyOptions())
        for teacher in ("same", "ema"):
            other = _trained(
                model,
                ConsistencyOptions(consistency_points=3, consistency_teacher=teacher, consistency_weight=0.0),
            )
            differences += [float((plain[name] - other[name]).abs().max()) for name in plain]
    return Measured({"difference": max(differences), "compared": len(differences)})


def logistic_regression(data: str, num_labels: int, num_test: int | None, seed: int) -> Measured:
    """Fit a linear classifier on the labelled images of a seed and test it on the test images of its runs.

    scikit-learn's, with its own penalty (C = 1), on the pixels as networks get them.
    """
    from sklearn.linear_model import LogisticRegression

    test_size = DIGITS_TEST if data == "digits" else 0.2
    options = DataOptions(data, test_size=test_size, subset=num_labels, test_subset=num_test, split_seed=seed)
    images = prepare_images(options, SILENT)
    mean, std = (torch.tensor(part).view(-1, 1, 1) for part in (images.channel_mean, images.channel_std))
    train, test = (
        ((part / 255 - mean) / std).flatten(start_dim=1).numpy() for part in (images.train_images, images.test_images)
    )
    classifier = LogisticRegression(max_iter=5000).fit(train, images.train_labels.numpy())
    accuracy = float(classifier.score(test, images.test_labels.numpy()))
    return Measured({"test/accuracy": accuracy, "test/error": 1 - accuracy}, data=describe_images(images))


def _trained(model: str, consistency: ConsistencyOptions) -> dict[str, Tensor]:
    options = TrainOptions(
        data=DataOptions("digits", test_size=1597, subset=100),
        model=model,
        mixing=MixingOptions("none"),
        consistency=consistency,
        training=Recipe(epochs=5, batch_size=20, optimizer="adam"),
        device="cpu",
        threads=1,
    )
    bench = build_bench(options, folder=Path(), tracker=None, observer=SILENT)
    for _ in bench.training.epochs():
        pass
    return {name: value.detach().clone() for name, value in bench.model.state_dict().items()}
