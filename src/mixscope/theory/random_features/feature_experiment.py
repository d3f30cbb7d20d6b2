"""Experiment of teacher and student on random features: mixup, its clean twin, plain training, and a switch.

Everything is in closed form, so that a run has no step size and no end: times reach from 0 to infinity.
Source: after Liu et al. 2023 (teacher, student, and the switch); sizes, clean twin and feature blends are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mixscope.base.checks import check_at_most, check_numbers, check_positive, check_size
from mixscope.base.generators import named_generator, sample_beta
from mixscope.base.kinds import checked, describe
from mixscope.theory.random_features.feature_flow import random_feature_flow, squared_risk, switched_parameters
from mixscope.theory.random_features.teachers import GAIN, LARGEST_GAIN, Teacher, all_pairs, span_teacher, tanh_features

ROUNDING = 1e-12  # of the first risk: a smaller rise is rounding
RISE = 1.05  # ours: the last risk of a U is above this multiple of the smallest
CURVES = ("mixup", "clean", "plain", "feature_blends", "switched")


@checked
@dataclass(frozen=True)
class FeatureSetting:
    """Sizes and laws of one experiment. The defaults are ours.

    Attributes:
        num_examples: N, at least 2. Blends are all N^2 ordered pairs.
        input_dim: D0, at least 1; inputs are standard normal.
        num_features: D, at least 1.
        gain: Of the features' tanh, positive and at most 1e100.
        alpha: Weights are Beta(alpha, alpha), positive. 1 is uniform.
        num_test: Test examples, at least 1.
    """

    num_examples: int = 20
    input_dim: int = 10
    num_features: int = 100
    gain: float = GAIN
    alpha: float = 1.0
    num_test: int = 5000

    def __post_init__(self) -> None:
        check_size(2, num_examples=self.num_examples)
        check_size(1, input_dim=self.input_dim, num_features=self.num_features, num_test=self.num_test)
        sizes = {"num_examples": self.num_examples, "num_test": self.num_test, "input_dim": self.input_dim}
        rows, columns = max(self.num_examples**2, self.num_test), max(self.input_dim, self.num_features)
        check_numbers(rows, columns, **sizes, num_features=self.num_features)
        check_positive(gain=self.gain, alpha=self.alpha)
        check_at_most(LARGEST_GAIN, gain=self.gain)


@dataclass(frozen=True)
class RiskCurves:
    """Test risks over T times that rise from 0 to infinity, (S, T) float64, one row per repetition; lower is better."""

    times: Tensor
    risks: Tensor

    @property
    def end(self) -> Tensor:
        """(S,) float64: risk at the last time."""
        return self.risks[:, -1]

    @property
    def smallest(self) -> Tensor:
        """(S,) float64: smallest risk over time."""
        return self.risks.min(dim=1).values

    @property
    def best_times(self) -> Tensor:
        """(S,) float64: when it is reached."""
        return self.times[self.risks.argmin(dim=1)]

    @property
    def rises(self) -> Tensor:
        """(S,) float64, at least 1: last risk over smallest. Rounding alone where the risk falls to 0."""
        return self.end / self.smallest

    @property
    def is_u_shaped(self) -> Tensor:
        """(S,) bool: the risk falls, then rises by more than 5%."""
        falls = self.smallest < self.risks[:, 0]
        return falls & (self.end > RISE * self.smallest + ROUNDING * self.risks[:, 0])


@dataclass(frozen=True)
class FeatureExperiment:
    """What `random_feature_experiment` returns: S repetitions at T times.

    Attributes:
        setting: What was run.
        mixup: Training on blends with blended labels.
        clean: Training on the same blends with the labels the teacher gives them.
        plain: Training on the examples.
        feature_blends: Training on blends of features, with blended labels.
        switched: Risk when training goes from blends to the examples at the time, and then on for ever.
        distances: (S, T) float64, |theta_t - theta*| of mixup, theta* the end of `clean` from 0.
        clean_distances: (S, T) float64, the same of `clean`: never rises.
        label_noise: (S,) float64, standard deviation of blended minus true label over the blends.
        clean_risks: (S,) float64, R*, risk of theta*.
    """

    setting: FeatureSetting
    mixup: RiskCurves
    clean: RiskCurves
    plain: RiskCurves
    feature_blends: RiskCurves
    switched: RiskCurves
    distances: Tensor
    clean_distances: Tensor
    label_noise: Tensor
    clean_risks: Tensor


def default_times() -> Tensor:
    """Return 0, forty times per decade from 0.1 to 1e10, and infinity, (442,) float64, for a learning rate of 1."""
    middle = torch.logspace(-1, 10, 11 * 40, dtype=torch.float64)
    return torch.cat([middle.new_zeros(1), middle, middle.new_full((1,), torch.inf)])


@checked
def random_feature_experiment(
    setting: FeatureSetting = FeatureSetting(),
    *,
    draw_teacher: Callable[..., Teacher] = span_teacher,
    num_repetitions: int = 20,
    times: Tensor | None = None,
    generator: torch.Generator,
) -> FeatureExperiment:
    """Train a student on random features from 0 with and without mixup, for all times, over fresh draws; in seconds.

    With a teacher in the span of the features (`span_teacher`) the clean twin reaches risk 0, and a U of the mixup
    curve is the labels' doing. With a teacher outside it (`two_layer_teacher`) the clean twin has a U as well: then a
    U of the test risk alone does not show label noise.

    Every draw has its own stream: settings that differ in one size share what they can, and compare in pairs.

    Args:
        setting: Sizes and laws.
        draw_teacher: Called as draw_teacher(features, generator=...): `span_teacher`, `two_layer_teacher`, or yours.
        num_repetitions: S, at least 1.
        times: (T,) float, at least 0 and rising, for a learning rate of 1; None: `default_times`.
        generator: A CPU generator.

    Raises:
        ValueError: If there is no repetition, or times are not a rising row of numbers of at least 0.
    """
    check_size(1, num_repetitions=num_repetitions)
    moments = default_times() if times is None else torch.as_tensor(times, dtype=torch.float64)
    if moments.ndim != 1 or not len(moments) or not bool((moments.diff() > 0).all()) or not float(moments[0]) >= 0:
        raise ValueError(f"times must be rising numbers of at least 0, got {moments.tolist()}")
    seeds = torch.randint(2**62, (num_repetitions,), generator=generator).tolist()
    runs = [_run(setting, draw_teacher, moments, seed) for seed in seeds]
    columns: dict[str, Any] = {name: torch.stack([run[name] for run in runs]) for name in runs[0]}
    columns |= {name: RiskCurves(moments, columns[name]) for name in CURVES}
    return FeatureExperiment(setting=setting, **columns)


def _run(setting: FeatureSetting, draw_teacher: Callable[..., Teacher], times: Tensor, seed: int) -> dict[str, Tensor]:
    """Return one repetition's rows of the fields of `FeatureExperiment`."""

    def stream(purpose: str) -> torch.Generator:
        return named_generator(seed, f"random features: {purpose}")

    features = tanh_features(setting.input_dim, setting.num_features, gain=setting.gain, generator=stream("features"))
    teacher = draw_teacher(features, generator=stream("teacher"))
    shape = setting.num_examples, setting.input_dim
    inputs = torch.randn(shape, dtype=torch.float64, generator=stream("inputs"))
    labels = teacher(inputs) if callable(teacher) else teacher
    if not isinstance(labels, Tensor) or labels.shape != inputs.shape[:1]:
        raise ValueError(f"draw_teacher must give a function from inputs to (N,) labels, got {describe(labels)}")
    pairs = all_pairs(sample_beta(setting.alpha, setting.num_examples**2, generator=stream("weights")))
    test_inputs = torch.randn(setting.num_test, setting.input_dim, dtype=torch.float64, generator=stream("test"))
    risk = squared_risk(features(test_inputs), teacher(test_inputs))

    blends, blend_labels = pairs.blend(inputs), pairs.blend(labels)
    true_labels = teacher(blends)
    mixup = random_feature_flow(features(blends), blend_labels).value
    clean = mixup.with_targets(true_labels)
    plain = random_feature_flow(features(inputs), labels).value
    feature_blends = random_feature_flow(pairs.blend(features(inputs)), blend_labels).value

    star = clean.limit @ clean.modes
    path, clean_path = mixup.at(times), clean.at(times)
    return {
        "mixup": risk.of(path),
        "clean": risk.of(clean_path),
        "plain": risk.of(plain.at(times)),
        "feature_blends": risk.of(feature_blends.at(times)),
        "switched": risk.of(switched_parameters(mixup, plain, switch_times=times)),
        "distances": (path - star).norm(dim=1),
        "clean_distances": (clean_path - star).norm(dim=1),
        "label_noise": (blend_labels - true_labels).std(correction=0),
        "clean_risks": risk.of(star),
    }
