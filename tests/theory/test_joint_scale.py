"""The classifier's length at the joint optimum: worked numbers, balance, the collapse threshold, laws of the weight."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import beta

from mixscope.theory.channel.joint_scale import classifier_scale, etf_threshold, mean_blend
from mixscope.theory.channel.mixed_features import mixup_features
from mixscope.theory.weight_law import BetaLaw, FiniteLaw, log_odds_density

UNMIXED = FiniteLaw((1.0,), (1.0,))


def naive_scale(num_classes: int, classifier_penalty: float, feature_penalty: float, alpha: float) -> float:
    """m^4 = (K - 1) feature penalty E|z|^2 / (K^2 classifier penalty), by scipy's adaptive quadrature in the weight."""

    def logit_square(weight: float, scale: float) -> float:
        value = mixup_features(num_classes, weight, feature_penalty=feature_penalty, scale=scale).value
        x1, x2 = float(value.x1), float(value.x2)
        return x1**2 + x2**2 - (x1 + x2) ** 2 / num_classes

    def imbalance(scale: float) -> float:
        gain = scale**2 * num_classes / ((num_classes - 1) * feature_penalty)
        layers = [1 / gain, 10 / gain, 100 / gain, 0.01, 0.1]
        mixed = (
            2
            * quad(
                lambda w: beta.pdf(w, alpha, alpha) * logit_square(w, scale),
                0,
                0.5,
                points=layers,
                epsrel=1e-8,
                limit=300,
            )[0]
        )
        mean = logit_square(1.0, scale) / num_classes + (1 - 1 / num_classes) * mixed
        return scale**4 - (num_classes - 1) * feature_penalty * mean / (num_classes**2 * classifier_penalty)

    return float(brentq(imbalance, 1.65, 1.7, xtol=1e-8))


@pytest.mark.parametrize(
    ("penalty", "scale", "rise", "probability", "middle"),
    [(5e-4, 1.67002, 8.8525, 0.99871, 7.6160), (1e-4, 1.83859, 10.4860, 0.99975, 9.2274)],
)
def test_ten_classes_under_uniform_weights(
    penalty: float, scale: float, rise: float, probability: float, middle: float
) -> None:
    value = classifier_scale(10, classifier_penalty=penalty, feature_penalty=penalty, law=BetaLaw(1.0)).value
    assert value.scale == pytest.approx(scale, abs=6e-6)
    assert value.same_class == pytest.approx(rise, abs=6e-5)
    assert value.same_class_probability == pytest.approx(probability, abs=6e-6)
    features = mixup_features(10, 0.5, feature_penalty=penalty, scale=value.scale).value
    assert float(features.x1) == pytest.approx(middle, abs=6e-5)
    assert features.same_class == pytest.approx(value.same_class, rel=1e-12)


def test_the_scale_agrees_with_adaptive_quadrature() -> None:
    value = classifier_scale(10, classifier_penalty=5e-4, feature_penalty=5e-4, law=BetaLaw(1.0)).value
    assert value.scale == pytest.approx(naive_scale(10, 5e-4, 5e-4, 1.0), rel=1e-7)  # of the quadrature and the root


@pytest.mark.parametrize("num_classes", [2, 3, 10, 10**6])
@pytest.mark.parametrize("law", [BetaLaw(0.2), BetaLaw(1.0), BetaLaw(8.0), UNMIXED, FiniteLaw((0.1, 0.5), (0.3, 0.7))])
@pytest.mark.parametrize("ratio", [0.999999, 0.5, 1e-4, 1e-20])
def test_both_penalties_carry_the_same_energy(num_classes: int, law: BetaLaw | FiniteLaw, ratio: float) -> None:
    product = ratio * etf_threshold(num_classes, law)
    solution = classifier_scale(num_classes, classifier_penalty=1e-3, feature_penalty=product / 1e-3, law=law)
    assert solution.is_converged
    assert solution.residual < 1e-12  # promised 1e-10, seen 1e-14


def test_logits_depend_on_the_product_of_the_penalties_alone() -> None:
    one = classifier_scale(5, classifier_penalty=1e-3, feature_penalty=1e-3, law=BetaLaw(1.0)).value
    other = classifier_scale(5, classifier_penalty=1e-5, feature_penalty=1e-1, law=BetaLaw(1.0)).value
    assert one.gain == pytest.approx(other.gain, rel=1e-12)
    assert one.objective == pytest.approx(other.objective, rel=1e-13)
    assert other.scale == pytest.approx(10 * one.scale, rel=1e-12)


