import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mixscope.theory.random_features.feature_experiment import (
    FeatureExperiment,
    FeatureSetting,
    RiskCurves,
    default_times,
    random_feature_experiment,
)
from mixscope.theory.random_features.teachers import (
    SpanTeacher,
    all_pairs,
    span_teacher,
    tanh_features,
    two_layer_teacher,
)

SETTING = FeatureSetting(num_test=1000)
# Ten per decade: a turning time is read to within 12%.
COARSE = torch.cat([torch.zeros(1), torch.logspace(-1, 9, 101), torch.tensor([math.inf])]).double()


def run(setting: FeatureSetting = SETTING, *, repetitions: int = 20, **options) -> FeatureExperiment:
    generator = torch.Generator().manual_seed(0)
    options = {"times": COARSE, **options}
    return random_feature_experiment(setting, num_repetitions=repetitions, generator=generator, **options)


def median(values: Tensor) -> float:
    return float(values.median())


@pytest.fixture(scope="module")
def base() -> FeatureExperiment:
    return run(FeatureSetting(), times=default_times())


@pytest.fixture(scope="module")
def outside() -> FeatureExperiment:
    return run(draw_teacher=two_layer_teacher)


# The next numbers were found with other draws. Over 200 seeds of ours the quartiles of a seed are 0.5 and 2 times the
# median for times, 0.83 and 1.25 for risks; ten medians of 20 seeds each lay between 0.5 and 1.6, and 0.89 and 1.15,
# times the median of all. Two such medians may differ by about 2.2 and 1.3, and by 1.4 where the setting is noisier.


def near(found: float, expected: float, factor: float) -> bool:
    return expected / factor < found < expected * factor


def test_mixup_of_a_teacher_in_the_span_is_u_shaped_and_its_clean_twin_is_not(base: FeatureExperiment) -> None:
    assert int(base.mixup.is_u_shaped.sum()) >= 18  # seen 20 of 20, 99% of 200
    assert near(median(base.mixup.best_times), 282, 2.2)
    assert near(median(base.mixup.smallest), 0.177, 1.3)
    assert near(median(base.mixup.end), 0.278, 1.3)
    assert near(median(base.label_noise), 0.27, 1.1)
    # The same blends with their true labels: the teacher is found, at the last time.
    assert not base.clean.is_u_shaped.any()
    assert float((base.clean.end / base.clean.risks[:, 0]).max()) < 1e-20
    assert float(base.clean_risks.max()) < 1e-20


def test_distance_to_the_clean_solution_is_u_shaped_with_wrong_labels_and_falls_with_right_ones(
    base: FeatureExperiment,
) -> None:
    rises = base.distances[:, -1] / base.distances.min(dim=1).values
    assert bool((rises > 1.05).all())
    assert near(median(base.mixup.times[base.distances.argmin(dim=1)]), 562, 2.2)
    steps = base.clean_distances.diff(dim=1)
    assert float(steps.max()) < 1e-12 * float(base.clean_distances.max())  # never rises, to rounding


def test_plain_training_is_nearly_flat_in_the_median(base: FeatureExperiment) -> None:
    assert median(base.plain.rises) < 1.05  # seen 1.03; single seeds rise by more in a fifth of 200
    assert near(median(base.plain.smallest), 0.150, 1.3)
    assert near(median(base.plain.end), 0.152, 1.3)


def test_feature_blends_of_a_teacher_in_the_span_have_right_labels_and_end_where_plain_training_does(
    base: FeatureExperiment,
) -> None:
    torch.testing.assert_close(base.feature_blends.end, base.plain.end, rtol=1e-6, atol=0)
    assert median(base.feature_blends.smallest) == pytest.approx(median(base.plain.smallest), rel=0.02)


def test_feature_blends_of_a_teacher_in_the_span_have_no_label_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    features = tanh_features(10, 40, generator=generator)
    teacher = span_teacher(features, generator=generator)
    inputs = torch.randn(6, 10, dtype=torch.float64, generator=generator)
    pairs = all_pairs(torch.rand(36, dtype=torch.float64, generator=generator))
    true = pairs.blend(features(inputs)) @ teacher.coefficients
    torch.testing.assert_close(pairs.blend(teacher(inputs)), true, rtol=1e-13, atol=1e-13)
    assert float((pairs.blend(teacher(inputs)) - teacher(pairs.blend(inputs))).abs().max()) > 0.1


SIZES = {  # n: (time, smallest, end)
    15: (212, 0.228, 0.457),
    20: (282, 0.177, 0.278),
    30: (713, 0.152, 0.194),
    50: (1680, 0.109, 0.121),
    80: (4220, 0.091, 0.094),
}


