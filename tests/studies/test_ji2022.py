"""The study of Ji et al. 2022: its smoke run end to end, its evidence, and its numbers by hand."""

import math

import pytest
from sample_studies import assert_every_claim_has_its_runs, outcome, results_of, smoke_results

from mixscope.base.errors import UserError
from mixscope.records.claims import Sample
from mixscope.report.page import Page
from mixscope.report.rendering import render_page
from mixscope.studies.engine.evidence_sources import computed
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.study_definition import judge_study
from mixscope.studies.engine.trial import DIGITS
from mixscope.studies.ji2022.evidence import decay_rate, end_ratio, fall, flattening, log_ratio
from mixscope.studies.ji2022.exhibits import _paths
from mixscope.studies.ji2022.landscape_checks import conservation, planar_angles, square, stationary_points
from mixscope.studies.ji2022.path_simulations import generic_flow, mean_classifier, planar_flow
from mixscope.studies.ji2022.runs import SMOKE, trials
from mixscope.studies.ji2022.study import STUDY

ROUNDING_DECIDES = {"ji2022.19a"}  # it adds up to more than the claim allows, or not, as the processor sums


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return smoke_results(STUDY, tmp_path_factory.mktemp("records"))


def test_the_smoke_run_judges_every_exact_claim_and_no_statistical_one(smoke: Results) -> None:
    for judgement in judge_study(STUDY, smoke, scale="smoke"):
        key = judgement.claim.key
        if key in ROUNDING_DECIDES:
            assert judgement.verdict != "undecided", key
        elif judgement.claim.is_exact:
            assert judgement.verdict == "held", (key, judgement.setting, judgement.worst, judgement.reason)
        else:
            assert judgement.verdict == "undecided", key
            assert "smoke scale" in judgement.reason


def test_the_smoke_runs_evidence_is_finite_where_its_flow_is_long_enough(smoke: Results) -> None:
    # The smoke flow ends at log t = 200, before the window of the late slopes.
    late = {f"ji2022.9{letter}" for letter in "fghij"}
    for judgement in judge_study(STUDY, smoke, scale="smoke"):
        if judgement.claim.key not in late:
            assert judgement.num > 0, (judgement.claim.key, judgement.setting, judgement.reason)


def test_every_section_of_the_smoke_run_renders(smoke: Results) -> None:
    sections = STUDY.sections(smoke)
    assert len(sections) == 6  # four on the flow, one network, the mean classifier
    page = render_page(Page(STUDY.title, sections))
    assert all(f'id="{section.name}"' in page for section in sections)


@pytest.mark.parametrize("scale", ["small", "medium"])
def test_every_claim_has_the_runs_it_is_judged_by(scale: str) -> None:
    assert_every_claim_has_its_runs(STUDY, scale)


def test_the_number_of_seeds_is_that_of_every_network_and_start() -> None:
    runs = trials("small", 7)
    assert {trial.seed for trial in runs if trial.setting == "digits-1000"} == set(range(7))
    assert {trial.seed for trial in runs if trial.method == "generic"} == set(range(7))


def test_the_small_scale_has_the_seeds_it_promises() -> None:
    runs = trials("small", None)
    assert len({trial.seed for trial in runs if trial.setting == "digits-1000"}) >= 5
    assert len({trial.seed for trial in runs if trial.setting == "fashion-mnist-1000"}) >= 3