@pytest.mark.parametrize("law", [BetaLaw(1.0), BetaLaw(0.3), UNMIXED, FiniteLaw((0.2, 0.5), (0.5, 0.5))])
@pytest.mark.parametrize("num_classes", [2, 7])
def test_the_classifier_vanishes_at_the_threshold_and_not_before(law: BetaLaw | FiniteLaw, num_classes: int) -> None:
    threshold = etf_threshold(num_classes, law)
    above = classifier_scale(num_classes, classifier_penalty=1.05 * threshold, feature_penalty=1.0, law=law).value
    assert above.is_collapsed
    assert above.scale == 0
    assert above.objective == pytest.approx(math.log(num_classes), rel=1e-15)
    below = classifier_scale(num_classes, classifier_penalty=0.95 * threshold, feature_penalty=1.0, law=law).value
    assert not below.is_collapsed
    assert below.scale > 0.1
    assert below.objective < math.log(num_classes)
    near = classifier_scale(num_classes, classifier_penalty=(1 - 1e-8) * threshold, feature_penalty=1.0, law=law)
    assert near.is_converged
    assert 0 < near.value.scale < 1e-3


def test_thresholds_of_mixup_and_of_no_mixing() -> None:
    assert etf_threshold(10, BetaLaw(1.0)) == pytest.approx(2 / 30, rel=1e-15)
    assert etf_threshold(10, UNMIXED) == pytest.approx(0.1, rel=1e-15)
    # (alpha + 1) / ((2 alpha + 1) K) between no mixing and even blends
    assert etf_threshold(4, BetaLaw(1e-9)) == pytest.approx(1 / 4, rel=1e-8)
    assert etf_threshold(4, BetaLaw(1e9)) == pytest.approx(1 / 8, rel=1e-8)
    assert FiniteLaw((0.3,), (1.0,)).mean_square == pytest.approx(0.58, rel=1e-15)


def test_the_threshold_is_the_spectral_norm_of_the_gradient_at_zero() -> None:
    # At W = 0 the gradient's Gram matrix is E[y y^T] - 11^T / K^2 over all ordered pairs and weights.
    law, num_classes = FiniteLaw((0.1, 0.35, 0.8), (0.2, 0.5, 0.3)), 5
    gram = -torch.ones(num_classes, num_classes, dtype=torch.float64) / num_classes**2
    eye = torch.eye(num_classes, dtype=torch.float64)
    for weight, share in zip(law.weights, law.probabilities, strict=True):
        for first in eye:
            for second in eye:
                label = weight * first + (1 - weight) * second
                gram += share / num_classes**2 * torch.outer(label, label)
    largest = float(torch.linalg.eigvalsh(gram)[-1])
    assert etf_threshold(num_classes, law) == pytest.approx(largest, rel=1e-13)


@pytest.mark.parametrize("alpha", [5e-324, 1e-100, 1e-9, 1e-3, 0.1, 0.5, 1.0, 20.0, 99.9, 100.0, 1e4, 1e8, 1e13, 1e308])
def test_a_beta_law_integrates_polynomials(alpha: float) -> None:
    weights, masses = BetaLaw(alpha).nodes(gain=1e4, num_classes=10)
    assert float(masses.sum()) == pytest.approx(1.0, rel=1e-14)
    # E[w (1 - w)] and E[w^2 (1 - w)^2], the raw moments of a symmetric beta law
    product = weights * (1 - weights)
    mean = (1 - 1 / (2 * alpha + 1)) / 4 if alpha > 1 else alpha / (2 * (2 * alpha + 1))
    assert float(masses @ product) == pytest.approx(mean, rel=1e-12, abs=1e-322)
    second = mean * (1 - 1 / (2 * alpha + 3)) / 4  # (alpha + 1) / (2 (2 alpha + 3)) of it
    assert float(masses @ product.square()) == pytest.approx(second, rel=1e-12, abs=1e-322)


@pytest.mark.parametrize("alpha", [1e-300, 0.3, 1.0, 2.5, 99.0, 101.0, 1e3])
def test_the_density_of_the_log_odds_is_that_of_the_weight_carried_over(alpha: float) -> None:
    log_odds = torch.tensor([-30.0, -4.1, -3.9, -0.01, 0.0, 1e-9, 0.5, 4.0, 12.0], dtype=torch.float64)
    weights = log_odds.sigmoid()
    expected = torch.distributions.Beta(*torch.full((2,), alpha, dtype=torch.float64)).log_prob(weights)
    expected = expected + weights.log() + (-log_odds).sigmoid().log()
    torch.testing.assert_close(log_odds_density(log_odds, alpha), expected, rtol=1e-9, atol=1e-9 + 1e-10 * alpha)


