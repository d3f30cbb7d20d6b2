"""The findings' rules, on both sides of every threshold."""

import math

import pytest
from finding_helpers import final, only, run_with_errors
from synthetic_runs import SHAPES, synthetic_run, synthetic_runs

from mixscope.records.store import Run
from mixscope.report import headline
from mixscope.report.runs.confidence_findings import accuracy_error
from mixscope.report.runs.findings import findings
from mixscope.report.runs.groups import group_runs
from mixscope.report.runs.words import number_words


@pytest.mark.parametrize(
    ("curves", "verdict"),
    [
        ([[9.0, 6.0, 6.5], [9.0, 6.0, 6.5]], "over-trained"),  # a mean rise of exactly 0.5 points
        ([[9.0, 6.0, 6.49], [9.0, 6.0, 6.49]], "not over-trained"),
        ([[9.0, 6.0, 7.0], [9.0, 6.0, 6.01]], "over-trained"),  # every seed rises, the mean by 0.505
        ([[9.0, 6.0, 7.2], [9.0, 6.0, 6.0]], "undecided"),  # the mean rises by 0.6, one seed not at all
        ([[9.0, 6.0, 6.6], [9.0, 6.0, 6.0]], "undecided"),  # the mean rises by 0.3, one seed by 0.6
        ([[9.0, 7.0, 6.0], [9.0, 7.0, 6.0]], "not over-trained"),
        ([[9.0, 5.0, 9.0]], "undecided"),  # one seed
    ],
)
def test_overtraining_needs_half_a_point_on_average_and_a_rise_in_every_seed(curves: list[list[float]], verdict: str):
    runs = [run_with_errors(curve, seed=seed) for seed, curve in enumerate(curves)]
    assert only(runs, "over-training").verdict == verdict


def test_overtraining_says_its_numbers():
    runs = [run_with_errors([9.0, 6.0, 7.0], seed=0), run_with_errors([9.0, 6.2, 7.6], seed=1)]
    assert only(runs, "over-training").text == (
        "mixup is over-trained: its test error is lowest at epoch 2, 6.10%, and ends at 7.30% (epoch 3), 1.20 points "
        "higher; over 2 seeds the change is +1.00 to +1.40 points."
    )


def test_overtraining_of_one_seed_says_so():
    text = only([run_with_errors([9.0, 5.0, 9.0])], "over-training").text
    assert text.startswith("One seed cannot say whether mixup is over-trained")
    assert "4.00 points higher" in text


def test_a_rise_is_judged_at_the_best_epoch_of_the_mean_not_of_each_seed():
    # Seed 1 is best at epoch 3, but the mean is best at epoch 2; from there seed 1 falls.
    runs = [run_with_errors([9.0, 4.0, 8.0], seed=0), run_with_errors([9.0, 6.0, 5.0], seed=1)]
    found = only(runs, "over-training")
    assert found.verdict == "undecided"
    assert "−1.00 to +4.00 points" in found.text


def test_one_measured_epoch_says_nothing_about_overtraining():
    runs = [synthetic_run(epochs=[10])]
    assert not [finding for finding in findings(runs) if finding.topic == "over-training"]


@pytest.mark.parametrize(
    ("gap", "verdict"),
    [
        (0.021, "over-confident"),
        (0.02, "neither"),
        (0.0, "neither"),
        (-0.02, "neither"),
        (-0.021, "under-confident"),
    ],
)
def test_confidence_is_judged_beyond_two_hundredths(gap: float, verdict: str):
    runs = final(**{"test/signed_gap": gap})
    for run in runs:
        run.record["data"]["num_test"] = 10_000
    assert only(runs, "calibration").verdict == verdict


@pytest.mark.parametrize(
    ("num_test", "gap", "verdict"),
    [
        # Half of the answers right: two standard errors are 1 / sqrt(num_test + 4).
        (96, 0.101, "over-confident"),
        (96, 0.099, "undecided"),
        (96, -0.099, "undecided"),
        (96, -0.101, "under-confident"),
        (96, 0.0, "undecided"),
        (6, 0.3, "undecided"),
        (6, 0.33, "over-confident"),
        (2496, 0.02, "neither"),  # two standard errors of exactly 0.02
        (2496, 0.0201, "over-confident"),
    ],
)
def test_confidence_needs_a_gap_beyond_two_standard_errors_of_the_accuracy(num_test: int, gap: float, verdict: str):
    runs = final(**{"test/signed_gap": gap, "test/error": 0.5})
    for run in runs:
        run.record["data"]["num_test"] = num_test
    assert only(runs, "calibration").verdict == verdict


