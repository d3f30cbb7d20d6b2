import math
from decimal import Decimal, localcontext

import pytest
import torch
from torch import Tensor

from mixscope.base.generators import sample_dirichlet
from mixscope.mixing.loss_floor import loss_floor_gap, mixup_loss_floor, soft_target_entropy
from mixscope.mixing.mixture import blend_targets, soft_cross_entropy
from mixscope.mixing.mixup import Mixup


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_targets(num: int, num_classes: int, *, seed: int = 0) -> Tensor:
    return sample_dirichlet(0.5, (num, num_classes), generator=stream(seed))


def naive_gap(logits: Tensor, targets: Tensor) -> float:
    total = 0.0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(z) for z in row))
        total += sum(t * (math.log(t) - (z - log_sum)) for z, t in zip(row, target, strict=True) if t > 0)
    return total / len(logits)


@pytest.mark.parametrize(
    ("alpha", "entropy"),
    [(0.1, 0.1347), (0.2, 0.2277), (0.4, 0.3464), (0.5, 0.3863), (1, 0.5), (2, 0.5833), (8, 0.6629)],
)
def test_floor_of_two_different_classes_for_seven_alphas(alpha: float, entropy: float) -> None:
    # Two equal classes differ half of the time, so the floor is half of the mean entropy of the weight.
    assert mixup_loss_floor(alpha, [0.5, 0.5]) == pytest.approx(entropy / 2, abs=3e-5)


def test_floor_of_plain_mixup_on_ten_equal_classes_is_nine_twentieths() -> None:
    assert mixup_loss_floor(1.0, [0.1] * 10) == pytest.approx(0.45, abs=1e-13)  # (K - 1) / (2 K)


def test_floor_of_blends_of_one_example_or_one_class_is_zero() -> None:
    assert mixup_loss_floor(0.7, [0.2, 0.8], num_points=1) == pytest.approx(0, abs=1e-14)
    assert mixup_loss_floor(0.7, [1.0], num_points=4) == pytest.approx(0, abs=1e-14)
    assert mixup_loss_floor(0.7, [1.0, 0.0, 0.0], num_points=4) == pytest.approx(0, abs=1e-14)


def test_floor_tends_to_the_dirichlet_entropy_where_no_class_meets_itself() -> None:
    # Three members of ever different classes, alpha 1: psi(4) - psi(2) = 1/2 + 1/3.
    assert mixup_loss_floor(1.0, torch.full((10**6,), 1e-6), num_points=3) == pytest.approx(5 / 6, abs=1e-5)


@pytest.mark.parametrize("num_points", [2, 3, 5])
@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_floor_agrees_with_the_entropy_of_drawn_labels(alpha: float, num_points: int) -> None:
    frequencies = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    size = 200_000
    classes = torch.multinomial(frequencies.expand(size, -1), num_points, replacement=True, generator=stream(1))
    weights = sample_dirichlet(alpha, (size, num_points), generator=stream(2))
    entropies = soft_target_entropy(torch.zeros(size, 4, dtype=torch.float64).scatter_add_(1, classes, weights))
    standard_error = float(entropies.std()) / math.sqrt(size)
    expected = mixup_loss_floor(alpha, frequencies, num_points=num_points)
    assert abs(float(entropies.mean()) - expected) < 4 * standard_error  # fixed seed; 4 standard errors: 1 in 16,000


def test_floor_of_the_draws_of_training_is_lower_by_rows_that_meet_themselves() -> None:
    # Batches of 50 out of 200 examples of 10 equal classes, as the docstring has it.
    labels = torch.arange(200) % 10
    means = []
    for batch in range(2000):
        rows = labels[torch.randperm(200, generator=stream(2 * batch))[:50]]
        mixture = Mixup(alpha=1.0, per_example=True).draw(rows[:, None].float(), rows, generator=stream(2 * batch + 1))
        means.append(float(soft_target_entropy(blend_targets(rows, mixture, num_classes=10)).mean()))
    found = torch.tensor(means, dtype=torch.float64)
    standard_error = float(found.std()) / math.sqrt(len(found))
    expected = 0.45 * (1 - (200 - 50) / (50 * 199))
    assert abs(float(found.mean()) - expected) < 4 * standard_error
    assert 0.45 - float(found.mean()) > 4 * standard_error  # the difference can be told


def test_floor_does_not_depend_on_the_order_or_splitting_into_empty_classes() -> None:
    expected = mixup_loss_floor(0.6, [0.2, 0.5, 0.3], num_points=4)
    assert mixup_loss_floor(0.6, [0.5, 0.3, 0.0, 0.2], num_points=4) == pytest.approx(expected, rel=1e-12)


def naive_floor(alpha: float, frequencies: list[float], num_points: int) -> float:
    """The formula term by term in many digits: psi(x + 1) - psi(y + 1) summed over n up to N, and its tail."""
    total, shares = Decimal(0), [Decimal(p) for p in frequencies]
    for members in range(1, num_points):
        x, y, terms = num_points * Decimal(alpha), members * Decimal(alpha), 400
        rise = sum((x - y) / ((n + x) * (n + y)) for n in range(1, terms))
        # Euler and Maclaurin from n = N on: the integral, half the first term, and two derivatives.
        left, right = terms + y, terms + x
        rise += (right / left).ln() + (1 / left - 1 / right) / 2
        rise += (left**-2 - right**-2) / 12 - (left**-4 - right**-4) / 120 + (left**-6 - right**-6) / 252
        chances = sum(p**members * (1 - p) ** (num_points - members) for p in shares)
        total += math.comb(num_points, members) * chances * Decimal(members) / num_points * rise
    return float(total)


