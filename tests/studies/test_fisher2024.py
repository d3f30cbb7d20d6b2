"""The study of Fisher et al. 2024: its smoke run end to end, its evidence, its solvers and figures by hand."""

import math

import pytest
import torch
from sample_studies import outcome, smoke_results

from mixscope.base.simplex import simplex_etf
from mixscope.report.figures.line_figure import mean_line
from mixscope.report.page import Page
from mixscope.report.rendering import render_page
from mixscope.studies.engine.evidence_sources import computed
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.results import Results, read_number
from mixscope.studies.engine.seed_figures import mean_text
from mixscope.studies.engine.study_definition import check_study, judge_study
from mixscope.studies.fisher2024.claims_confidence import IMAGES, NOISY
from mixscope.studies.fisher2024.evidence import settings_with
from mixscope.studies.fisher2024.exhibits import FINAL
from mixscope.studies.fisher2024.figures_weight import (
    PLACES,
    _density,
    _height,
    _offset,
    _same_class,
)
from mixscope.studies.fisher2024.runs import ERM, FIXED, LABELS, MIXUP, SQUARED, trials
from mixscope.studies.fisher2024.study import STUDY
from mixscope.studies.fisher2024.theory_checks import blended_features, collapse_threshold, joint_optimum, minimiser

FALLS_BY_A_SLIP = {"fisher2024.5b"}  # the number noted beforehand is off in its last digit: see the deviations


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return smoke_results(STUDY, tmp_path_factory.mktemp("records"))


def line(weights, *, length=2.0, same=()):
    """Return a run whose blends lie on the straight line between two classes."""
    rows = list(range(len(weights)))
    first = [length if row in same else length * weights[row] for row in rows]
    second = [length if row in same else length * (1 - weights[row]) for row in rows]
    return outcome(
        pictures={"pairs": {"weight": weights, "x1": first, "x2": second, "same": [r in same for r in rows]}}
    )


def test_the_smoke_run_judges_every_exact_claim_and_no_statistical_one(smoke):
    for judgement in judge_study(STUDY, smoke, scale="smoke"):
        key = judgement.claim.key
        if key in FALLS_BY_A_SLIP:
            assert judgement.verdict == "not held", key
        elif judgement.claim.is_exact:
            assert judgement.verdict == "held", (key, judgement.worst, judgement.reason)
        else:
            assert judgement.verdict == "undecided", key
            assert "smoke scale" in judgement.reason
            assert judgement.num == 1, (key, judgement.setting, judgement.reason)


def test_every_section_of_the_smoke_run_renders(smoke):
    sections = STUDY.sections(smoke)
    names = [section.name for section in sections]
    assert names[:3] == ["planes", "planes-training", "planes-triples"]
    assert names[3:] == ["weights", "theory", "density", "layers", "calibration", "confidence"]
    page = render_page(Page(STUDY.title, sections))
    assert all(f'id="{name}"' in page for name in names)


def test_without_any_run_no_figure_is_drawn():
    runs = trials("small")
    sections = STUDY.sections(Results(runs, {}))
    assert not any(section.drawn for section in sections)
    render_page(Page(STUDY.title, sections))


@pytest.mark.parametrize("scale", ["smoke", "small", "medium", "paper"])
def test_every_claim_has_the_runs_it_is_judged_by(scale):
    # A run that is not done is missing by name; evidence without a run at all would have nothing missing.
    judgements = judge_study(STUDY, Results(check_study(STUDY, trials(scale)), {}), scale=scale)
    for judgement in judgements:
        assert judgement.sample.missing, (judgement.claim.key, judgement.setting)
    if scale in ("smoke", "small"):
        assert {judgement.claim.key for judgement in judgements} >= {check.claim.key for check in STUDY.checks} - (
            {"fisher2024.15c"} if scale == "smoke" else set()
        )


def test_small_has_the_seeds_that_were_asked_for():
    runs = trials("small")
    counts = {
        (trial.setting, trial.method): sum((t.setting, t.method) == (trial.setting, trial.method) for t in runs)
        for trial in runs
    }
    wanted = {"digits": 5, "fashion": 3, "cifar10": 3, "theory": 1}
    assert all(count == wanted[setting.split("-")[0]] for (setting, _), count in counts.items())
    assert {trial.seed for trial in trials("small", 2)} == {0, 1}


def test_a_seed_draws_the_images_and_its_methods_differ_only_where_they_should():
    works = {
        (trial.method, trial.seed): trial.work.options
        for trial in trials("small")
        if trial.setting == "digits-1000" and isinstance(trial.work, NetworkTraining)
    }
    assert works[MIXUP, 0].data == works[ERM, 0].data != works[ERM, 1].data
    assert works[SQUARED, 0].training.loss == "squared-error"
    assert works[FIXED, 0].classifier == "fixed-etf"
    assert works[FIXED, 0].mixing == works[MIXUP, 0].mixing
    assert works[LABELS, 0].mixing.mixing == "label-mixup"


