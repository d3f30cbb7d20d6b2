"""The labels of blends in the study of Liu et al. 2023: entropy floor, drawn labels, known teachers, intrusion."""

import math

import torch
from scipy.integrate import quad
from scipy.special import beta as beta_function
from sklearn.datasets import load_digits, load_iris
from torch import Tensor

from mixscope.base.generators import named_generator, sample_beta
from mixscope.metrics.blends.intrusion import intrusion_rate
from mixscope.mixing.loss_floor import mixup_loss_floor, soft_target_entropy
from mixscope.studies.engine.trial import Measured
from mixscope.theory import (
    class_triangle,
    convex_noise_floor,
    coupled_labels,
    gaussian_label_noise,
    independent_labels,
    mixup_noise,
)

ALPHAS = (0.1, 0.2, 0.4, 0.5, 1.0, 2.0, 8.0)
FREQUENCIES = ((0.1,) * 10, (0.5, 0.3, 0.15, 0.05))
NUM_TARGETS = 200_000
NUM_PAIRS = 5000
RADIUS = 2.0  # of the triangle of classes, in standard deviations of each: they overlap
DRAWN_WEIGHTS = (0.1, 0.3, 0.5)
CONVEXITY = 0.5
INTRUSION_WEIGHTS = (0.5, 0.6, 0.7, 0.8, 0.9)
ROUNDING = 1e-12


def blended_labels(seed: int) -> Measured:
    """Compare the floor's formula with numerical integration, and with the mean entropy of drawn blended labels."""
    errors = []
    for alpha in ALPHAS:
        expected = _mean_entropy(alpha)
        errors += [
            abs(mixup_loss_floor(alpha, frequencies) - (1 - sum(p * p for p in frequencies)) * expected)
            for frequencies in FREQUENCIES
        ]
    generator = named_generator(seed, "liu2023: labels")
    classes = torch.randint(10, (NUM_TARGETS, 2), generator=generator)
    weights = sample_beta(1.0, NUM_TARGETS, generator=generator)
    targets = torch.zeros(NUM_TARGETS, 10, dtype=torch.float64)
    targets.scatter_add_(1, classes, torch.stack([weights, 1 - weights], dim=1))
    return Measured({"formula_error": max(errors), "mean_entropy": float(soft_target_entropy(targets).mean())})


def _mean_entropy(alpha: float) -> float:
    """Return the mean entropy of (w, 1 - w), w from Beta(alpha, alpha), by adaptive quadrature."""

    def entropy(w: float) -> float:
        return -sum(part * math.log(part) for part in (w, 1 - w) if part > 0)

    total, _ = quad(entropy, 0, 1, weight="alg", wvar=(alpha - 1, alpha - 1), epsabs=1e-13, epsrel=1e-12, limit=200)
    return float(total / beta_function(alpha, alpha))


def drawn_labels(seed: int) -> Measured:
    """Compare labels given to blends of three Gaussian classes with labels drawn from the blends' own posterior."""
    generator = named_generator(seed, "liu2023: drawn labels")
    classes = class_triangle(RADIUS)
    inputs, _ = classes.sample(NUM_PAIRS, generator=generator)
    partners, _ = classes.sample(NUM_PAIRS, generator=generator)
    violations, errors, failures = 0, {"coupled": [0.0], "independent": [0.0]}, []
    for weight in DRAWN_WEIGHTS:
        noise = gaussian_label_noise(classes, inputs, partners, mixing_weight=weight)
        violations += int((noise.independent_rate < noise.total_variation - ROUNDING).sum())
        violations += int((noise.total_variation < noise.largest_gap - ROUNDING).sum())
        for name, draw, rates in (
            ("coupled", coupled_labels, noise.total_variation),
            ("independent", independent_labels, noise.independent_rate),
        ):
            given, true = draw(noise, generator=generator)
            deviation = float((given != true).double().mean() - rates.mean())
            errors[name].append(abs(deviation) / float((rates * (1 - rates)).mean().sqrt() / math.sqrt(NUM_PAIRS)))
        failures.append(float(noise.argmax_fails.double().mean()))
    values = {f"{name}_error": max(found) for name, found in errors.items()}
    return Measured({"violations": float(violations), **values, "argmax_failures": min(failures)})


def known_teachers(seed: int) -> Measured:
    """Return the label noise of a strongly convex teacher above its floor, and that of a linear one."""
    generator = named_generator(seed, "liu2023: teachers")
    inputs, partners = torch.randn(2, 1000, 10, dtype=torch.float64, generator=generator)
    slopes = torch.randn(10, 5, dtype=torch.float64, generator=generator)
    weights = torch.rand(1000, dtype=torch.float64, generator=generator)

    def convex(x: Tensor) -> Tensor:
        return CONVEXITY / 2 * x.square().sum(dim=1) + (x @ slopes).logsumexp(dim=1)

    def linear(x: Tensor) -> Tensor:
        return x @ slopes[:, 0] + 1

    noise, none = (mixup_noise(teacher, inputs, partners, mixing_weight=weights) for teacher in (convex, linear))
    above = noise - convex_noise_floor(inputs, partners, mixing_weight=weights, convexity=CONVEXITY)
    values = {"above_floor": above.min(), "smallest": noise.min(), "linear": none.abs().max()}
    return Measured({name: float(value) for name, value in values.items()})


def digits_intrusion(seed: int) -> Measured:
    """Return how often blends of digits lie nearest to an image of a third class, by weight."""
    images, labels = load_digits(return_X_y=True)
    return _intrusion(torch.tensor(images), torch.tensor(labels), seed)


def iris_intrusion(seed: int) -> Measured:
    """Do the same for the iris flowers."""
    flowers, labels = load_iris(return_X_y=True)
    return _intrusion(torch.tensor(flowers), torch.tensor(labels), seed)


def _intrusion(inputs: Tensor, labels: Tensor, seed: int) -> Measured:
    rates = []
    for weight in INTRUSION_WEIGHTS:
        members = torch.randint(len(inputs), (NUM_PAIRS, 2), generator=named_generator(seed, "liu2023: pairs"))
        shares = torch.tensor([weight, 1 - weight], dtype=torch.float64).expand(NUM_PAIRS, 2)
        blends = (shares[:, :, None] * inputs[members]).sum(dim=1)
        report = intrusion_rate(
            blends, labels[members], shares, real_inputs=inputs, real_labels=labels, members=members
        )
        rates.append(report.rate)
    values = {f"rate/{weight:g}": rate for weight, rate in zip(INTRUSION_WEIGHTS, rates, strict=True)}
    return Measured(values, {"rates": {"weight": list(INTRUSION_WEIGHTS), "rate": [*rates]}})