def test_evidence_reads_ratios_and_slopes_from_the_first_separated_epoch() -> None:
    epochs = [0.0, *(2.0**step for step in range(1, 8))]
    table: dict[str, list[float | None]] = {
        "epoch": [*epochs],
        "train/accuracy_clean": [0.1, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        "power": [9.0, *(epoch**-0.5 for epoch in epochs[1:])],
        "logarithm": [9.0, *(1 / math.log(2 * epoch) for epoch in epochs[1:])],
    }
    run = outcome(tables={"measured": table})
    # Epoch 4 is the first with every image right: (4 / 128)^(1/2).
    assert fall("power")(run) == pytest.approx(math.sqrt(4 / 128))
    assert flattening("power")(run) == pytest.approx(0.0, abs=1e-12)
    assert flattening("logarithm")(run) > 0.05


def test_a_network_that_never_separates_its_images_has_no_ratio() -> None:
    table = {"epoch": [0.0, 1.0], "train/accuracy_clean": [0.1, 0.5], "metric": [2.0, 1.0]}
    run = outcome(tables={"measured": table})
    assert math.isnan(fall("metric")(run))
    assert math.isnan(flattening("metric")(run))


def test_the_rate_of_the_mean_classifier_is_1_on_the_law() -> None:
    # 200 images in batches of 50 for 60 epochs: 240 steps of 0.05 x 5e-4 / (1 - 0.9).
    moved = -math.expm1(-240 * 0.05 * 5e-4 / 0.1)
    results = results_of({(SMOKE.name, "decay", 0): outcome({"nc/classifier_mean_drift": moved})})
    assert decay_rate(results, SMOKE.name).values["seed 0"] == pytest.approx(1.0)


def test_parts_of_a_check_are_named_and_a_check_not_run_is_missing() -> None:
    values = {"value/K=2": 1.0, "value/K=3": 2.0, "gram/K=2": 3.0}
    results = results_of({("theory", "separation", 0): outcome(values)})
    assert computed("separation", "value")(results, "theory").values == {"K=2": 1.0, "K=3": 2.0}
    empty = Results(results.trials, {})
    assert computed("separation", "value")(empty, "theory").missing == ("theory-separation-seed0",)


def test_a_ratio_at_the_end_of_a_path_is_paired_and_none_of_0() -> None:
    def judged(values: dict[str, float | None]) -> Sample:
        return end_ratio("m")(results_of({("flow", "decay", 0): outcome(values)}), "flow")

    sample = judged({"end/m": 1.0, "plain/m": 4.0})
    assert sample.values == {"seed 0": 0.25}
    assert sample.is_paired
    assert sample.is_ratio
    for values in ({"end/m": 1.0, "plain/m": 0.0}, {"end/m": None, "plain/m": 1.0}, {"end/m": 1.0}):
        assert math.isnan(judged({**values}).values["seed 0"])


def test_a_logarithm_of_ratios_is_a_paired_difference() -> None:
    starts = {"symmetric": 0.001, "generic": 0.1}
    both = results_of({("flow", method, 0): outcome({"m": value}) for method, value in starts.items()})
    sample = log_ratio("symmetric", "generic", "m")(both, "flow")
    assert sample.values["seed 0"] == pytest.approx(-2.0)
    assert sample.is_paired
    assert not sample.is_ratio


def test_the_flow_does_not_change_what_it_conserves_at_any_point() -> None:
    values = conservation([[3, 4, 2]], 5).values
    assert max(values.values()) < 1e-13  # float64: seen 4e-16


def test_the_square_is_stationary_and_its_curvature_minus_2() -> None:
    values = square([3]).values
    assert values["residual/n=3"] < 1e-12
    assert values["curvature/n=3"] == pytest.approx(-2.0)


def test_the_least_eigenvalue_is_half_the_form_along_the_way_out() -> None:
    values = stationary_points([[4, 4, 1]], [2.0], 2).values
    name = "K=4, D=4, n=1, rho^2 g = 2"
    assert values[f"eigenvalue/{name}"] < -0.1
    assert values[f"excess/{name}"] == pytest.approx(0.0, abs=1e-9)


def test_no_arrangement_in_a_plane_is_better_than_a_square_by_much() -> None:
    assert 0.25 < planar_angles().values["angle"] < 0.4444  # the square has 4/9


def test_a_flow_in_a_plane_stays_at_three_quarters_of_the_best_margin() -> None:
    assert planar_flow(seed=0, push=0.0, log_time=60.0).values["end/margin_ratio"] < 0.7501


def test_a_flow_too_short_for_a_window_has_no_slope_there() -> None:
    values = generic_flow(seed=0, scale=1.0, log_time=60.0).values
    assert "at/50/margin_ratio" in values
    assert not [key for key in values if key.startswith(("slope/", "late/"))]


def test_only_weight_decay_moves_the_mean_classifier_and_along_itself() -> None:
    still, moved = (
        mean_classifier(0, 100, 20, batch_size=50, learning_rate=0.05, momentum=0.0, weight_decay=decay).values
        for decay in (0.0, 0.01)
    )
    assert still["drift"] < 1e-12  # float64: seen 1e-15
    assert moved["rate_ratio"] == pytest.approx(-math.log(1 - 0.0005) / 0.0005, rel=1e-9)
    assert moved["turn"] < 1e-12


def test_no_exact_claim_asks_for_more_digits_than_a_record_keeps() -> None:
    for claim in (check.claim for check in STUDY.checks):
        if claim.is_exact and claim.low is not None and claim.high is not None and claim.low != claim.high:
            largest = max(abs(claim.low), abs(claim.high))
            assert claim.high - claim.low > largest * 10.0 ** (1 - DIGITS), claim.key


def test_paths_of_runs_that_differ_in_length_are_told():
    path = {"log_times": [1.0, 2.0], "nc1_trace": [0.5, 0.25]}
    short = {name: column[:1] for name, column in path.items()}
    runs = {("flow", "generic", seed): outcome(tables={"path": own}) for seed, own in enumerate((path, short))}
    with pytest.raises(UserError, match=r"must hold tables.path.nc1_trace in the length of other runs, 2, got 1"):
        _paths(results_of(runs), "flow", {"generic": "a start"}, "nc1_trace")