def test_too_few_test_images_are_named_even_where_all_were_right():
    runs = final(seeds=1, **{"test/signed_gap": -0.2, "test/error": 0.0})
    runs[0].record["data"]["num_test"] = 6
    (method,) = group_runs(runs)
    # (6 * 0 + 2) / (6 + 4) = 0.2 wrong: 2 sqrt(0.2 * 0.8 / 10).
    assert accuracy_error(method) == pytest.approx(2 * math.sqrt(0.016))
    text = only(runs, "calibration").text
    assert text.startswith("Whether mixup is over- or under-confident cannot be told from 6 test images: ")


def test_without_the_number_of_test_images_confidence_is_judged_by_the_gap_alone():
    runs = final(**{"test/signed_gap": 0.021})
    for run in runs:
        del run.record["data"]["num_test"]
    assert only(runs, "calibration").verdict == "over-confident"


def test_confidence_is_undecided_where_seeds_disagree_in_sign():
    runs = [synthetic_run(seed=seed, epochs=[1], **{"test/signed_gap": gap}) for seed, gap in enumerate([0.1, -0.01])]
    assert only(runs, "calibration").verdict == "undecided"


@pytest.mark.parametrize(
    ("amplification", "order", "verdict"),
    [
        (1.21, (1.0, 2.0, 3.0), "forms channels"),
        (1.20, (1.0, 2.0, 3.0), "no channels"),
        (1.90, (1.0, 1.0, 3.0), "no channels"),
        (1.90, (1.0, 3.0, 2.0), "no channels"),
        (1.90, (3.0, 2.0, 1.0), "no channels"),
    ],
)
def test_channels_need_amplification_and_order(amplification: float, order: tuple[float, ...], verdict: str):
    names = ("order_low", "order_middle", "order_high")
    changes = {f"channels/{name}": value for name, value in zip(names, order, strict=True)}
    assert only(final(**changes, **{"channels/amplification_means": amplification}), "channels").verdict == verdict


def test_channels_are_undecided_where_seeds_disagree():
    runs = [
        synthetic_run(seed=s, epochs=[400], **{"channels/amplification_means": a}) for s, a in enumerate([1.9, 1.2])
    ]
    assert only(runs, "channels").verdict == "undecided"


def test_channels_with_a_missing_number_say_nothing():
    assert not [f for f in findings(final(**{"channels/order_high": None})) if f.topic == "channels"]


def test_the_squared_loss_is_spoken_of_as_such():
    runs = final(**{"channels/amplification_means": 0.97, "test/signed_gap": -0.3})
    for run in runs:
        run.record["description"]["training"]["loss"] = "squared-error"
    texts = " ".join(finding.text for finding in findings(runs))
    assert "theory expects the straight line: amplification 1" in texts
    assert "not made to be probabilities" in texts
    assert "cross-entropy" not in texts


def layered(method: str, seed: int, defect: float, angle: float) -> Run:
    changes = {
        "relative_defect": defect,
        "angle_degrees": angle,
        "nonlinearity": 0.2 + defect,
        "floor": 0.1 + defect / 2,
    }
    run = synthetic_run(method, seed=seed, epochs=[1], has_pictures=False)
    for row in run.metrics:
        for key in [key for key in row if key.startswith("linearity/")]:
            del row[key]
        row |= {f"linearity/block/{name}": value for name, value in changes.items()}
    return run


@pytest.mark.parametrize(
    ("defect", "angle", "verdict"),
    [
        (0.30, 9.0, "bends"),
        (0.10, 3.0, "straightens"),
        (0.30, 5.0, "no clear change"),  # the defect alone
        (0.20, 9.0, "no clear change"),  # the angle alone
        (0.205, 5.4, "no clear change"),  # both within the least difference
    ],
)
def test_a_layer_bends_only_where_defect_and_angle_agree(defect: float, angle: float, verdict: str):
    runs = [layered("erm", seed, 0.2, 5.0) for seed in range(2)]
    runs += [layered("mixup", seed, defect, angle) for seed in range(2)]
    found = only(runs, "layers")
    assert found.verdict == verdict
    assert "relative defect" in found.text
    assert "angle" in found.text


