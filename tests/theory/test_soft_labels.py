"""Optimal logits of any soft label: against fifty digits, direct minimisation, and Lambert's form of the same."""

import math

import mpmath
import pytest
import torch

from mixscope.base.simplex import simplex_etf
from mixscope.theory.channel.soft_labels import logit_gain, rise_slopes, soft_label_logits, solve_rises

GAINS = [1e-200, 1e-6, 1e-2, 1.0, 30.0, 1e4, 1e8, 1e12, 1e200]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_labels(rows: int, values: int, *, seed: int = 0, power: float = 3.0) -> torch.Tensor:
    labels = torch.rand(rows, values, dtype=torch.float64, generator=generator(seed)) ** power
    return labels / labels.sum(dim=1, keepdim=True)


def naive_feature(classifier: torch.Tensor, label: torch.Tensor, penalty: float, *, steps: int = 200) -> torch.Tensor:
    """Minimise cross-entropy + penalty / 2 |h|^2 by damped Newton steps in feature space: nothing about simplices."""
    feature = classifier.new_zeros(classifier.shape[1])
    eye = torch.eye(len(feature), dtype=torch.float64)

    def value(h: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(classifier @ h, 0) - label @ (classifier @ h) + penalty / 2 * h @ h

    for _ in range(steps):
        p = torch.softmax(classifier @ feature, 0)
        gradient = classifier.T @ (p - label) + penalty * feature
        hessian = classifier.T @ (torch.diag(p) - torch.outer(p, p)) @ classifier + penalty * eye
        step = torch.linalg.solve(hessian, gradient)
        length = 1.0
        # the value itself rounds by 1e-15: at the minimum a full step must not be refused for that
        while value(feature - length * step) > value(feature) + 1e-14 and length > 1e-10:
            length /= 2
        feature = feature - length * step
        if float(step.norm()) < 1e-14 * (1 + float(feature.norm())):
            break
    return feature


@pytest.mark.parametrize("num_classes", [2, 3, 5, 10])
@pytest.mark.parametrize("penalty", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("scale", [0.5, 2.5])
def test_logits_agree_with_direct_minimisation_under_a_rotated_and_shifted_classifier(
    num_classes: int, penalty: float, scale: float
) -> None:
    frame = simplex_etf(num_classes, num_classes + 2, scale=scale, generator=generator(num_classes))
    # A vector added to every row changes no softmax, so neither the optimum.
    shifted = frame + 3 * torch.randn(num_classes + 2, dtype=torch.float64, generator=generator(9))
    labels = random_labels(3, num_classes, seed=num_classes)
    gain = logit_gain(num_classes, feature_penalty=penalty, scale=scale)
    logits = soft_label_logits(labels, num_classes=num_classes, gain=gain).value.logits
    per_nat = (num_classes - 1) / (scale**2 * num_classes)
    for label, row in zip(labels, logits, strict=True):
        direct = naive_feature(shifted, label, penalty)
        # Rounding of the gradient, 1e-16, divided by the smallest curvature, the penalty
        torch.testing.assert_close(per_nat * row @ frame, direct, rtol=1e-9, atol=1e-10)


def mpmath_rises(label: list[float], num_classes: int, gain: float) -> list[float]:
    """Solve for kappa and every W_0 in sixty digits; return the logits above those of the classes left over."""
    with mpmath.workdps(60):
        a, left = mpmath.mpf(gain), num_classes - len(label)

        def omega(exponent: mpmath.mpf) -> mpmath.mpf:
            w = exponent if exponent > 1 else mpmath.exp(exponent)
            for _ in range(200):
                step = (w + mpmath.log(w) - exponent) / (1 + 1 / w)
                w = w - step if step < w else w / 2
                if abs(step) < mpmath.mpf(10) ** -55 * w:
                    break
            return w

        labels = [mpmath.mpf(value) for value in label]
        labels = [value / sum(labels) for value in labels]

        def excess(log_kappa: mpmath.mpf) -> mpmath.mpf:
            return sum(omega(log_kappa + a * value) for value in labels) + left * omega(log_kappa) - a

        # 200 halvings: the sum grows with kappa
        low, high = -a - 100, mpmath.log(a) + a
        for _ in range(260):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) < 0 else (low, middle)
        base = mpmath.log(omega(low))
        return [float(mpmath.log(omega(low + a * value)) - base) for value in labels]


@pytest.mark.parametrize(
    ("num_classes", "gain", "label"),
    [
        (3, 15.0, [0.3, 0.7]),
        (10, 1e12, [0.3, 0.7]),
        (10, 1e-5, [1e-9, 1 - 1e-9]),
        (10, 1e3, [1e-9, 1 - 1e-9]),
        (10**6, 1e12, [1e-9, 1 - 1e-9]),
        (10**6, 40.0, [0.5, 0.5]),
        (100, 1e6, [0.1, 0.2, 0.3, 0.4]),
        (1000, 300.0, [0.0, 1.0]),
    ],
)
def test_logits_have_all_their_digits_where_float64_would_lose_them(
    num_classes: int, gain: float, label: list[float]
) -> None:
    computed = soft_label_logits(torch.tensor([label], dtype=torch.float64), num_classes=num_classes, gain=gain)
    expected = mpmath_rises(label, num_classes, gain)
    # Twenty last digits, relative to each rise itself, however small
    assert computed.value.rises[0].tolist() == pytest.approx(expected, rel=4e-15, abs=1e-40)


@pytest.mark.parametrize("num_classes", [2, 3, 10, 1000, 10**6])
def test_the_stationarity_residual_stays_below_its_tolerance_everywhere(num_classes: int) -> None:
    ends = torch.tensor([0.0, 1e-9, 1e-6, 1e-3, 0.1, 0.5], dtype=torch.float64)
    weights = torch.cat([ends, 1 - ends, random_labels(40, 2)[:, 0]])
    for gain in GAINS:
        solution = soft_label_logits(torch.stack([weights, 1 - weights], 1), num_classes=num_classes, gain=gain)
        assert solution.is_converged
        assert solution.residual < 1e-13  # seen 4e-15
        assert solution.iterations < 12


@pytest.mark.parametrize("gain", GAINS)
def test_logits_sum_to_zero_and_probabilities_to_one(gain: float) -> None:
    labels = random_labels(6, 3)
    value = soft_label_logits(labels, num_classes=50, gain=gain).value
    logit_sum = value.logits.sum(dim=1) + 47 * value.base_logit
    assert float((logit_sum / value.logits.abs().sum(dim=1)).abs().max()) < 1e-13
    # z = a (y - p)
    total = (labels - value.logits / gain).sum(dim=1) - 47 * value.base_logit / gain
    torch.testing.assert_close(total, torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-13)


def test_zeros_say_the_same_as_what_they_leave_out() -> None:
    pair = torch.tensor([[0.3, 0.7]], dtype=torch.float64)
    plain = soft_label_logits(pair, num_classes=6, gain=200.0).value
    dense = soft_label_logits(torch.tensor([[0.0, 0.3, 0.0, 0.0, 0.7, 0.0]]), num_classes=6, gain=200.0).value
    torch.testing.assert_close(dense.logits[:, [1, 4]], plain.logits, rtol=1e-7, atol=0)  # the label came in float32
    torch.testing.assert_close(dense.logits[:, 0], plain.base_logit, rtol=1e-7, atol=0)


def test_classes_share_logits_as_they_share_labels_in_any_order() -> None:
    labels = random_labels(4, 7)
    order = torch.randperm(7, generator=generator(3))
    plain = soft_label_logits(labels, num_classes=7, gain=33.0).value
    mixed = soft_label_logits(labels[:, order], num_classes=7, gain=33.0).value
    torch.testing.assert_close(mixed.logits, plain.logits[:, order], rtol=1e-13, atol=1e-14)
    uniform = soft_label_logits(torch.full((1, 7), 1 / 7), num_classes=7, gain=33.0).value
    assert uniform.logits.abs().max() == 0


def test_any_leading_shape_is_taken() -> None:
    labels = random_labels(6, 3)
    flat = soft_label_logits(labels, num_classes=5, gain=9.0).value.logits
    nested = soft_label_logits(labels.view(2, 3, 3), num_classes=5, gain=9.0).value.logits
    assert nested.shape == (2, 3, 3)
    torch.testing.assert_close(nested.view(6, 3), flat, rtol=0, atol=0)
    assert soft_label_logits(labels[:0], num_classes=5, gain=9.0).value.logits.shape == (0, 3)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_slopes_of_the_rises_are_their_difference_quotients(num_classes: int) -> None:
    weights = torch.tensor([0.1, 0.3], dtype=torch.float64)
    values = torch.stack([weights, 1 - weights], dim=1)
    base = values.amin(dim=1) if num_classes == 2 else torch.zeros(2, dtype=torch.float64)

    def solve(gain: float) -> tuple[torch.Tensor, torch.Tensor]:
        offsets, total = gain * (values - base[:, None]), gain * num_classes * base
        return solve_rises(offsets, total, num_classes=num_classes)[:2]

    rises, log_scale = solve(40.0)
    slopes = rise_slopes(
        rises,
        log_scale,
        offset_slopes=values - base[:, None],
        base_slope=num_classes * base,
        num_classes=num_classes,
    )
    quotient = (solve(40.001)[0] - solve(39.999)[0]) / 0.002
    # Central differences: rounding 1e-12, curvature 1e-9
    torch.testing.assert_close(slopes, quotient, rtol=1e-7, atol=1e-10)


def test_bad_labels_are_named() -> None:
    with pytest.raises(ValueError, match=r"label_values must sum to 1, got labels that are off by 0.2"):
        soft_label_logits(torch.tensor([[0.5, 0.3]]), num_classes=3, gain=1.0)
    with pytest.raises(ValueError, match=r"label_values must be at least 0, got -0.5"):
        soft_label_logits(torch.tensor([[1.5, -0.5]]), num_classes=3, gain=1.0)
    with pytest.raises(ValueError, match="label_values must be finite, got 1 NaN"):
        soft_label_logits(torch.tensor([[1.0, math.nan]]), num_classes=3, gain=1.0)
    with pytest.raises(ValueError, match="label_values must have a last dimension of 1 to num_classes = 2 values, got"):
        soft_label_logits(torch.tensor([[0.5, 0.3, 0.2]]), num_classes=2, gain=1.0)
    with pytest.raises(ValueError, match=r"label_values must have a last dimension of 1 to num_classes = 2"):
        soft_label_logits(torch.tensor(1.0), num_classes=2, gain=1.0)
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        soft_label_logits(torch.tensor([[1.0]]), num_classes=1, gain=1.0)
    with pytest.raises(ValueError, match="gain must be positive and finite, got 0"):
        soft_label_logits(torch.tensor([[1.0]]), num_classes=2, gain=0.0)


def test_the_gain_says_what_does_not_fit() -> None:
    assert logit_gain(10, feature_penalty=1e-3, scale=2.0) == pytest.approx(4 * 10 / 9e-3, rel=1e-15)
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        logit_gain(1, feature_penalty=1.0, scale=1.0)
    with pytest.raises(ValueError, match="feature_penalty must be positive and finite, got -1"):
        logit_gain(3, feature_penalty=-1.0, scale=1.0)
    with pytest.raises(ValueError, match="scale must be positive and finite, got nan"):
        logit_gain(3, feature_penalty=1.0, scale=math.nan)
    with pytest.raises(
        ValueError, match="feature_penalty and scale must give a logit gain that is positive and finite, got inf"
    ):
        logit_gain(3, feature_penalty=1e-300, scale=1e300)