@pytest.fixture(scope="module")
def by_size() -> dict[int, FeatureExperiment]:
    return {size: run(replace(SETTING, num_examples=size), repetitions=8 if size > 50 else 20) for size in SIZES}


@pytest.mark.parametrize("size", SIZES)
def test_number_of_examples_sets_time_and_risks(by_size: dict[int, FeatureExperiment], size: int) -> None:
    curves = by_size[size].mixup
    for found, expected, factor in zip(
        (curves.best_times, curves.smallest, curves.end), SIZES[size], (2.2, 1.4, 1.4), strict=True
    ):
        assert near(median(found), expected, factor)


def test_fewer_examples_turn_earlier_and_rise_more(by_size: dict[int, FeatureExperiment]) -> None:
    times = torch.tensor([median(experiment.mixup.best_times) for experiment in by_size.values()])
    rises = torch.tensor([median(experiment.mixup.rises) for experiment in by_size.values()])
    assert bool((times.diff() > 0).all())
    assert bool((rises.diff() < 0).all())


@pytest.mark.parametrize(
    ("change", "time", "smallest", "end"),
    [
        ({"alpha": 0.1}, 282, 0.155, 0.707),
        ({"alpha": 0.2}, 355, 0.152, 0.371),
        ({"alpha": 0.5}, 284, 0.170, 0.275),
        ({"alpha": 2.0}, 253, 0.183, 0.263),
        ({"alpha": 8.0}, 178, 0.197, 0.273),
        ({"num_features": 20}, 597, 0.108, 0.112),
        ({"num_features": 50}, 357, 0.159, 0.192),
        ({"num_features": 150}, 163, 0.185, 0.341),
    ],
)
def test_laws_and_sizes_set_time_and_risks(change: dict, time: float, smallest: float, end: float) -> None:
    curves = run(replace(SETTING, **change)).mixup
    assert near(median(curves.best_times), time, 2.2)
    assert near(median(curves.smallest), smallest, 1.3)
    assert near(median(curves.end), end, 1.4)


def test_test_risk_of_a_teacher_outside_the_span_is_u_shaped_without_any_label_noise(
    outside: FeatureExperiment,
) -> None:
    assert int(outside.clean.is_u_shaped.sum()) >= 18  # seen 20 of 20, 200 of 200
    assert int((outside.plain.rises > 1.01).sum()) >= 12  # seen 16 or 17 of 20
    assert int(outside.mixup.is_u_shaped.sum()) >= 18
    # The distance to the clean solution still tells them apart.
    steps = outside.clean_distances.diff(dim=1)
    assert float(steps.max()) < 1e-12 * float(outside.clean_distances.max())
    # theta* is not the best: the path of mixup passes below its risk.
    assert int((outside.mixup.smallest < outside.clean_risks).sum()) >= 15  # seen 18


def test_switch_to_plain_training_repairs_early_and_only_a_part_late(base: FeatureExperiment) -> None:
    switched = base.switched
    # Switched at once it is plain training from the start.
    torch.testing.assert_close(switched.risks[:, 0], base.plain.end, rtol=1e-9, atol=0)
    best = switched.smallest
    assert bool((best <= torch.minimum(base.plain.end, base.mixup.end) * (1 + 1e-9)).double().mean() >= 0.8)
    assert median(best) <= median(base.plain.end)
    for time, expected in ((0, 0.1521), (100, 0.1506), (300, 0.1527), (1e4, 0.210), (1e9, 0.255)):
        column = int((switched.times - time).abs().argmin())
        assert near(median(switched.risks[:, column]), expected, 1.3)
    inside = (switched.risks.argmin(dim=1) > 0) & (switched.risks.argmin(dim=1) < len(switched.times) - 1)
    assert int(inside.sum()) >= 9  # seen 11 of 20, 71% of 200
    # Late: better than going on with blends in most seeds (79% of 200), worse than plain training (97.5%).
    assert int((switched.end < base.mixup.end).sum()) >= 13
    assert int((switched.end > base.plain.end).sum()) >= 18


def test_settings_share_their_draws() -> None:
    one, other = (run(replace(SETTING, alpha=alpha), repetitions=2) for alpha in (0.5, 2.0))
    assert torch.equal(one.plain.risks, other.plain.risks)
    assert not torch.equal(one.mixup.risks, other.mixup.risks)


