import math
import subprocess
import sys

import pytest

from mixscope.__main__ import main
from mixscope.base.errors import UserError
from mixscope.cli.parsing import parse
from mixscope.report.rendering import render_page
from mixscope.theory.solution import Solution
from mixscope.theory_pages.label_noise_page import label_noise_page
from mixscope.theory_pages.layer_peeled_page import layer_peeled_page
from mixscope.theory_pages.mixup_features_page import mixup_features_page
from mixscope.theory_pages.page_parts import number, shortcomings
from mixscope.theory_pages.random_features_page import random_features_page
from mixscope.theory_pages.theory_options import (
    LabelNoiseOptions,
    LayerPeeledOptions,
    MixupFeaturesOptions,
    RandomFeaturesOptions,
)

MAKERS = {
    "mixup-features": lambda: mixup_features_page(MixupFeaturesOptions(feature_penalty=(1e-2, 1e-4))),
    "two classes": lambda: mixup_features_page(MixupFeaturesOptions(num_classes=2, alpha=0.3)),
    "layer-peeled": lambda: layer_peeled_page(LayerPeeledOptions(log_time=1000, descent_steps=1000)),
    "random-features": lambda: random_features_page(RandomFeaturesOptions(num_examples=10, seeds=3)),
    "label-noise": lambda: label_noise_page(LabelNoiseOptions(num_pairs=2000, alpha=0.7)),
}


@pytest.fixture(scope="module")
def pages():
    return {name: make() for name, make in MAKERS.items()}


def rows_of(page, place):
    table = page.titled_tables[place]
    return {row[0]: dict(zip(table.headings, row, strict=True)) for row in table.words}


@pytest.mark.parametrize("name", MAKERS)
def test_a_page_is_complete(pages, name):
    page = pages[name]
    html = render_page(page)
    assert page.title in html
    assert "nan" not in page.lead
    for section in page.sections:
        assert "Look " in section.text  # every section says what to look for
        assert section.notes  # and where it comes from
        for figure in section.drawn:
            assert f'id="{figure.name}"' in html
            for trace in figure.plot["data"]:
                assert len(trace["x"]) == len(trace["y"]) > 0
                assert any(y is not None for y in trace["y"])
        for table in section.filled:
            assert all(len(row) == len(table.columns) for row in table.rows)
    assert len(page.titled_tables) == 2


def test_the_mixup_page_shows_the_worked_numbers(pages):
    row = rows_of(pages["mixup-features"], 0)["0.0001"]  # 10 classes, rows of length 1
    assert (row["amplification"], row["length ratio"], row["angle at w = 0.3"]) == ("1.735", "1.156", "3.4°")
    joint = rows_of(pages["mixup-features"], 1)["0.0005"]
    assert (joint["row length, mixup"], joint["logit, mixup"]) == ("1.67", "8.853")
    (check,) = pages["mixup-features"].sections[-1].filled
    assert [row[-1] for row in check.rows] == ["yes", "yes", "no"]


def test_two_classes_have_no_channel_but_a_page(pages):
    page = pages["two classes"]
    assert [section.name for section in page.sections] == ["place", "density", "joint", "check"]
    assert rows_of(page, 0)["0.01"]["amplification"] == "–"


def test_the_layer_peeled_page_measures_the_predicted_rates(pages):
    rows = rows_of(pages["layer-peeled"], 0)
    assert len(rows) == 10
    for row in rows.values():
        measured, predicted = (float(row[column].replace("−", "-")) for column in ("measured", "predicted"))
        assert measured == pytest.approx(predicted, abs=0.25)  # log t = 1,000 is early: nc1_pinv is seen at -2.8
    separation = rows_of(pages["layer-peeled"], 1)["2 + 2 + 2 + 2"]
    assert separation["√n (K − 1)"] == separation["closed form"] == separation["found by a solver"] == "4.242641"


def test_the_random_features_page_finds_the_turn_and_its_control(pages):
    rows = rows_of(pages["random-features"], 0)
    assert rows["mixup"]["rises by over 5%"] == "3 of 3"
    assert rows["mixup with clean labels"]["rises by over 5%"] == "0 of 3"
    curves = {trace["name"]: trace["y"] for trace in pages["random-features"].figures["risk-bound"].plot["data"]}
    assert all(low <= high for low, high in zip(curves["true"], curves["bound"], strict=True))


