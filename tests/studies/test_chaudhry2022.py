"""The study of Chaudhry et al. 2022: its smoke run end to end, its evidence at `small`, and the checks it stands on."""

import math
from dataclasses import replace

import pytest
import torch
from sample_studies import assert_every_claim_has_its_runs, outcome, smoke_results

from mixscope.bench.observer import SILENT
from mixscope.bench.run_images import prepare_images
from mixscope.models.networks import build_model, find_head, model_sites
from mixscope.report.page import Page
from mixscope.report.rendering import render_page
from mixscope.studies.chaudhry2022.evidence import (
    ACCURACY,
    SETTINGS,
    SITES,
    is_collapsed,
    labels_needed,
    same_order,
    site_key,
    worst_ratio,
)
from mixscope.studies.chaudhry2022.exhibits import by_points_section
from mixscope.studies.chaudhry2022.ict_checks import logistic_regression, ramp
from mixscope.studies.chaudhry2022.metric_checks import expected_power, floor_at
from mixscope.studies.chaudhry2022.runs import PLANS, consistency_of, trials
from mixscope.studies.chaudhry2022.study import STUDY
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.study_definition import check_study, judge_study


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return smoke_results(STUDY, tmp_path_factory.mktemp("records"))


def made_results(setting_values):
    """Return results of runs that were never done: (setting, method, seed) -> (values, problem)."""
    chosen = [trial for trial in trials("small") if (trial.setting, trial.method, trial.seed) in setting_values]
    made = {t.digest: setting_values[t.setting, t.method, t.seed] for t in chosen}
    return Results(chosen, {digest: outcome(values, problem=problem) for digest, (values, problem) in made.items()})


def test_the_smoke_run_holds_every_exact_claim_and_leaves_statistics_undecided(smoke):
    judgements = judge_study(STUDY, smoke, scale="smoke")
    exact = [judgement for judgement in judgements if judgement.claim.is_exact]
    others = [judgement for judgement in judgements if not judgement.claim.is_exact]
    assert len(exact) > 20
    assert {judgement.claim.key for judgement in exact if judgement.verdict != "held"} == set()
    assert {judgement.verdict for judgement in others} == {"undecided"}
    assert all("smoke scale" in judgement.reason for judgement in others)


def test_the_collapsed_run_is_named_and_kept_out_of_means(smoke):
    sample = smoke.sample("digits-50", "ict2-detached", ACCURACY)
    assert sample.values == {}
    assert "ict2-detached: collapsed: accuracy 0." in sample.excluded["seed 0"]
    assert smoke.of("digits-50", "ict2-ema")["seed 0"].problem == ""


def test_the_figures_are_drawn_and_show_the_collapsed_run(smoke):
    sections = STUDY.sections(smoke)
    page = render_page(Page("Chaudhry", sections))
    assert "ICT[2], Eq. 2, targets detached, seed 0, collapsed" in page
    named = {section.name: section for section in sections}
    assert [row[-1] for row in named["accuracy"].filled[0].rows if "detached" in row[0]] == ["1 left out"]
    assert len(named["along-digits-50"].drawn) == 24
    assert all(len(figure.key) == 4 for figure in named["along-digits-50"].drawn)


def test_every_k_is_drawn_by_layer():
    key = site_key("digits-50", 1, "nonlinearity")
    families = {"": ("ict2", "ict3", "ict4", "ict5"), "-ema": ("ict2-ema", "ict3-ema")}
    runs = {("digits-50", method, 0): ({key: 0.1}, "") for methods in families.values() for method in methods}
    section = by_points_section(made_results(runs), ["digits-50", "digits-200"])
    names = {figure.title: [entry.name for entry in figure.key] for figure in section.drawn}
    assert names == {
        "NonLin, digits-50: Eq. 2": ["K = 2", "K = 3", "K = 4", "K = 5"],
        "NonLin, digits-50: moving average": ["K = 2", "K = 3"],
    }


def test_a_run_that_diverged_is_drawn_and_counted_as_left_out():
    curve = {"curve": {"epoch": [0, 1], ACCURACY: [0.1, 0.2]}}
    results = made_results({("digits-50", "ict4", 0): ({ACCURACY: 0.2}, "diverged: the loss")})
    (digest,) = results.outcomes
    results = Results(results.trials, {digest: replace(results.outcomes[digest], tables=curve)})
    named = {section.name: section for section in STUDY.sections(results)}
    assert named["training"].drawn[0].key[-1].name == "ICT[4], Eq. 2, seed 0, diverged"
    assert [row[1] for row in named["accuracy"].filled[0].rows] == ["1 left out"]


def test_every_claim_has_its_runs_at_the_small_scale():
    assert_every_claim_has_its_runs(STUDY, "small")


@pytest.mark.parametrize("scale", PLANS)
def test_trials_have_names_of_their_own_and_seeds_can_be_given(scale):
    check_study(STUDY, trials(scale))
    assert {trial.seed for trial in trials(scale, 2)} == {0, 1}


@pytest.mark.parametrize("method", ["erm", "ict3", "ict4-ema", "ict2-detached"])
def test_methods_differ_in_nothing_but_what_they_are_named_for(method):
    setting = SETTINGS["digits-50"]
    chosen, plain = (setting.work(name, 1, scale="small").options for name in (method, "erm"))
    assert replace(chosen, consistency=plain.consistency) == plain
    assert chosen.consistency == consistency_of(method)