def test_experiment_is_what_its_parts_give_for_a_teacher_of_ones_own() -> None:
    def sum_teacher(features, *, generator):
        return lambda inputs: inputs.sum(dim=1)

    # A linear teacher: blended labels are the true ones.
    experiment = run(repetitions=2, draw_teacher=sum_teacher)
    assert float(experiment.label_noise.max()) < 1e-14
    torch.testing.assert_close(experiment.mixup.risks, experiment.clean.risks, rtol=1e-6, atol=1e-12)


def test_risk_curves_know_where_they_turn() -> None:
    times = torch.tensor([0.0, 1.0, math.inf], dtype=torch.float64)
    curves = RiskCurves(times, torch.tensor([[4.0, 1.0, 2.0], [4.0, 2.0, 1.0], [1.0, 2.0, 3.0], [4.0, 1.0, 1.04]]))
    assert curves.best_times.tolist() == [1.0, math.inf, 0.0, 1.0]
    assert curves.is_u_shaped.tolist() == [True, False, False, False]
    assert curves.rises.tolist() == pytest.approx([2.0, 1.0, 3.0, 1.04])


def test_features_are_tanh_of_a_normal_number_of_the_gain_and_no_longer_than_one() -> None:
    features = tanh_features(10, 2000, gain=3.0, generator=torch.Generator().manual_seed(0))
    inputs = torch.randn(50, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    arguments = torch.atanh(features(inputs[:, :1].expand(-1, 10) * 0 + 0.01) * math.sqrt(2000)) / 0.01
    # Of (1, ..., 1) times a normal matrix: standard deviation 3, from 2000 draws.
    assert float(arguments[0].std()) == pytest.approx(3.0, rel=0.08)
    assert float(features(1e6 * inputs).square().sum(dim=1).max()) == pytest.approx(1.0, abs=1e-3)
    teacher = two_layer_teacher(features, generator=torch.Generator().manual_seed(2))
    assert teacher(inputs).shape == (50,)
    assert not torch.equal(teacher.features.matrix, features.matrix)


def test_pairs_blend_as_written_out() -> None:
    values = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]], dtype=torch.float64)
    weights = torch.linspace(0, 1, 9, dtype=torch.float64)
    blended = all_pairs(weights).blend(values)
    for row in range(9):
        first, second, weight = row // 3, row % 3, float(weights[row])
        expected = weight * values[first] + (1 - weight) * values[second]
        torch.testing.assert_close(blended[row], expected, rtol=1e-15, atol=0)


def test_first_risk_is_the_mean_square_of_the_labels() -> None:
    drawn = []

    def draw_teacher(features, *, generator):
        drawn.append(SpanTeacher(features, torch.ones(features.matrix.shape[1], dtype=torch.float64)))
        return drawn[-1]

    experiment = run(replace(SETTING, num_test=20000), repetitions=1, draw_teacher=draw_teacher)
    test = torch.randn(20000, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    # Two sets of 20,000: the mean square is off by 1% each.
    assert float(experiment.mixup.risks[0, 0]) == pytest.approx(float(drawn[0](test).square().mean()), rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_examples": 1}, "num_examples must be at least 2, got 1"),
        ({"num_features": 0}, "num_features must be at least 1, got 0"),
        ({"alpha": 0.0}, "alpha must be positive and finite, got 0.0"),
    ],
)
def test_settings_say_what_is_wrong(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        FeatureSetting(**options)


def test_experiment_and_pairs_say_what_is_wrong() -> None:
    generator = torch.Generator()
    with pytest.raises(ValueError, match=r"^num_repetitions must be at least 1, got 0$"):
        random_feature_experiment(num_repetitions=0, generator=generator)
    with pytest.raises(ValueError, match=r"^times must be rising numbers of at least 0, got \["):
        random_feature_experiment(times=torch.tensor([1.0, 1.0]), generator=generator)
    with pytest.raises(ValueError, match=r"^times must be rising numbers of at least 0, got \["):
        random_feature_experiment(times=torch.tensor([-1.0, 1.0]), generator=generator)
    with pytest.raises(ValueError, match=r"^weights must be one for each of N\^2 pairs, got 3$"):
        all_pairs(torch.ones(3))
    with pytest.raises(ValueError, match=r"^weights must lie in \[0, 1\], got values from 2.0 to 2.0$"):
        all_pairs(torch.full((4,), 2.0))
    with pytest.raises(ValueError, match=r"^gain must be positive and finite, got 0.0$"):
        tanh_features(2, 3, gain=0.0, generator=generator)
    with pytest.raises(ValueError, match=r"^input_dim must be at least 1, got 0$"):
        tanh_features(0, 3, generator=generator)
