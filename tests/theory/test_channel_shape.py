"""The channel's numbers: printed tables, limits, the inverse map, and a density that integrates to one."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.special import lambertw

from mixscope.base.simplex import simplex_etf
from mixscope.theory.channel.mixed_features import mixup_features
from mixscope.theory.channel.shape import (
    amplification,
    channel_angle,
    norm_ratio,
    norm_ratio_limit,
    transverse_density,
    weight_at_offset,
)


@pytest.mark.parametrize(
    ("penalty", "longer", "ratio"),
    [
        (1e-1, 1.344, 0.896),
        (1e-2, 1.563, 1.042),
        (1e-3, 1.670, 1.113),
        (1e-4, 1.735, 1.156),
        (1e-6, 1.811, 1.207),
        (1e-8, 1.854, 1.236),
    ],
)
def test_amplification_and_norm_ratio_of_ten_classes(penalty: float, longer: float, ratio: float) -> None:
    assert amplification(10, feature_penalty=penalty, scale=1.0) == pytest.approx(longer, abs=6e-4)  # as printed
    assert norm_ratio(10, feature_penalty=penalty, scale=1.0) == pytest.approx(ratio, abs=6e-4)


@pytest.mark.parametrize("num_classes", [3, 10, 1000])
def test_amplification_rises_from_one_to_two_as_the_penalty_falls(num_classes: int) -> None:
    penalties = [1e3, 1.0, 1e-3, 1e-12, 1e-200]
    values = [amplification(num_classes, feature_penalty=penalty, scale=1.0) for penalty in penalties]
    assert values == sorted(values)
    assert 1 < values[0] < 1.01
    assert 1.98 < values[-1] < 2


def test_even_blends_solve_their_own_equation() -> None:
    for num_classes, penalty in [(3, 0.1), (10, 1e-3), (100, 1e-9)]:
        value = mixup_features(num_classes, 0.5, feature_penalty=penalty, scale=1.0).value
        x = float(value.x1)
        # x exp(x) + (K / 2 - 1) x = a K / 4
        assert x * math.exp(x) + (num_classes / 2 - 1) * x == pytest.approx(value.gain * num_classes / 4, rel=1e-13)


def test_norm_ratio_approaches_its_limit_from_below() -> None:
    assert norm_ratio_limit(10) == pytest.approx(1.333, abs=4e-4)
    assert norm_ratio_limit(10**9) == pytest.approx(math.sqrt(2), rel=1e-8)
    for num_classes in (3, 5, 10, 100):
        close = norm_ratio(num_classes, feature_penalty=1e-250, scale=1.0)
        assert 0.98 * norm_ratio_limit(num_classes) < close < norm_ratio_limit(num_classes)
    assert norm_ratio(2, feature_penalty=1e-3, scale=1.0) == 0


@pytest.mark.parametrize(
    ("num_classes", "weight", "angle", "linear"),
    [
        (3, 0.1, 15.4, 54.2),
        (3, 0.3, 5.8, 34.7),
        (10, 0.1, 9.1, 41.8),
        (10, 0.3, 3.4, 24.1),
        (100, 0.1, 6.6, 38.9),
        (100, 0.3, 2.4, 22.0),
    ],
)
def test_angle_to_the_boundary_direction(num_classes: int, weight: float, angle: float, linear: float) -> None:
    value = mixup_features(num_classes, weight, feature_penalty=1e-4, scale=1.0).value
    assert float(channel_angle(value.x1, value.x2, num_classes=num_classes)) == pytest.approx(angle, abs=0.051)
    ends = torch.tensor(weight), torch.tensor(1 - weight)
    assert float(channel_angle(*ends, num_classes=num_classes)) == pytest.approx(linear, abs=0.051)


def test_angle_is_the_one_between_the_vectors() -> None:
    frame = simplex_etf(6, 8, scale=3.0, generator=torch.Generator().manual_seed(0))
    x1 = torch.tensor([1.0, 0.2, 4.0, -1.0], dtype=torch.float64)
    x2 = torch.tensor([1.0, 0.9, -5.0, -1.5], dtype=torch.float64)
    features, boundary = x1[:, None] * frame[0] + x2[:, None] * frame[1], frame[0] + frame[1]
    cosines = torch.nn.functional.cosine_similarity(features, boundary[None])
    angles = channel_angle(x1, x2, num_classes=6)
    torch.testing.assert_close(angles[1:], torch.rad2deg(cosines.acos())[1:], rtol=0, atol=1e-10)
    assert angles[0] == 0  # where the arccosine loses half its digits


@pytest.mark.parametrize(
    ("penalty", "offset"), [(1e-1, -2.716), (1e-2, -3.139), (1e-3, -2.991), (1e-4, -2.952), (1e-12, -2.9444)]
)
def test_the_offset_across_the_channel_tends_to_the_logit_of_the_weight(penalty: float, offset: float) -> None:
    value = mixup_features(10, 0.05, feature_penalty=penalty, scale=1.0).value
    assert float(value.x1 - value.x2) == pytest.approx(offset, abs=6e-4)


def small_penalty_limit(num_classes: int, shares: torch.Tensor, *, gain: float) -> tuple[torch.Tensor, torch.Tensor]:
    """x1 - x2 tends to log(w / (1 - w)), and (x1 + x2) / 2 to W_0((a K / 2) sqrt(w (1 - w)))."""
    half = torch.logit(shares) / 2
    if num_classes == 2:
        return half, -half
    height = torch.from_numpy(lambertw((gain * num_classes / 2 * (shares * (1 - shares)).sqrt()).numpy()).real)
    return height + half, height - half


@pytest.mark.parametrize("num_classes", [2, 3, 10, 1000])
def test_the_limit_is_approached_like_the_logit_over_the_gain(num_classes: int) -> None:
    shares = torch.tensor([0.1, 0.4, 0.5, 0.8], dtype=torch.float64)
    for penalty in (1e-6, 1e-9, 1e-12):
        value = mixup_features(num_classes, shares, feature_penalty=penalty, scale=1.0).value
        x1, x2 = small_penalty_limit(num_classes, shares, gain=value.gain)
        size = num_classes * 400 * penalty  # logits of 30 over probabilities of 0.1, times 1 / a
        torch.testing.assert_close(value.x1, x1, rtol=0, atol=size + 1e-13)
        torch.testing.assert_close(value.x2, x2, rtol=0, atol=size + 1e-13)


@pytest.mark.parametrize("num_classes", [2, 3, 10, 10**6])
@pytest.mark.parametrize("penalty", [1e3, 1.0, 1e-3, 1e-12])
def test_the_weight_of_an_offset_inverts_the_features(num_classes: int, penalty: float) -> None:
    shares = torch.linspace(0, 1, 101, dtype=torch.float64)
    value = mixup_features(num_classes, shares, feature_penalty=penalty, scale=1.0).value
    offset = value.x1 - value.x2
    back, slope = weight_at_offset(offset, num_classes=num_classes, gain=value.gain)
    torch.testing.assert_close(back, shares, rtol=0, atol=5e-15)  # seen 2e-15
    step = 1e-5 * value.same_class
    around = [weight_at_offset(offset + sign * step, num_classes=num_classes, gain=value.gain)[0] for sign in (1, -1)]
    quotient = (around[0] - around[1]) / (2 * step)
    torch.testing.assert_close(quotient, slope, rtol=1e-6, atol=1e-8 * float(slope.max()))


@pytest.mark.parametrize("num_classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("penalty", [10.0, 0.1, 1e-6])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 30.0])
def test_the_density_integrates_to_one(num_classes: int, penalty: float, alpha: float) -> None:
    model = {"num_classes": num_classes, "feature_penalty": penalty, "scale": 1.0}
    edge = mixup_features(num_classes, 1.0, feature_penalty=penalty, scale=1.0).value
    edge = float(edge.x1 - edge.x2)
    # delta = edge sin(v) takes the square roots at the ends for alpha = 1/2 away; an even function, so twice one half.
    nodes, masses = _gauss_legendre(400, 0.0, math.pi / 2)
    values = transverse_density(edge * nodes.sin(), **model, alpha=alpha) * edge * nodes.cos()
    # alpha = 1/2 leaves a layer of width 1 / a at the end that 400 nodes see in part
    assert 2 * float(values @ masses) == pytest.approx(1.0, abs=1e-3 if alpha < 1 else 1e-9)
    outside = transverse_density(torch.tensor([-1.0001, 1.0001]) * edge, **model, alpha=alpha)
    assert outside.tolist() == [0, 0]


def test_the_density_counts_the_blends_of_a_sample() -> None:
    uniform = torch.rand(200_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value = mixup_features(10, uniform, feature_penalty=1e-3, scale=1.0).value
    offset = value.x1 - value.x2
    for low, high in [(-6.0, -3.0), (-0.5, 0.5), (1.0, 2.0)]:
        share = float(((offset > low) & (offset <= high)).double().mean())
        mass = quad(
            lambda x: float(transverse_density(x, num_classes=10, feature_penalty=1e-3, scale=1.0, alpha=1.0)),
            low,
            high,
            epsabs=1e-8,
        )[0]
        assert share == pytest.approx(mass, abs=5 * math.sqrt(mass / 200_000))  # five standard errors


def test_uniform_weights_tend_to_a_logistic_density() -> None:
    offset = torch.linspace(-8, 8, 33, dtype=torch.float64)
    density = transverse_density(offset, num_classes=10, feature_penalty=1e-12, scale=1.0, alpha=1.0)
    logistic = offset.sigmoid() * (-offset).sigmoid()
    torch.testing.assert_close(density, logistic, rtol=1e-6, atol=1e-11)
    assert int(density.argmax()) == 16  # the middle of the channel


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 3, got 2"):
        amplification(2, feature_penalty=1.0, scale=1.0)
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        norm_ratio_limit(1)
    with pytest.raises(ValueError, match="num_classes must be at least 3, got 2"):
        channel_angle(torch.ones(1), torch.ones(1), num_classes=2)
    with pytest.raises(ValueError, match="x2 must be finite, got 1 NaN"):
        channel_angle(torch.ones(1), torch.tensor([math.nan]), num_classes=3)
    with pytest.raises(ValueError, match="offset must be finite, got 1 NaN"):
        transverse_density(math.inf, num_classes=3, feature_penalty=1.0, scale=1.0, alpha=1.0)
    with pytest.raises(ValueError, match="alpha must be positive and finite, got 0"):
        transverse_density(0.0, num_classes=3, feature_penalty=1.0, scale=1.0, alpha=0)


def _gauss_legendre(count: int, low: float, high: float) -> tuple[torch.Tensor, torch.Tensor]:
    from numpy.polynomial.legendre import leggauss

    nodes, masses = (torch.from_numpy(part) for part in leggauss(count))
    return low + (high - low) * (nodes + 1) / 2, masses * (high - low) / 2
