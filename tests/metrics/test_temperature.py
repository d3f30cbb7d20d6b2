import math

import pytest
import torch
from calibration_cases import BAD_LOGITS, negative_log_likelihood_from_logits, random_logits
from torch import Tensor

from mixscope.metrics.calibration import predictions
from mixscope.metrics.calibration.temperature import TemperatureFit, fit_temperature


def minimised_by_scipy(logits: Tensor, labels: Tensor) -> float:
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood_from_logits(logits.double() / math.exp(log_temperature), labels)

    return math.exp(minimize_scalar(loss, bounds=(-12, 12), method="bounded", options={"xatol": 1e-10}).x)


PROBLEMS = {
    "over-confident": random_logits(),
    "two classes": random_logits(300, 2, seed=1),
    "many classes": random_logits(400, 60, seed=2),
    "under-confident": (0.1 * random_logits(seed=3)[0], random_logits(seed=3)[1]),
    "sure of nearly all": (
        torch.cat([torch.eye(3).double() * 20, torch.tensor([[20.0, 0.0, 5.0]]).double()]),
        torch.tensor([0, 1, 2, 1]),
    ),
    "one example, second of three": (torch.tensor([[0.0, -1.0, -5.0]]).double(), torch.tensor([1])),
}


@pytest.mark.parametrize("change", ["as it is", "scaled up", "scaled down", "rows shifted", "classes renamed", "order"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_temperature_is_that_of_a_bounded_search(name: str, change: str) -> None:
    logits, labels = PROBLEMS[name]
    factor = 1.0
    stream = torch.Generator().manual_seed(5)
    if change.startswith("scaled"):
        factor = 37.0 if change == "scaled up" else 1 / 37
        logits = logits * factor
    elif change == "rows shifted":
        logits = logits + 100 * torch.randn(len(logits), 1, dtype=torch.float64, generator=stream)
    elif change == "classes renamed":
        names = torch.randperm(logits.shape[1], generator=stream)
        logits, labels = logits[:, names], names.argsort()[labels]
    elif change == "order":
        order = torch.randperm(len(logits), generator=stream)
        logits, labels = logits[order], labels[order]
    fit = fit_temperature(logits, labels)
    assert fit.is_converged
    assert fit.reason == ""
    assert fit.iterations < 40
    # A search by values knows the flat minimum to the root of the precision only: seen 2e-7.
    assert fit.temperature == pytest.approx(minimised_by_scipy(logits, labels), rel=2e-6)
    original = fit_temperature(*PROBLEMS[name])
    assert fit.temperature == pytest.approx(factor * original.temperature, rel=1e-9)
    assert fit.nll_after == pytest.approx(original.nll_after, rel=1e-9)
    assert fit.nll_after <= fit.nll_before
    assert fit.nll_before == pytest.approx(negative_log_likelihood_from_logits(logits, labels), rel=1e-12)
    scaled = logits / fit.temperature
    assert fit.nll_after == pytest.approx(negative_log_likelihood_from_logits(scaled, labels), rel=1e-9)


def test_the_slope_of_the_loss_vanishes_at_the_temperature() -> None:
    logits, labels = random_logits()
    fit = fit_temperature(logits, labels)
    probabilities = torch.softmax(logits / fit.temperature, dim=1)
    slope = (probabilities * logits).sum(dim=1) - logits.gather(1, labels[:, None])[:, 0]
    assert abs(float(slope.mean())) < 1e-10


def test_two_classes_by_hand() -> None:
    # Three of four right at a margin of 4: softmax(4 / T) = 3/4 at T = 4 / log 3.
    logits = torch.tensor([[4.0, 0.0]]).repeat(4, 1)
    fit = fit_temperature(logits, torch.tensor([0, 0, 1, 0]))
    assert fit.temperature == pytest.approx(4 / math.log(3), rel=1e-10)
    assert fit.nll_after == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


def test_a_temperature_that_was_applied_is_found_again() -> None:
    # Labels drawn from the softmax of logits; 100,000 of them know T to 1 %.
    stream = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(100_000, 4, dtype=torch.float64, generator=stream)
    labels = torch.multinomial(torch.softmax(logits, dim=1), 1, generator=stream)[:, 0]
    assert fit_temperature(2.5 * logits, labels).temperature == pytest.approx(2.5, rel=0.03)


@pytest.mark.parametrize("factor", [1.0, 1e-8, 1e8])
def test_where_every_label_wins_there_is_no_best_temperature(factor: float) -> None:
    logits = factor * torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.5, 0.1]], dtype=torch.float64)
    fit = fit_temperature(logits, torch.tensor([0, 1]))
    assert not fit.is_converged
    assert fit.reason == "every label has the largest logit of its row, so the loss falls all the way to T = 0"
    assert 0 < fit.temperature < 1e-5 * factor
    assert fit.nll_after == pytest.approx(0, abs=1e-12)


