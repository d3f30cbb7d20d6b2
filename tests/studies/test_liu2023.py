"""The study of Liu et al. 2023: its smoke run end to end, its evidence, its simulations and figures."""

import math

import pytest
import torch
from sample_studies import assert_every_claim_has_its_runs, outcome, results_of, smoke_results

from mixscope.base.errors import UserError
from mixscope.records.claims import Claim
from mixscope.report.page import Page
from mixscope.report.rendering import render_page
from mixscope.studies.engine.evidence_sources import quotient, value
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.study_definition import check_study, judge_study
from mixscope.studies.liu2023.evidence import (
    best_error,
    between,
    decay,
    floor_distance,
    last_error,
    loss_rise,
    sharpness_rise,
    size_step,
    weakest_of,
)
from mixscope.studies.liu2023.flow_checks import bound_and_modes, closed_form
from mixscope.studies.liu2023.label_checks import blended_labels, drawn_labels, iris_intrusion, known_teachers
from mixscope.studies.liu2023.risk_simulations import SIZES, random_features, sizes
from mixscope.studies.liu2023.settings import AUTO, ERM, MIXUP, NETWORK_SETTINGS, switched
from mixscope.studies.liu2023.simulation_figures import _stacked
from mixscope.studies.liu2023.study import STUDY


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return smoke_results(STUDY, tmp_path_factory.mktemp("records"))


def curve(errors, *, key="test/error", every=10):
    """Return a run with these heights after 0, 10, 20, ... epochs."""
    table = {"epoch": [every * place for place in range(len(errors))], key: errors}
    return outcome({key: errors[-1]}, tables={"curve": table})


def test_every_exact_claim_holds_at_smoke_and_no_statistical_one_is_judged(smoke):
    for judgement in judge_study(STUDY, smoke, scale="smoke"):
        if judgement.claim.is_exact:
            assert judgement.verdict == "held", (judgement.claim.key, judgement.worst, judgement.reason)
        else:
            assert judgement.verdict == "undecided"
            assert "smoke" in judgement.reason


def test_the_sections_of_a_smoke_run_become_a_page(smoke):
    sections = STUDY.sections(smoke)
    assert {"curves", "turns", "geometry", "random-features-paths", "modes", "intrusion"} <= {c.name for c in sections}
    assert "digits-200" in render_page(Page("t", sections))


def test_without_any_run_there_is_no_section_and_no_verdict():
    results = Results(STUDY.trials("small", None), {})
    assert STUDY.sections(results) == []
    assert {judgement.verdict for judgement in judge_study(STUDY, results, scale="small")} == {"undecided"}


def test_every_claim_has_its_runs_at_the_small_scale():
    assert_every_claim_has_its_runs(STUDY, "small")


@pytest.mark.parametrize("scale", ["small", "medium", "paper"])
def test_trials_have_their_own_names_and_enough_seeds(scale):
    trials = check_study(STUDY, STUDY.trials(scale, None))
    seeds: dict[tuple[str, str], set[int]] = {}
    for trial in trials:
        seeds.setdefault((trial.setting, trial.method), set()).add(trial.seed)
    assert min(map(len, seeds.values())) >= 3
    assert len(seeds["random-features", "sizes"]) == 20
    assert len(seeds["random-features", "random_features"]) == 100
    if scale == "small":
        assert all(len(found) >= 5 for (setting, _), found in seeds.items() if setting.startswith("digits"))
    assert {setting for setting, method in seeds if method == ERM} <= set(NETWORK_SETTINGS)


def test_the_number_of_seeds_can_be_given():
    assert {trial.seed for trial in STUDY.trials("small", 2)} == {0, 1}


def test_the_seed_draws_the_images_and_augmentation_follows_the_setting():
    for trial in STUDY.trials("small", None):
        if isinstance(trial.work, NetworkTraining):
            options = trial.work.options
            assert options.data.split_seed == options.seed == trial.seed
            assert options.augmentation.flip == trial.setting.endswith("augmented")
            assert (options.mixing.mixing == "none") == trial.method.startswith(ERM)
            assert options.training.mixing_off in (None, "auto") or trial.method.startswith("mixup-off")


def test_decay_is_of_the_smoothed_curve_after_the_start():
    # Without epoch 0: .1 .3 .2 .4, over three looks .2 .2 .3 .3 (the last over its two).
    assert decay(curve([0.9, 0.1, 0.3, 0.2, 0.4])) == pytest.approx(10)
    # Up to epoch 30: .2 .2 .25
    assert decay(curve([0.9, 0.1, 0.3, 0.2, 0.4]), until=30) == pytest.approx(5)
    assert decay(curve([0.9, 0.4, 0.3, 0.2])) == 0
    assert math.isnan(decay(curve([0.9])))


def test_best_is_the_lowest_look_and_last_the_end():
    run = curve([0.05, 0.1, 0.3, 0.2])
    assert best_error(run) == pytest.approx(10)  # the start does not count
    assert last_error(run) == pytest.approx(20)


def test_loss_rise_is_a_ratio():
    assert loss_rise(curve([9.0, 1.0, 1.0, 1.0, 1.5, 1.5, 1.5], key="test/loss")) == pytest.approx(1.5)


def test_floor_distance_leaves_out_what_was_not_trained():
    columns = {"epoch": [0, 1, 2], "train/loss": [None, 0.7, 0.5], "train/loss_floor": [None, 0.4, 0.45]}
    assert floor_distance(outcome(tables={"curve": columns})) == pytest.approx(0.05)


