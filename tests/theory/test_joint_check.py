"""A generic minimiser on the joint problem: simplex frames where there is room, none where there is not."""

import math

import pytest
import torch

from mixscope.base.simplex import simplex_etf
from mixscope.theory.channel.joint_scale import classifier_scale, etf_threshold
from mixscope.theory.channel.joint_search import all_blends, gram_deviation, joint_objective, joint_optimum_check
from mixscope.theory.channel.mixed_features import mixup_features
from mixscope.theory.weight_law import FiniteLaw

LOPSIDED = FiniteLaw((0.1, 0.35, 0.5, 0.8), (0.1, 0.3, 0.4, 0.2))
UNMIXED = FiniteLaw((1.0,), (1.0,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("num_classes", "dim"), [(2, 1), (3, 2), (3, 5), (4, 6), (4, 4), (5, 8), (6, 10)])
@pytest.mark.parametrize("law", [LOPSIDED, UNMIXED])
def test_every_start_ends_at_a_simplex_where_there_is_room(num_classes: int, dim: int, law: FiniteLaw) -> None:
    solution = joint_optimum_check(
        num_classes, dim, classifier_penalty=0.005, feature_penalty=0.02, law=law, generator=generator(dim)
    )
    assert solution.is_converged
    value = solution.value
    assert value.is_simplex
    assert max(value.gram_deviations) < 1e-5  # seen 1e-7: the objective is flat to rounding within that
    assert abs(value.objective_gap) < 1e-12
    assert value.balance_gap < 1e-5
    expected = classifier_scale(num_classes, classifier_penalty=0.005, feature_penalty=0.02, law=law).value.scale
    assert value.scale == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("num_classes", "dim", "deviation"), [(4, 2, 0.606), (4, 1, 0.919), (5, 3, 0.518)])
def test_fewer_dimensions_than_a_simplex_needs_give_none(num_classes: int, dim: int, deviation: float) -> None:
    value = joint_optimum_check(
        num_classes, dim, classifier_penalty=0.005, feature_penalty=0.005, law=LOPSIDED, generator=generator()
    ).value
    assert not value.is_simplex
    assert value.gram_deviation == pytest.approx(deviation, abs=1e-3)
    assert value.objective_gap > 0.1  # the simplex solution is a lower bound


def test_the_classifier_collapses_above_the_threshold() -> None:
    threshold = etf_threshold(4, LOPSIDED)
    above = joint_optimum_check(
        4, 4, classifier_penalty=1.05 * threshold, feature_penalty=1.0, law=LOPSIDED, generator=generator()
    ).value
    assert above.scale < 1e-6
    assert math.isnan(above.gram_deviation)
    assert above.balance_gap == 0
    assert not above.is_simplex
    assert abs(above.objective_gap) < 1e-12
    below = joint_optimum_check(
        4, 4, classifier_penalty=0.95 * threshold, feature_penalty=1.0, law=LOPSIDED, generator=generator()
    ).value
    assert below.scale > 0.1
    assert below.is_simplex


def test_the_closed_form_is_a_stationary_point_in_any_rotation() -> None:
    num_classes, classifier_penalty, feature_penalty = 4, 0.01, 0.03
    optimum = classifier_scale(
        num_classes, classifier_penalty=classifier_penalty, feature_penalty=feature_penalty, law=LOPSIDED
    ).value
    frame = simplex_etf(num_classes, 6, scale=optimum.scale, generator=generator(5))
    labels, masses = all_blends(num_classes, LOPSIDED)
    rows = []
    for weight in LOPSIDED.weights:
        mixed = mixup_features(num_classes, weight, feature_penalty=feature_penalty, scale=optimum.scale).value
        for first in range(num_classes):
            for second in range(num_classes):
                own = mixed.per_nat * mixed.same_class * frame[first]
                rows.append(own if first == second else mixed.features(frame[first], frame[second]))
    features = torch.stack(rows) * masses.sqrt()[:, None]
    value, gradient = joint_objective(
        torch.cat([frame, features]),
        labels=labels,
        masses=masses,
        classifier_penalty=classifier_penalty,
        feature_penalty=feature_penalty,
    )
    assert value == pytest.approx(optimum.objective, rel=1e-14)
    assert float(gradient.abs().max()) < 1e-14


def test_the_gradient_is_the_one_of_autograd() -> None:
    labels, masses = all_blends(3, LOPSIDED)
    assert float(masses.sum()) == pytest.approx(1.0, rel=1e-15)
    point = torch.randn(3 + len(masses), 2, dtype=torch.float64, generator=generator(), requires_grad=True)
    classifier, features = point[:3], point[3:] / masses.sqrt()[:, None]
    losses = torch.nn.functional.cross_entropy(features @ classifier.T, labels, reduction="none")
    loss = masses @ (losses + 0.35 * features.square().sum(1)) + 0.1 * classifier.square().sum()
    loss.backward()
    value, gradient = joint_objective(
        point.detach(), labels=labels, masses=masses, classifier_penalty=0.2, feature_penalty=0.7
    )
    assert value == pytest.approx(float(loss.detach()), rel=1e-14)
    torch.testing.assert_close(gradient, point.grad, rtol=1e-12, atol=1e-14)


def test_the_deviation_does_not_notice_rotation_or_size() -> None:
    frame = simplex_etf(5, 7, generator=generator())
    assert gram_deviation(frame) < 1e-14
    assert gram_deviation(123 * frame) < 1e-14
    assert gram_deviation(torch.eye(2, 3, dtype=torch.float64)) == pytest.approx(math.sqrt(2 - math.sqrt(2)), rel=1e-12)


def test_the_same_generator_gives_the_same_answer() -> None:
    settings = {"classifier_penalty": 0.1, "feature_penalty": 0.1, "law": UNMIXED, "num_starts": 1}
    one = joint_optimum_check(3, 2, **settings, generator=generator(4))
    assert joint_optimum_check(3, 2, **settings, generator=generator(4)) == one


def test_bad_input_is_named() -> None:
    settings = {"classifier_penalty": 0.1, "feature_penalty": 0.1, "law": UNMIXED, "generator": generator()}
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        joint_optimum_check(1, 2, **settings)
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        joint_optimum_check(3, 0, **settings)
    with pytest.raises(ValueError, match="num_starts must be at least 1, got 0"):
        joint_optimum_check(3, 2, **settings, num_starts=0)
    with pytest.raises(ValueError, match="feature_penalty must be positive and finite, got -1"):
        joint_optimum_check(3, 2, **{**settings, "feature_penalty": -1})