@pytest.mark.parametrize("num_points", [2, 3, 10])
@pytest.mark.parametrize("alpha", [5e-324, 1e-300, 1e-20, 1e-8, 0.001, 0.3, 1.0, 1.5, 20.0, 1e4, 1e15, 1e100, 1.7e308])
def test_floor_is_right_for_every_alpha(alpha: float, num_points: int) -> None:
    with localcontext(prec=400):
        expected = naive_floor(alpha, [0.5, 0.25, 0.25], num_points)
    found = mixup_loss_floor(alpha, [0.5, 0.25, 0.25], num_points=num_points)
    assert found == pytest.approx(expected, rel=1e-13, abs=1e-14)  # digamma rounds at 1e-16 of 1


def test_floor_of_even_blends_is_the_entropy_of_even_weights() -> None:
    # alpha to infinity: two members of different classes with weights 1/2.
    assert mixup_loss_floor(1e308, [0.5, 0.5]) == pytest.approx(math.log(2) / 2, rel=1e-14)


def test_floor_of_rare_blends_is_in_proportion_to_alpha() -> None:
    # alpha to 0: psi(2 alpha + 1) - psi(alpha + 1) is alpha pi^2 / 6.
    assert mixup_loss_floor(1e-200, [0.5, 0.5]) == pytest.approx(1e-200 * math.pi**2 / 12, rel=1e-13)


def test_floor_of_many_points_stays_finite() -> None:
    # 2000 members: 2000 choose 1000 is beyond float64.
    value = mixup_loss_floor(1.0, [0.5, 0.5], num_points=2000)
    assert math.log(2) - 1e-3 < value < math.log(2)


def test_entropy_of_hard_uniform_and_half_precision_targets() -> None:
    targets = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]])
    expected = torch.tensor([0, 2, 1], dtype=torch.float64) * math.log(2)
    for dtype in (torch.float16, torch.float32, torch.float64):
        found = soft_target_entropy(targets.to(dtype))
        assert found.dtype is torch.float64
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


def test_gap_agrees_with_its_definition_and_with_the_loss_minus_the_entropy() -> None:
    logits = 3 * torch.randn(40, 5, dtype=torch.float64, generator=stream(3))
    targets = random_targets(40, 5)
    targets[0] = torch.tensor([0, 0, 1, 0, 0])
    gap = loss_floor_gap(logits, targets)
    assert gap == pytest.approx(naive_gap(logits, targets), rel=1e-12)
    difference = float(soft_cross_entropy(logits, targets)) - float(soft_target_entropy(targets).mean())
    assert gap == pytest.approx(difference, rel=1e-12)


def test_gap_is_zero_where_the_targets_are_met_and_ignores_a_shift_of_the_logits() -> None:
    targets = random_targets(30, 6, seed=4)
    assert 0 <= loss_floor_gap(targets.log(), targets) < 1e-14
    logits = torch.randn(30, 6, dtype=torch.float64, generator=stream(5))
    shifted = logits + 100 * torch.randn(30, 1, dtype=torch.float64, generator=stream(6))
    assert loss_floor_gap(shifted, targets) == pytest.approx(loss_floor_gap(logits, targets), rel=1e-11)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixup_loss_floor(0.0, [1.0]), "alpha must be positive and finite, got 0.0"),
        (lambda: mixup_loss_floor(1.0, [1.0], num_points=0), "num_points must be at least 1, got 0"),
        (lambda: mixup_loss_floor(1.0, [0.5, 0.6]), r"must be at least 0 and sum to 1, got \[0.5, 0.6\]"),
        (lambda: mixup_loss_floor(1.0, [1.5, -0.5]), r"must be at least 0 and sum to 1, got \[1.5, -0.5\]"),
        (lambda: mixup_loss_floor(1.0, []), r"must be at least 0 and sum to 1, got \[\]"),
        (
            lambda: mixup_loss_floor(1.0, [[1.0]]),
            r"class_frequencies must be a sequence of numbers or a torch.Tensor, got \[\[1.0\]\]",
        ),
        (lambda: mixup_loss_floor(1.0, [1.0, math.nan]), "class_frequencies must be finite, got 1 NaN"),
        (lambda: soft_target_entropy(torch.tensor([0, 1])), r"targets must have 2 dimensions, got shape \(2,\)"),
        (lambda: soft_target_entropy(torch.tensor([[0, 1]])), "targets must be floating point .* got torch.int64"),
        (
            lambda: soft_target_entropy(torch.zeros(0, 3)),
            r"at least one row and class, got torch.float32 of shape \(0, 3\)",
        ),
        (
            lambda: soft_target_entropy(torch.tensor([[0.5, 0.4]])),
            "got a smallest entry of 0.4 and a row .* off by 0.1",
        ),
        (lambda: soft_target_entropy(torch.tensor([[1.5, -0.5]])), "got a smallest entry of -0.5"),
        (lambda: soft_target_entropy(torch.tensor([[math.nan, 1.0]])), "targets must be finite, got 1 NaN"),
        (lambda: loss_floor_gap(torch.zeros(1, 3), torch.ones(1, 1)), r"logits must be float of shape \(1, 1\)"),
        (lambda: loss_floor_gap(torch.zeros(2, 1), torch.ones(1, 1)), "must have the same length, got 2 and 1"),
        (lambda: loss_floor_gap(torch.full((1, 1), math.inf), torch.ones(1, 1)), "logits must be finite, got 1 NaN"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