def test_where_labels_lose_on_average_there_is_none_either() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.5, 0.1]])
    fit = fit_temperature(logits, torch.tensor([2, 0]))
    assert not fit.is_converged
    assert "no larger than the mean logit" in fit.reason
    assert fit.temperature > 1e5
    assert fit.nll_after == pytest.approx(math.log(3), rel=1e-5)


def test_constant_rows_leave_the_temperature_at_one() -> None:
    logits = torch.tensor([[7.0, 7.0], [-1e5, -1e5]])
    fit = fit_temperature(logits, torch.tensor([0, 1]))
    reason = "every row of logits is constant, so the loss does not depend on the temperature"
    assert fit == TemperatureFit(1.0, math.log(2), math.log(2), 0, False, reason)


@pytest.mark.parametrize("factor", [1e-30, 1e-5, 1e5, 1e30, 1e200])
def test_tiny_and_huge_logits_have_their_temperature(factor: float) -> None:
    logits, labels = random_logits()
    expected = fit_temperature(logits, labels)
    fit = fit_temperature(factor * logits, labels)
    assert fit.is_converged
    assert fit.temperature == pytest.approx(factor * expected.temperature, rel=1e-9)
    assert fit.nll_after == pytest.approx(expected.nll_after, rel=1e-9)


def test_rows_of_very_different_size_are_fitted() -> None:
    logits, labels = random_logits()
    logits = logits * torch.logspace(-3, 3, 500, dtype=torch.float64)[:, None]
    fit = fit_temperature(logits, labels)
    assert fit.is_converged
    assert fit.temperature == pytest.approx(minimised_by_scipy(logits, labels), rel=2e-6)


def test_one_close_loss_among_many_wins_is_far_out_but_found() -> None:
    # 999 margins of 10 and one loss by 0.01: the best T balances exp(-10/T) against 0.01.
    logits = torch.tensor([[10.0, 0.0]]).double().repeat(1000, 1)
    logits[0] = torch.tensor([0.0, 0.01])
    fit = fit_temperature(logits, torch.zeros(1000, dtype=torch.int64))
    assert fit.is_converged
    assert fit.temperature == pytest.approx(minimised_by_scipy(logits, torch.zeros(1000, dtype=torch.int64)), rel=1e-5)


@pytest.mark.parametrize("block", [1, 100, 10**6])
def test_blocks_precision_and_gradients_do_not_matter(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    logits, labels = random_logits()
    half = logits.to(torch.float16)
    expected = fit_temperature(half.double(), labels)
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", block)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fit = fit_temperature(half.requires_grad_(), labels.to(torch.int32))
    assert fit.temperature == pytest.approx(expected.temperature, rel=1e-9)


@pytest.mark.parametrize(("logits", "labels", "message"), BAD_LOGITS)
def test_bad_logits_are_refused(logits: list, labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_temperature(torch.tensor(logits), torch.tensor(labels))


def test_what_cannot_be_fitted_is_named() -> None:
    with pytest.raises(ValueError, match="logits must hold at least one example, got 0"):
        fit_temperature(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="logits must have differences within a row that float64 can hold"):
        fit_temperature(torch.tensor([[1.7e308, -1.7e308]], dtype=torch.float64), torch.tensor([0]))