def test_settings_are_found_by_their_methods():
    assert settings_with(LABELS) == ("digits-200", "digits-1000", "cifar10")
    assert "digits-1000-noisy" in NOISY
    assert not any(name.startswith("digits") or name.endswith("-noisy") for name in IMAGES)


def test_newtons_minimiser_is_a_stationary_point():
    generator = torch.Generator().manual_seed(0)
    frame = simplex_etf(4, 5, scale=1.5, generator=generator)
    label = torch.tensor([0.3, 0.7, 0.0, 0.0], dtype=torch.float64)
    feature = minimiser(frame, label, 0.01, generator=generator)
    gradient = frame.T @ (torch.softmax(frame @ feature, dim=0) - label) + 0.01 * feature
    assert float(gradient.norm()) < 1e-14  # float64: seen 1e-16


def test_the_minimiser_without_curvature_of_the_loss_is_the_penalised_gradient():
    # A huge penalty: h is close to W^T (y - 1/K) / penalty.
    frame = simplex_etf(3, 2, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    feature = minimiser(frame, label, 1e6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(1e6 * feature, frame.T @ (label - 1 / 3), atol=1e-5, rtol=0)


def test_closed_forms_agree_with_newton_on_a_small_grid():
    values = blended_features([3], [1.0], [0.1], [0.3]).values
    assert {name.split("/")[0] for name in values} == {"newton", "newton-same", "same", "rise", "middle", "line"}
    assert all(value < 1e-10 for value in values.values())  # float64: seen 1e-15


def test_joint_optimum_names_sizes_without_room_apart():
    found = joint_optimum([[3, 2], [4, 2]], 0.05, 1, 0)
    assert not found.problem
    assert found.values["gram/K=3 D=2 start 0"] < 1e-6
    assert found.values["gram-flat/K=4 D=2 start 0"] > 0.1


def test_the_classifier_vanishes_above_the_threshold_alone():
    values = collapse_threshold([[3, 2]], 0.05, 0).values
    assert values["below/K=3 D=2"] > 0.1
    assert values["above/K=3 D=2"] < 1e-5


def test_computed_evidence_is_by_case_and_names_what_is_missing_or_bad():
    (trial,) = [trial for trial in trials("smoke") if trial.method == "limits"]
    evidence = computed("limits", "offset", expected={"a": 1.0})

    def judged(found):
        return evidence(Results([trial], {trial.digest: found}), "theory")

    assert judged(outcome({"offset/a": 1.5, "offset/b": 9.0, "offset-gap/a": 7.0})).values == {"a": 0.5}
    assert math.isnan(judged(outcome({})).values["a"])
    assert judged(outcome(problem="not converged")).excluded == {"theory-limits-seed0": "not converged"}
    assert evidence(Results([trial], {}), "theory").missing == ("theory-limits-seed0",)
    every = computed("limits", "offset")(Results([trial], {trial.digest: outcome({"offset/a": 1.5})}), "theory")
    assert every.values == {"a": 1.5}


def test_blends_on_the_line_have_constant_height_and_even_density():
    run = line([(place + 0.5) / 200 for place in range(200)] + [0.2, 0.4], same=(200, 201))
    assert _height(run) == pytest.approx([0.5] * 5)
    assert _density(run) == pytest.approx([0.45] * len(PLACES), rel=0.02)  # 0.9 of them between -1 and 1
    assert [value for value in _same_class(run) if math.isfinite(value)] == pytest.approx([1.0] * 2)


def test_offsets_are_symmetric_and_empty_bins_are_nan():
    run = outcome(pictures={"pairs": {"weight": [1 / (1 + math.e)], "x1": [1.0], "x2": [4.0], "same": [False]}})
    offsets = _offset(run)
    assert offsets[2] == pytest.approx(-3.0)  # log-odds -1
    assert offsets[4] == pytest.approx(3.0)  # the same blend with its classes called the other way
    assert math.isnan(offsets[0])


def test_means_over_seeds_leave_out_what_is_no_number():
    line = mean_line("mixup", [0.0, 1.0], [[1.0, 3.0], [math.nan, 5.0]], colour=1)
    assert list(line.y) == [2.0, 5.0]
    assert line.low[0] < 2 < line.high[0]
    assert line.low[1] == line.high[1] == 5.0
    assert mean_text([]) == "–"
    assert mean_text([math.nan, 0.25]) == "0.25"
    assert mean_text([1.0, 1.0]).startswith("1")


def test_every_column_of_the_table_is_measured(smoke):
    run = smoke.of("digits-200", MIXUP)["seed 0"]
    assert all(math.isfinite(read_number(run, number)) for number in FINAL.values())
