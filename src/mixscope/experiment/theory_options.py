"""Options of the theory's pages, as frozen dataclasses: the command line is made from them. Loads no torch."""

from dataclasses import dataclass

from mixscope._errors import UserError

MAX_PENALTIES = 7  # as many colours as a figure tells apart
ALPHAS = (1e-3, 1e4)
PENALTIES = (1e-12, 1e2)
SEEDS = (0, 2**62)


def _check_between(low: float, high: float, **values: float) -> None:
    """Raise a UserError unless every value lies in [low, high] (NaN does not)."""
    for name, value in values.items():
        if not low <= value <= high:
            option = name.replace("_", "-")
            raise UserError(f"{option} must lie between {low:.10g} and {high:.10g}, got {value:.10g}")


@dataclass(frozen=True)
class MixupFeaturesOptions:
    """The blends of mixup under a simplex classifier."""

    num_classes: int = 10
    """Classes, at least 2."""
    feature_penalty: tuple[float, ...] = (1e-2, 1e-4, 1e-6)
    """Factors of |feature|^2 / 2 (weight decay on the features): one curve each, at most 7."""
    scale: float = 1.0
    """Length of the classifier's rows."""
    alpha: float = 1.0
    """Weights are Beta(alpha, alpha); 1 is uniform."""

    def __post_init__(self) -> None:
        _check_between(2, 1_000_000, num_classes=self.num_classes)
        if not 1 <= len(self.feature_penalty) <= MAX_PENALTIES:
            raise UserError(f"feature-penalty must be 1 to {MAX_PENALTIES} numbers, got {len(self.feature_penalty)}")
        for penalty in self.feature_penalty:
            _check_between(*PENALTIES, feature_penalty=penalty)
        if len(set(self.feature_penalty)) < len(self.feature_penalty):
            raise UserError(f"feature-penalty must hold every number once, got {self.feature_penalty}")
        _check_between(1e-3, 1e3, scale=self.scale)
        _check_between(*ALPHAS, alpha=self.alpha)


@dataclass(frozen=True)
class LayerPeeledOptions:
    """A classifier and free features under gradient flow."""

    num_classes: int = 4
    """Classes, at least 3."""
    dim: int = 8
    """Dimensions of the features, at least the number of classes."""
    num_per_class: int = 5
    """Examples of each class, at least 2."""
    log_time: float = 10_000.0
    """Natural logarithm of the time that the flow is followed to, from 100 to 100,000."""
    weight_decay: float = 0.01
    """Of classifier and features, where the page compares the flow with one that has it."""
    descent_steps: int = 10_000
    """Steps of plain gradient descent beside the flow."""
    seed: int = 0
    """Of the generic start."""

    def __post_init__(self) -> None:
        _check_between(3, 1000, num_classes=self.num_classes)
        if self.dim < self.num_classes:
            raise UserError(
                f"dim must be at least num-classes = {self.num_classes}, got {self.dim}: the rates are for more than "
                "num-classes - 1 dimensions, which a simplex needs"
            )
        _check_between(2, 1000, num_per_class=self.num_per_class)
        _check_between(100, 100_000, log_time=self.log_time)
        _check_between(1e-4, 0.5, weight_decay=self.weight_decay)
        _check_between(100, 10_000_000, descent_steps=self.descent_steps)
        _check_between(*SEEDS, seed=self.seed)


@dataclass(frozen=True)
class RandomFeaturesOptions:
    """A teacher and a student on fixed random features."""

    num_examples: int = 20
    """Training examples, 2 to 300; blends are all ordered pairs of them."""
    input_dim: int = 10
    """Dimensions of the inputs."""
    num_features: int = 100
    """Random features: parameters of the student."""
    alpha: float = 1.0
    """Weights are Beta(alpha, alpha); 1 is uniform."""
    seeds: int = 20
    """Repetitions with everything drawn afresh."""

    def __post_init__(self) -> None:
        _check_between(2, 300, num_examples=self.num_examples)
        _check_between(1, 1000, input_dim=self.input_dim)
        _check_between(1, 1000, num_features=self.num_features)
        _check_between(*ALPHAS, alpha=self.alpha)
        _check_between(1, 1000, seeds=self.seeds)


@dataclass(frozen=True)
class LabelNoiseOptions:
    """Three overlapping classes whose true label probabilities are known, and the floor of the loss."""

    radius: float = 2.0
    """Distance of each of the three classes from their middle, in standard deviations of a class."""
    num_pairs: int = 20_000
    """Blended pairs behind every number."""
    num_classes: int = 10
    """Classes in the loss floor, equally frequent."""
    alpha: float = 1.0
    """Weights are Beta(alpha, alpha) in the loss floor; 1 is uniform."""
    seed: int = 0
    """Of the pairs and the drawn labels."""

    def __post_init__(self) -> None:
        _check_between(1e-3, 1e3, radius=self.radius)
        _check_between(100, 1_000_000, num_pairs=self.num_pairs)
        _check_between(2, 10_000, num_classes=self.num_classes)
        _check_between(*ALPHAS, alpha=self.alpha)
        _check_between(*SEEDS, seed=self.seed)