@pytest.mark.parametrize("alpha", [1e3, 1e6, 1e12, 1e300])
def test_the_density_of_narrow_laws_is_normal(alpha: float) -> None:
    # log(w / (1 - w)) of Beta(alpha, alpha) has variance 2 / alpha.
    spread = math.sqrt(2 / alpha)
    found = log_odds_density(spread * torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64), alpha)
    expected = torch.tensor([0.0, -0.5, -2.0], dtype=torch.float64) - math.log(spread) - math.log(2 * math.pi) / 2
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=5 / alpha)  # the next order of cosh and of Stirling


@pytest.mark.parametrize("num_classes", [2, 10, 10**6])
@pytest.mark.parametrize("alpha", [1e-3, 0.3, 1.0, 100.0, 1e9])
@pytest.mark.parametrize("gain", [1e-3, 30.0, 1e5, 1e12])
def test_the_quadrature_over_a_beta_law_has_converged(
    num_classes: int, alpha: float, gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    law = BetaLaw(alpha)
    coarse = mean_blend(num_classes, law, gain=gain)
    for name, value in {"LOGIT_STEP": 0.11, "LOG_CLASSES_STEP": 0.22, "SPREADS_PER_STEP": 0.17, "CUT": 60.0}.items():
        monkeypatch.setattr(f"mixscope.theory.weight_law.{name}", value)
    fine = mean_blend(num_classes, law, gain=gain)
    assert coarse == pytest.approx(fine, rel=1e-12)  # promised; seen 1e-13


def test_a_finite_law_of_gauss_nodes_approaches_the_beta_law() -> None:
    nodes, masses = np.polynomial.legendre.leggauss(400)
    law = FiniteLaw(tuple((nodes + 1) / 2), tuple(masses / 2))
    settings = {"classifier_penalty": 5e-4, "feature_penalty": 5e-4}
    exact = classifier_scale(10, **settings, law=BetaLaw(1.0)).value.scale
    # Polynomial nodes resolve the layers of width 1 / a at both ends slowly: 32 nodes are off by 1e-5, 400 by 1e-9
    assert classifier_scale(10, **settings, law=law).value.scale == pytest.approx(exact, rel=1e-7)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="alpha must be positive and finite, got 0"):
        BetaLaw(0.0)
    with pytest.raises(ValueError, match="weights and probabilities must be as many, at least 1, got 2 and 1"):
        FiniteLaw((0.1, 0.2), (1.0,))
    with pytest.raises(ValueError, match="at least 1, got 0 and 0"):
        FiniteLaw((), ())
    with pytest.raises(ValueError, match=r"weights must lie in \[0, 1\], got \(1.5,\)"):
        FiniteLaw((1.5,), (1.0,))
    with pytest.raises(ValueError, match=r"probabilities must be positive, got \(0.0, 1.0\)"):
        FiniteLaw((0.5, 1.0), (0.0, 1.0))
    with pytest.raises(ValueError, match=r"probabilities must sum to 1, got 0.75"):
        FiniteLaw((0.5, 1.0), (0.25, 0.5))
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        etf_threshold(1, UNMIXED)
    with pytest.raises(ValueError, match="classifier_penalty must be positive and finite, got 0"):
        classifier_scale(3, classifier_penalty=0.0, feature_penalty=1.0, law=UNMIXED)
    with pytest.raises(ValueError, match=r"must have a finite product of at least 1e-200, got 0"):
        classifier_scale(3, classifier_penalty=1e-200, feature_penalty=1e-200, law=UNMIXED)


@pytest.mark.parametrize("alpha", [1.0, 100.0, 5000.0, 10_000.0])
@pytest.mark.parametrize("below", [1e-9, 1e-13, 1e-15])
def test_a_product_that_is_the_threshold_up_to_rounding_has_an_answer(alpha: float, below: float) -> None:
    law = BetaLaw(alpha)
    penalty = math.sqrt(etf_threshold(10, law) * (1 - below))
    solution = classifier_scale(10, classifier_penalty=penalty, feature_penalty=penalty, law=law)
    assert solution.value.is_collapsed or 0 < solution.value.scale < 1e-3
    assert math.isfinite(solution.value.objective)
