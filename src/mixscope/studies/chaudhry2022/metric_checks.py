"""Checks of what Chaudhry et al. 2022 measure: the law of the weights, and what their metric says of known layers.

What each value is, is said by the claim that reads it, in `claims_metric`.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mixscope.base.generators import named_generator, sample_dirichlet
from mixscope.bench.observer import SILENT
from mixscope.bench.options import DataOptions
from mixscope.bench.run_images import prepare_images
from mixscope.metrics.blends.linearity import nonlinearity
from mixscope.mixing.consistency import Consistency
from mixscope.mixing.mixture import blend
from mixscope.mixing.mixup import Mixup, draw_mixture
from mixscope.studies.engine.trial import Measured, table_of

ALPHAS = (0.1, 0.5, 1.0)  # 0.1 and 0.5 are the paper's
NUM_DRAWS = 200_000  # so that a mean floor's standard error is below 0.0005
NUM_BLENDS = 500
COSINES = {"orthogonal": 0.0, "simplex of 10": -1 / 9}


def weights() -> Measured:
    """Draw the blends' weights for K = 2 to 5 and compare them with Dirichlet's and Beta's laws."""
    from scipy.special import psi
    from scipy.stats import kstest

    power_errors, entropy_errors, distances, rows = [], [], [], []
    for alpha in ALPHAS:
        # The smaller weight of two: the other's distance from 1 is lost in rounding, and with alpha 0.1 often below it.
        smaller = sample_dirichlet(alpha, (NUM_DRAWS, 2), generator=named_generator(0, "beta")).min(dim=1).values
        distance = kstest(smaller.numpy(), partial(_smaller_of_two, alpha=alpha)).statistic
        distances.append(math.sqrt(NUM_DRAWS) * float(distance))
        for num_points in (2, 3, 4, 5):
            generator = named_generator(0, "weights", num_points)
            drawn = Consistency(num_points=num_points, alpha=alpha).draw(NUM_DRAWS, generator=generator)
            shares = drawn.weights.double()
            powers, entropies = shares.square().sum(dim=1), torch.special.entr(shares).sum(dim=1)
            expected = expected_power(alpha, num_points)
            power_errors.append(_standard_errors(powers, expected))
            entropy_errors.append(_standard_errors(entropies, float(psi(num_points * alpha + 1) - psi(alpha + 1))))
            rows.append({"points": num_points, "alpha": alpha, "seen": float(powers.mean()), "expected": expected})
    values = {
        "power_errors": max(power_errors),
        "entropy_errors": max(entropy_errors),
        "beta_distance": max(distances),
        "svhn_excess": expected_power(0.1, 4) - expected_power(0.5, 2),
    }
    return Measured(values, {"weights": table_of(rows)})


def expected_power(alpha: float, num_points: int) -> float:
    """Return the mean of the sum of squares of weights from the symmetric Dirichlet law: 1 over the blend's size."""
    return (alpha + 1) / (num_points * alpha + 1)


def floors() -> Measured:
    """Compare the floor measured on features of a known angle with its integral over Beta's law."""
    from scipy.special import roots_jacobi

    rows = []
    for alpha in ALPHAS:
        nodes, masses = (torch.from_numpy(part) for part in roots_jacobi(200, alpha - 1, alpha - 1))
        shares = (1 + nodes) / 2
        for cosine in COSINES.values():
            ends = torch.tensor([[1.0, 0.0], [cosine, math.sqrt(1 - cosine**2)]], dtype=torch.float64)
            weights = sample_dirichlet(alpha, (NUM_DRAWS, 2), generator=named_generator(0, "floors"))
            seen = nonlinearity(weights @ ends, ends.expand(NUM_DRAWS, 2, 2), weights).floor
            integral = float((masses * floor_at(shares, cosine)).sum() / masses.sum())
            rows.append({"alpha": alpha, "cosine": cosine, "seen": seen, "integral": integral})
    values = {
        "orthogonal_at_half": next(row["seen"] for row in rows if row["alpha"] == 0.5),
        "largest_difference": max(abs(row["seen"] - row["integral"]) for row in rows),
    }
    return Measured(values, {"floors": table_of(rows)})


def floor_at(weight: Tensor, cosine: float) -> Tensor:
    """Return 1 - |blend| of two directions: 1 - sqrt(1 - 2 w (1 - w)(1 - cos))."""
    return 1 - (1 - 2 * weight * (1 - weight) * (1 - cosine)).clamp(min=0).sqrt()