def test_sharpness_is_compared_with_the_measured_epoch_nearest_to_the_best():
    run = curve([0.9, 0.5, 0.1, 0.1, 0.1, 0.5, 0.5])  # smoothed: lowest at 30
    tables = dict(run.tables) | {"measured": {"epoch": [10, 35, 60], "train/sharpness": [9.0, 2.0, 3.0]}}
    assert sharpness_rise(outcome(run.values, tables=tables)) == pytest.approx(1.5)


def test_the_weakest_step_is_the_one_that_is_judged():
    heights = [1.0, math.e, math.e**3]
    found = outcome(tables={"settings": {"rise": heights}})
    results = results_of({("random-features", "sizes", seed): found for seed in range(2)})
    steps = [size_step("rise", place, sign=1) for place in range(2)]
    sample = weakest_of(steps)(results, "random-features")
    assert list(sample.values.values()) == pytest.approx([1, 1])
    falls = [size_step("rise", place, sign=-1) for place in range(2)]
    assert list(weakest_of(falls)(results, "random-features").values.values()) == pytest.approx([-2, -2])


def test_the_weakest_step_is_the_one_whose_interval_reaches_lowest():
    # "even" rises by 1 in both runs; "wide" by 0 and 4: a larger mean, and an interval that reaches far below 0.
    runs = {("random-features", "sizes", seed): outcome({"even": 1.0, "wide": 4.0 * seed}) for seed in range(2)}
    results = results_of(runs)
    numbers = [value("sizes", key) for key in ("even", "wide")]
    for ordered in (numbers, numbers[::-1]):
        sample = weakest_of(ordered)(results, "random-features")
        assert list(sample.values.values()) == [0, 4]
    del runs["random-features", "sizes", 0]
    single = results_of(runs)  # without an interval: 1 is below 4
    assert list(weakest_of(numbers)(single, "random-features").values.values()) == [1]


def test_a_step_that_is_no_number_is_the_weakest():
    table = {"rise": [1.0, 2.0, 3.0], "best_time": [1.0, 2.0, None]}
    results = results_of({("random-features", "sizes", 0): outcome(tables={"settings": table})})
    steps = [size_step(key, 1, sign=1) for key in ("rise", "best_time")]
    for ordered in (steps, steps[::-1]):
        assert math.isnan(weakest_of(ordered)(results, "random-features").values["seed 0"])


def test_a_quotient_is_by_the_smallest_and_of_no_number_where_one_is_none():
    run = outcome({"a": 6.0, "b": 3.0, "c": 2.0, "zero": 0.0})
    assert quotient("a", "b", "c")(run) == 3
    for others in (("b", "unknown"), ("unknown", "b"), ("zero",)):
        assert math.isnan(quotient("a", *others)(run))


def test_settings_are_compared_seed_by_seed():
    starts = {"a": 10, "b": 0}
    results = results_of({(at, MIXUP, seed): outcome({"x": starts[at] + seed}) for at in starts for seed in range(2)})
    evidence = between(MIXUP, "a", "b", lambda run: float(run.values["x"]))
    assert list(evidence(results, "a").values.values()) == [10, 10]


def test_closed_forms_agree_with_solvers():
    values = closed_form(3).values
    assert values["ode_error"] < 1e-10  # seen 1e-13
    assert max(values[name] for name in ("descent_error", "lemma_error", "switch_error")) < 1e-11


def test_modes_and_bound_of_a_draw():
    measured = bound_and_modes(3)
    assert measured.values["modes/wrong"] == 0
    assert measured.values["bound/looseness"] > 1e3
    assert len(measured.tables["modes"]["curvature"]) == 100
    assert len({len(column) for column in measured.tables["bound"].values()}) == 1


def test_a_simulation_is_a_function_of_its_seed():
    first, again, other = random_features(1), random_features(1), random_features(2)
    assert first.values == again.values
    assert first.values != other.values


def test_sizes_come_first_in_their_table():
    table = sizes(0).tables["settings"]
    assert table["num_examples"][: len(SIZES)] == list(SIZES)
    assert set(table["alpha"][: len(SIZES)]) == {1.0}
    assert set(table["num_examples"][len(SIZES) :]) == {20}


def test_labels_of_blends():
    assert blended_labels(5).values["mean_entropy"] == pytest.approx(0.45, abs=0.003)  # five standard errors
    assert drawn_labels(5).values["violations"] == 0
    assert known_teachers(5).values["smallest"] > 0
    rates = torch.tensor([float(rate) for rate in iris_intrusion(5).tables["rates"]["rate"]])
    assert rates[0] > rates[-1]  # an earlier study: .224 and .042
    assert float(rates[0]) == pytest.approx(0.224, abs=0.03)


def test_claims_say_where_they_are_from():
    for check in STUDY.checks:
        assert isinstance(check.claim, Claim)
        assert check.claim.key.startswith("liu2023.")
        is_read = check.claim.source.startswith(
            ("Liu et al. 2023, abstract", "Liu et al. 2023, as a summary by others")
        )
        match check.claim.group:
            case "paper":
                assert is_read, check.claim.key
                assert "recalled" not in check.claim.source, check.claim.key
            case "recalled":
                assert check.claim.source.startswith("recalled"), check.claim.key
                assert "not checked" in check.claim.source, check.claim.key
            case "derived":
                assert not is_read, check.claim.key


def test_methods_are_named_after_their_switch():
    assert switched(200) == "mixup-off-200"
    assert AUTO in {trial.method for trial in STUDY.trials("smoke", None)}


def test_tables_of_runs_that_differ_in_length_are_told():
    class Table(dict):
        place = "a.json must hold tables.paths"

    with pytest.raises(UserError, match=r"a.json must hold tables.paths.mixup in the length of other runs, 2, got 1"):
        _stacked([Table(mixup=[1.0, 2.0]), Table(mixup=[1.0])], "mixup")