def test_labelled_images_are_balanced_and_drawn_by_the_seed():
    setting = SETTINGS["digits-50"]
    first, again, other = (prepare_images(setting.images(seed=seed), SILENT) for seed in (0, 0, 1))
    assert first.train_labels.bincount().tolist() == [5] * 10
    assert len(first.test_labels) == 600
    assert torch.equal(first.train_images, again.train_images)
    assert not torch.equal(first.train_images, other.train_images)


def test_the_linear_baseline_has_the_labelled_and_test_images_of_the_runs():
    by_hand = logistic_regression("digits", 50, None, 0).values[ACCURACY]
    assert by_hand * 600 == pytest.approx(round(by_hand * 600), abs=1e-9)  # a share of the 600 test images
    assert 0.75 < by_hand < 0.95


@pytest.mark.parametrize("name", SITES)
def test_the_layers_that_are_counted_are_those_of_the_networks(name):
    shape = (1, 8, 8) if name == "residual-mlp" else (3, 32, 32)
    with torch.device("meta"):
        model = build_model(name, num_classes=10, image_shape=shape, seed=0)
    assert model_sites(model, find_head(model, None)) == SITES[name]


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method must be one of this study, got 'ict2-late'"):
        consistency_of("ict2-late")


def test_the_ramp_and_the_law_of_weights_have_their_known_values():
    assert ramp().values == {"error_at_fifth": 0.0, "error_from_end": 0.0, "at_start": 0.0}
    assert [round(expected_power(0.5, points), 2) for points in (2, 3, 4)] == [0.75, 0.6, 0.5]
    middle = float(floor_at(torch.tensor(0.5, dtype=torch.float64), 0.0))
    assert middle == pytest.approx(1 - math.sqrt(0.5), abs=1e-15)


def test_the_worst_layer_is_picked_seed_by_seed():
    keys = [site_key("digits-50", layer, "nonlinearity") for layer in (2, 3)]
    results = made_results(
        {
            ("digits-50", "mixup", 0): (dict(zip(keys, (0.2, 0.6), strict=True)), ""),
            ("digits-50", "erm", 0): (dict(zip(keys, (0.1, 0.2), strict=True)), ""),
            ("digits-50", "mixup", 1): (dict(zip(keys, (0.2, 0.6), strict=True)), "collapsed: accuracy 0.10"),
            ("digits-50", "erm", 1): (dict(zip(keys, (0.1, 0.2), strict=True)), ""),
        }
    )
    for pick, expected in ((min, 2.0), (max, 3.0)):
        sample = worst_ratio("mixup", "erm", (2, 3), pick=pick)(results, "digits-50")
        assert sample.values == pytest.approx({"seed 0": expected})
        assert "collapsed" in sample.excluded["seed 1"]
        assert sample.is_ratio


def test_labels_are_interpolated_in_their_logarithm_and_held_within_the_sizes_that_were_run():
    accuracies = {
        "mixup": {"digits-50": 0.7, "digits-100": 0.8, "digits-200": 0.9},
        "ict2": {"digits-50": 0.75, "digits-100": 0.85, "digits-200": 0.9},  # 0.8 half way from 50 to 100
        "ict4": {"digits-50": 0.85, "digits-100": 0.86, "digits-200": 0.87},  # above 0.8 all along
    }
    results = made_results(
        {
            (setting, method, 0): ({ACCURACY: value}, "")
            for method, row in accuracies.items()
            for setting, value in row.items()
        }
    )
    half_way = labels_needed("ict2", "mixup", target="mixup")(results, "digits-100").values
    assert half_way == pytest.approx({"seed 0": 2**-0.5})
    assert labels_needed("ict4", "mixup", target="mixup")(results, "digits-100").values == {"seed 0": 0.5}
    # ICT[2] has its 0.85 with 100 labels, ICT[4] with 50.
    assert labels_needed("ict4", "ict2", target="ict2")(results, "digits-100").values == {"seed 0": 0.5}


def test_the_share_of_orders_that_are_kept_is_counted():
    def values(*heights):
        own, low, high = (site_key("digits-50", 1, "nonlinearity", alpha=alpha) for alpha in (None, 0.1, 1.0))
        return dict(zip((own, low, high), heights, strict=True)), ""

    results = made_results(
        {("digits-50", "erm", 0): values(0.1, 0.2, 0.1), ("digits-50", "mixup", 0): values(0.2, 0.1, 0.3)}
    )
    assert same_order(("erm", "mixup"), (1,))(results, "digits-50").values == {"seed 0": 0.5}
    unknown = made_results(
        {("digits-50", "erm", 0): values(0.1, 0.2, 0.1), ("digits-50", "mixup", 0): values(0.2, math.nan, 0.3)}
    )
    assert math.isnan(same_order(("erm", "mixup"), (1,))(unknown, "digits-50").values["seed 0"])


def test_a_collapse_is_told_from_other_problems():
    assert is_collapsed(outcome(problem="collapsed: accuracy 0.10"), "digits-50") == 1
    assert is_collapsed(outcome(problem="diverged: the loss"), "digits-50") == 0


def test_linearity_is_measured_six_times_and_at_the_end():
    work = SETTINGS["digits-50"].work("erm", 0, scale="small")
    assert isinstance(work, NetworkTraining)
    assert work.options.training.epochs == 1500
    assert work.measure_at == (0, 75, 150, 300, 600, 1050)