def test_the_label_noise_page_puts_drawn_labels_above_the_distance_and_the_floor_where_it_is(pages):
    page = pages["label-noise"]
    for row in rows_of(page, 0).values():
        assert float(row["independent labels differ"]) >= float(row["total variation"])
        assert float(row["most probable differ"]) < float(row["total variation"])
    floors = rows_of(page, 1)
    assert floors["1"]["10 classes"] == "0.4500"  # (K - 1) / (2 K)
    assert "0.7" in floors  # the alpha that was asked for


def test_a_solver_that_stopped_early_is_told_on_the_page():
    assert shortcomings(flow=Solution(0.0, 1.0, 5, False, "5 steps end early")) == [
        "Not converged: flow: 5 steps end early."
    ]
    assert shortcomings(flow=Solution(0.0, 0.0, 5, True)) == []


def test_numbers_are_short_and_have_proper_signs():
    assert [number(value) for value in (0.5, -1.0, 123456.0, -2.5e-7, 1e9, -0.0)] == [
        "0.5", "−1", "123,500", "−2.5e−7", "1e+9", "0",
    ]  # fmt: skip
    assert [number(value) for value in (math.inf, -math.inf, math.nan)] == ["∞", "−∞", "–"]


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (MixupFeaturesOptions, {"num_classes": 1}, "num-classes must lie between 2 and 1000000, got 1"),
        (MixupFeaturesOptions, {"feature_penalty": ()}, "feature-penalty must be 1 to 7 numbers, got 0"),
        (MixupFeaturesOptions, {"feature_penalty": (0.0,)}, "feature-penalty must lie between 1e-12 and 100, got 0"),
        (MixupFeaturesOptions, {"feature_penalty": (0.1, 0.1)}, "feature-penalty must hold every number once"),
        (MixupFeaturesOptions, {"alpha": math.nan}, "alpha must lie between 0.001 and 10000, got nan"),
        (MixupFeaturesOptions, {"scale": -1.0}, "scale must lie between 0.001 and 1000, got -1"),
        (LayerPeeledOptions, {"dim": 3}, "dim must be at least num-classes = 4, got 3: the rates are for more than"),
        (
            LayerPeeledOptions,
            {"num_classes": 1000, "num_per_class": 1000, "dim": 1000},
            "num-classes, num-per-class and",
        ),
        (LayerPeeledOptions, {"num_per_class": 1}, "num-per-class must lie between 2 and 1000, got 1"),
        (LayerPeeledOptions, {"log_time": 1.0}, "log-time must lie between 100 and 100000, got 1"),
        (RandomFeaturesOptions, {"num_examples": 1}, "num-examples must lie between 2 and 300, got 1"),
        (RandomFeaturesOptions, {"seeds": 0}, "seeds must lie between 1 and 1000, got 0"),
        (LabelNoiseOptions, {"radius": 0.0}, "radius must lie between 0.001 and 1000, got 0"),
        (LabelNoiseOptions, {"seed": -1}, "seed must lie between 0 and"),
    ],
)
def test_options_that_make_no_sense_are_explained(options, values, message):
    with pytest.raises(UserError) as raised:
        options(**values)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def run_main(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["mixscope", "theory", *words])
    main()


def test_the_command_prints_tables_and_writes_the_page(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")  # narrower, and headings break
    page = tmp_path / "deep" / "label-noise.html"
    run_main(monkeypatch, "label-noise", "--num-pairs", "500", "--radius", "3", "--out", str(page.parent))
    said = capsys.readouterr().out
    assert "Floor of the loss, in nats" in said
    assert "total variation" in said
    assert f"page: {page}" in said
    assert "each 3 standard deviations from their middle" in page.read_text()
    assert [file.name for file in page.parent.iterdir()] == ["label-noise.html"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mixup-features", "--alpha", "0"], "mixscope: error: alpha must lie between 0.001 and 10000, got 0"),
        (["layer-peeled", "--dim", "2"], "mixscope: error: dim must be at least num-classes = 4, got 2"),
        (["label-noise", "--out", "x.html"], "mixscope: error: out must be a folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(monkeypatch, capsys, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run_main(monkeypatch, *words)
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith(message)
    assert "\n" not in said
    assert not list(tmp_path.iterdir())  # nothing half-written


def test_the_options_of_the_command_line_reach_the_page():
    command = parse(["theory", "mixup-features", "--feature-penalty", "0.1", "0.2", "--num-classes", "7"])
    assert command.model.options == MixupFeaturesOptions(num_classes=7, feature_penalty=(0.1, 0.2))
    assert str(parse(["theory", "random-features"]).model.out) == "runs/theory"


def test_reading_the_theory_command_loads_no_torch():
    code = (
        "import sys; from mixscope.cli.parsing import parse; parse(['theory', 'layer-peeled', '--seed', '3']); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
