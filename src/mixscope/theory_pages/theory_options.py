"""Options of the theory's pages, as frozen dataclasses: the command line and its help are made from them. No torch."""

from dataclasses import dataclass
from typing import Annotated

from mixscope.base.errors import UserError
from mixscope.base.ranges import ALPHAS, SEEDS, Range, check_ranges

MAX_FEATURES = 10**7  # numbers: the flow keeps them many times over
MAX_PENALTIES = 7  # as many colours as a figure tells apart


@dataclass(frozen=True)
class MixupFeaturesOptions:
    """Where the features of blends should lie: channels, how far out and how narrow, and the joint optimum."""

    num_classes: Annotated[int, Range(2, 10**6)] = 10
    """Classes, at least 2."""
    feature_penalty: Annotated[tuple[float, ...], Range(1e-12, 1e2)] = (1e-2, 1e-4, 1e-6)
    """Factors of |feature|^2 / 2 (weight decay on the features): one curve each, at most 7."""
    scale: Annotated[float, Range(1e-3, 1e3)] = 1.0
    """Length of the classifier's rows."""
    alpha: Annotated[float, ALPHAS] = 1.0
    """Weights are Beta(alpha, alpha); 1 is uniform."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if not 1 <= len(self.feature_penalty) <= MAX_PENALTIES:
            raise UserError(f"feature-penalty must be 1 to {MAX_PENALTIES} numbers, got {len(self.feature_penalty)}")
        if len(set(self.feature_penalty)) < len(self.feature_penalty):
            raise UserError(f"feature-penalty must hold every number once, got {self.feature_penalty}")


@dataclass(frozen=True)
class LayerPeeledOptions:
    """How gradient flow collapses a classifier and free features: rates, laws, optimum, saddles, weight decay."""

    num_classes: Annotated[int, Range(3, 1000)] = 4
    """Classes, at least 3."""
    dim: Annotated[int, Range(1, 10_000)] = 8
    """Dimensions of the features, at least the number of classes."""
    num_per_class: Annotated[int, Range(2, 1000)] = 5
    """Examples of each class, at least 2."""
    log_time: Annotated[float, Range(100, 100_000)] = 10_000.0
    """Natural logarithm of the time that the flow is followed to, from 100 to 100,000."""
    weight_decay: Annotated[float, Range(1e-4, 0.5)] = 0.01
    """Of classifier and features, where the page compares the flow with one that has it."""
    descent_steps: Annotated[int, Range(100, 10**7)] = 10_000
    """Steps of plain gradient descent beside the flow."""
    seed: Annotated[int, SEEDS] = 0
    """Of the generic start."""

    def __post_init__(self) -> None:
        check_ranges(self)
        size = self.dim * self.num_classes * self.num_per_class
        if size > MAX_FEATURES:
            raise UserError(
                f"num-classes, num-per-class and dim must be at most {MAX_FEATURES:,} numbers of features, got {size:,}"
            )
        if self.dim < self.num_classes:
            raise UserError(
                f"dim must be at least num-classes = {self.num_classes}, got {self.dim}: the rates are for more than "
                "num-classes - 1 dimensions, which a simplex needs"
            )


@dataclass(frozen=True)
class RandomFeaturesOptions:
    """When training on blends turns from help to harm: risk over all times, turning times, the bound."""

    num_examples: Annotated[int, Range(2, 300)] = 20
    """Training examples, 2 to 300; blends are all ordered pairs of them."""
    input_dim: Annotated[int, Range(1, 1000)] = 10
    """Dimensions of the inputs."""
    num_features: Annotated[int, Range(1, 1000)] = 100
    """Random features: parameters of the student."""
    alpha: Annotated[float, ALPHAS] = 1.0
    """Weights are Beta(alpha, alpha); 1 is uniform."""
    seeds: Annotated[int, Range(1, 1000)] = 20
    """Repetitions with everything drawn afresh."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class LabelNoiseOptions:
    """How wrong the labels of blends are, and how low the loss on blends can go."""

    radius: Annotated[float, Range(1e-3, 1e3)] = 2.0
    """Distance of each of the three classes from their middle, in standard deviations of a class."""
    num_pairs: Annotated[int, Range(100, 10**6)] = 20_000
    """Blended pairs behind every number."""
    num_classes: Annotated[int, Range(2, 10_000)] = 10
    """Classes in the loss floor, equally frequent."""
    alpha: Annotated[float, ALPHAS] = 1.0
    """Weights are Beta(alpha, alpha) in the loss floor; 1 is uniform."""
    seed: Annotated[int, SEEDS] = 0
    """Of the pairs and the drawn labels."""

    def __post_init__(self) -> None:
        check_ranges(self)