def test_layers_say_how_much_of_the_nonlinearity_is_floor():
    runs = [layered("erm", 0, 0.2, 5.0), layered("mixup", 0, 0.4, 9.0)]
    # The nonlinearity differs by 0.2, the floor by 0.1.
    assert "the floor explains 50% of that difference" in only(runs, "layers").text


def test_overlapping_seeds_do_not_bend_a_layer():
    runs = [layered("erm", 0, 0.2, 5.0), layered("erm", 1, 0.5, 9.0)]
    runs += [layered("mixup", 0, 0.4, 8.0), layered("mixup", 1, 0.6, 12.0)]
    assert only(runs, "layers").verdict == "no clear change"


def test_without_a_plain_method_layers_are_not_compared():
    runs = [layered("mixup", 0, 0.2, 5.0), layered("cutmix", 0, 0.4, 9.0)]
    assert not [finding for finding in findings(runs) if finding.topic == "layers"]


def test_nan_is_the_same_as_not_measured():
    runs = final(**{"test/signed_gap": math.nan, "channels/amplification_means": math.nan, "test/error": math.inf})
    assert {finding.topic for finding in findings(runs)} <= {"collapse", "layers"}


def test_unfinished_runs_do_not_enter_the_numbers():
    runs = final(seeds=2, **{"test/signed_gap": 0.1})
    runs.append(synthetic_run(seed=9, epochs=[0], status="failed", **{"test/signed_gap": -0.9}))
    runs[-1].record["description"] = runs[0].record["description"] | {"seed": 9}
    assert "over-confident by 10.0 points (95% interval" in only(runs, "calibration").text


def test_every_finding_of_the_synthetic_runs_carries_a_number():
    found = findings(synthetic_runs())
    topics = {"comparison", "over-training", "calibration", "collapse", "channels", "layers"}
    assert {finding.topic for finding in found} == topics
    assert all(any(letter.isdigit() for letter in finding.text) for finding in found)
    assert {finding.method for finding in found if finding.topic == "channels"} == set(SHAPES)


def test_no_runs_are_refused():
    with pytest.raises(ValueError, match="runs must hold at least one run, got none"):
        findings([])


def test_one_noisy_measurement_decides_nothing_about_over_training():
    # Falls, rests at 6%, rises to 8% from the middle on; a single lucky last measurement of 7% in each seed.
    errors = [50.0, *[6.0] * 40, *[8.0] * 39, 7.0]
    found = only([run_with_errors(errors, seed=seed) for seed in range(3)], "over-training")
    assert found.verdict == "over-trained"
    assert "averaged over 3 measurements, is lowest at epoch 3, 6.00%, and ends at 7.50%" in found.text


def test_two_classes_have_no_order_along_a_channel():
    runs = final(class_names=["cat", "dog"])
    assert not [finding for finding in findings(runs) if finding.topic == "channels"]


def test_the_order_along_a_channel_has_proper_minus_signs_and_no_negative_zero():
    order = {"channels/order_low": -0.03, "channels/order_middle": -0.001, "channels/order_high": 0.4}
    assert "goes −0.03, 0.00, 0.40 from" in only(final(**order), "channels").text


@pytest.mark.parametrize(
    ("value", "form", "words"),
    [
        (-0.5, ".2f", "−0.50"),
        (-0.001, ".2f", "0.00"),
        (0.0, "+.2f", "0.00"),
        (0.3, "+.1f", "+0.3"),
        (1e-7, ".1g", "1e−07"),
    ],
)
def test_numbers_have_proper_minus_signs_and_zeros_have_none(value: float, form: str, words: str):
    assert number_words(value, form) == words


def test_an_error_that_ends_where_it_is_lowest_is_not_called_higher():
    text = only([run_with_errors([50.0, 33.3333, 33.3333], seed=seed) for seed in range(2)], "over-training").text
    assert "its test error ends where it is lowest, at 33.33% (epoch 3; first reached at epoch 2)" in text
    assert "higher" not in text


def test_nothing_is_said_about_a_method_of_which_only_the_untrained_network_was_measured():
    runs = [synthetic_run("mixup", epochs=[0], status="failed"), synthetic_run("erm", epochs=[0, 5])]
    assert {finding.method for finding in findings(runs)} == {"erm"}
    assert headline(runs[:1]) == ""


def test_a_measured_checkpoint_keeps_its_findings():
    topics = {finding.topic for finding in findings([synthetic_run(kind="measure", epochs=[0])])}
    assert topics == {"calibration", "collapse", "channels", "layers", "over-training"}