def affine_layers() -> Measured:
    """Measure layers of which it is known how linear they are, on digits: affine ones, and one ReLU layer."""
    images = centred_digits()
    width = images.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: dict[str, nn.Module] = {
            "identity": nn.Identity(),
            "linear": nn.Linear(width, 128, bias=False),
            "affine": nn.Linear(width, 128),
            "ReLU": nn.Sequential(nn.Linear(width, 128), nn.ReLU()),
        }
        biased = nn.Linear(width, 128)
        biased.bias.data.normal_(std=float(images.norm(dim=1).mean()) / math.sqrt(3 * width))
        layers["affine, large bias"] = biased
    names, rows = [], []
    for name, layer in layers.items():
        for alpha in ALPHAS:
            report = nonlinearity(*_features_of_blends(layer, images, alpha=alpha))
            names.append(name)
            row = {name: getattr(report, name) for name in ("nonlinearity", "floor", "relative_defect")}
            rows.append({"alpha": alpha, **row})
    linear = [row["nonlinearity"] for name, row in zip(names, rows, strict=True) if name in ("identity", "linear")]
    values = {
        "defect": max(row["relative_defect"] for name, row in zip(names, rows, strict=True) if name != "ReLU"),
        "least_nonlinearity": min(linear),
        "formula_error": _formula_error(images),
    }
    return Measured(values, {"layers": table_of(rows)}, {"layers": names})


def decomposition() -> Measured:
    """Take the metric's definition blend by blend and compare it with its two parts, and with the instrument."""
    images = centred_digits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layer = nn.Sequential(nn.Linear(images.shape[1], 128), nn.ReLU(), nn.Linear(128, 32)).double()
    mixed, members, shares = _features_of_blends(layer, images.double(), alpha=1.0)
    report = nonlinearity(mixed, members, shares)
    target = (shares[:, :, None] * nn.functional.normalize(members, dim=2)).sum(dim=1)
    direction, radius = nn.functional.normalize(mixed, dim=1), target.norm(dim=1)
    distance = (direction - target).norm(dim=1)
    cosine = (direction * target).sum(dim=1) / radius
    parts = (1 - radius).square() + 2 * radius * (1 - cosine)
    return Measured(
        {
            "identity_error": float((distance.square() - parts).abs().max()),
            "instrument_error": abs(float(distance.mean()) - report.nonlinearity),
            "least_excess": float((distance - (1 - radius)).min()),
        }
    )


def scale_and_shift() -> Measured:
    """Multiply a layer's features by a number, and add a constant vector to them."""
    images = centred_digits().double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        layer = nn.Sequential(nn.Linear(images.shape[1], 128), nn.ReLU()).double()
    mixed, members, shares = _features_of_blends(layer, images, alpha=0.5)
    report = nonlinearity(mixed, members, shares)
    scaled = [nonlinearity(factor * mixed, factor * members, shares).nonlinearity for factor in (1e-3, 1e3)]
    shift = 1000 * float(members.norm(dim=2).mean()) / math.sqrt(mixed.shape[1])
    shifted = nonlinearity(mixed + shift, members + shift, shares)
    return Measured(
        {
            "scale_error": max(abs(value - report.nonlinearity) for value in scaled),
            "shift_ratio": shifted.nonlinearity / report.nonlinearity,
            "shift_defect_error": abs(shifted.relative_defect - report.relative_defect),
        }
    )


def centred_digits() -> Tensor:
    """Return (NUM_BLENDS, 64) digits less their mean image."""
    images = prepare_images(DataOptions("digits"), SILENT).train_images[:NUM_BLENDS].flatten(start_dim=1) / 255
    return images - images.mean(dim=0)


def _smaller_of_two(values: Any, alpha: float) -> Any:
    """Return the distribution function of the smaller of w and 1 - w, w from Beta(alpha, alpha)."""
    from scipy.special import betainc

    return 2 * betainc(alpha, alpha, values)


def _standard_errors(values: Tensor, expected: float) -> float:
    return float((values.mean() - expected).abs() / (values.std() / math.sqrt(len(values))))


def _features_of_blends(layer: nn.Module, images: Tensor, *, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return features of blends (N, D), of their members (N, 2, D), and weights (N, 2), without pairs of one image."""
    mixture = draw_mixture(len(images), Mixup(alpha=alpha, per_example=True), generator=named_generator(0, "blends"))
    apart = mixture.members[:, 0] != mixture.members[:, 1]
    with torch.no_grad():
        features = layer(images)
        mixed = layer(blend(images, mixture))
    first = mixture.weights[apart, 0].to(images.dtype)
    return mixed[apart], features[mixture.members[apart]], torch.stack([first, 1 - first], dim=1)


def _formula_error(images: Tensor) -> float:
    """Return how far single blends of unit vectors under the identity are from the formula for equal lengths."""
    units = nn.functional.normalize(images.double(), dim=1)
    mixed, members, shares = _features_of_blends(nn.Identity(), units, alpha=0.5)
    errors = []
    for row in range(len(mixed)):
        own = slice(row, row + 1)
        cosine = float(members[row, 0] @ members[row, 1])
        expected = float(floor_at(shares[row, 0], cosine))
        errors.append(abs(nonlinearity(mixed[own], members[own], shares[own]).nonlinearity - expected))
    return max(errors)
