"""Figures are valid plotly, hold the numbers they should, and use only colours with a dark twin."""

import json
import math
import re
from typing import Any

import plotly.graph_objects as go
import pytest
from synthetic_runs import CLASS_NAMES, synthetic_run, synthetic_runs

from mixscope.report.figures import channel_figure as channel
from mixscope.report.figures import curve_figure as curve
from mixscope.report.figures import layer_figure as layer
from mixscope.report.figures import plane_figure as plane
from mixscope.report.figures.reliability_figure import pool_reliability, reliability_figure
from mixscope.report.runs.groups import group_runs
from mixscope.report.runs.runs_page import build_sections
from mixscope.report.style import CLEAR, DARK, METHOD_COLOURS, PAPER, log_axis, plot_text


def all_figures(runs: list[Any]) -> dict[str, dict[str, Any]]:
    return {figure.name: figure.plot for section in build_sections(group_runs(runs)) for figure in section.drawn}


def plot_of(figure: Any) -> dict[str, Any]:
    assert figure is not None
    return figure.plot


def curve_plot(runs: list[Any], key: str, **options: Any) -> dict[str, Any]:
    return plot_of(curve.curve_figure(group_runs(runs), key, **options))


def error_plot(runs: list[Any]) -> dict[str, Any]:
    return plot_of(curve.turning_figure(group_runs(runs), "test/error", height=300))


def plane_plot(picture: dict[str, Any]) -> dict[str, Any]:
    return plot_of(plane.plane_figure("plane", "t", picture))


def curve_of(key: str, values: list[float], *, is_log: bool = False) -> dict[str, Any]:
    """The figure of one run with these values at epochs 0, 1, 2, ..."""
    run = synthetic_run(epochs=list(range(len(values))))
    for row, value in zip(run.metrics, values, strict=True):
        row[key] = value
    return curve_plot([run], key, is_log=is_log)


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.1."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_figure_is_valid_plotly_and_plain_json():
    figures = all_figures(synthetic_runs())
    assert len(figures) > 20
    for figure in figures.values():
        go.Figure(figure)  # refuses any property plotly does not know
        json.dumps(figure, allow_nan=False)


def test_every_colour_has_a_dark_twin():
    text = json.dumps(all_figures(synthetic_runs(num_seeds=2)))
    used = set(re.findall(r"#[0-9a-f]{6}|rgba\([^)]*\)", text))
    assert used - {CLEAR} <= set(DARK)


@pytest.mark.parametrize(("light", "dark"), METHOD_COLOURS)
def test_method_colours_stand_out_from_both_papers(light: str, dark: str):
    assert contrast(light, PAPER) >= 3  # WCAG 2.1, graphics
    assert contrast(dark, DARK[PAPER]) >= 3


def test_a_curve_is_the_mean_with_a_band_of_student_s_interval_over_seeds():
    runs = [synthetic_run(seed=seed, epochs=[0, 1]) for seed in range(2)]
    for run, values in zip(runs, ((0.2, 0.1), (0.21, 0.2)), strict=True):
        for row, value in zip(run.metrics, values, strict=True):
            row["test/ece"] = value
    low, high, mean = curve_plot(runs, "test/ece")["data"]
    # Two seeds: 12.7062 standard errors, each half of their distance; a calibration error is at least 0.
    assert mean["y"] == pytest.approx([0.205, 0.15])
    assert low["y"] == pytest.approx([0.205 - 0.063531, 0.0], abs=1e-6)
    assert high["y"] == pytest.approx([0.205 + 0.063531, 0.15 + 0.63531], abs=1e-6)
    assert high["fill"] == "tonexty"


def test_one_seed_has_no_band():
    figure = curve_plot([synthetic_run()], "test/ece")
    assert len(figure["data"]) == 1


def test_only_epochs_that_every_seed_measured_enter_a_mean():
    runs = [synthetic_run(seed=0, epochs=[0, 1, 2, 3]), synthetic_run(seed=1, epochs=[0, 2])]
    figure = curve_plot(runs, "test/ece")
    assert figure["data"][-1]["x"] == [0, 2]


def test_a_single_epoch_is_no_curve():
    assert curve.curve_figure(group_runs([synthetic_run(epochs=[5])]), "test/ece") is None


def test_a_logarithmic_axis_leaves_out_what_it_cannot_show():
    run = synthetic_run(epochs=[0, 1, 2, 3])
    for row, value in zip(run.metrics, (1.0, 0.0, math.nan, 3.0), strict=True):
        row["nc/nc1_pinv"] = value
    figure = curve_plot([run], "nc/nc1_pinv", is_log=True)
    assert figure["layout"]["yaxis"]["type"] == "log"
    assert figure["data"][0]["y"] == [1.0, None, 3.0]


@pytest.mark.parametrize("last", [1.0, 1.2, 2.9])
def test_a_curve_that_spans_less_than_a_factor_of_three_has_a_linear_axis(last: float):
    figure = curve_of("nc/nc1_pinv", [1.0, last], is_log=True)
    assert "type" not in figure["layout"]["yaxis"]
    assert figure["data"][0]["y"] == [1.0, last]


@pytest.mark.parametrize("low", [0.11, 0.4, 1.0, 7.3])
@pytest.mark.parametrize("ratio", [3.0, 7.9, 8.0, 99.0, 100.0])
def test_a_logarithmic_axis_shows_at_least_two_numbers(low: float, ratio: float):
    digits = {"D1": range(1, 10), "D2": (1, 2, 5), 1: (1,)}[log_axis(ratio)["dtick"]]
    ticks = [digit * 10.0**power for power in range(-3, 5) for digit in digits]
    assert sum(low <= tick * (1 + 1e-9) and tick <= low * ratio * (1 + 1e-9) for tick in ticks) >= 2


def test_rounding_noise_is_drawn_as_zero_on_an_axis_from_zero_up():
    figure = curve_of("nc/nc2_etf_means", [1.1e-16, -2.2e-16])
    assert figure["data"][0]["y"] == [0.0, 0.0]
    assert figure["layout"]["yaxis"]["rangemode"] == "tozero"


def test_an_angle_of_rounding_noise_is_zero():
    run = synthetic_run(epochs=[1], has_pictures=False, **{"linearity/head/angle_degrees": 8e-15})
    figure = plot_of(layer.layer_figure(group_runs([run]), "angle_degrees"))
    assert figure["data"][0]["y"][-1] == 0.0


@pytest.mark.parametrize("errors", [[0.0, 0.0], [0.5, 0.0, 0.0]])
def test_an_error_of_zero_has_an_axis_from_zero_up(errors: list[float]):
    run = synthetic_run(epochs=list(range(len(errors))))
    for row, error in zip(run.metrics, errors, strict=True):
        row["test/error"] = error
    figure = error_plot([run])
    assert "range" not in figure["layout"]["yaxis"]
    assert figure["layout"]["yaxis"]["rangemode"] == "tozero"


def test_the_axis_of_a_short_falling_curve_holds_half_of_its_points():
    run = synthetic_run(epochs=[0, 1, 2])
    for row, error in zip(run.metrics, (0.9, 0.1, 0.01), strict=True):
        row["test/error"] = error
    figure = error_plot([run])
    assert 10 < figure["layout"]["yaxis"]["range"][1] < 90


def test_axes_have_no_si_prefixes():
    for figure in all_figures(synthetic_runs(num_seeds=1)).values():
        for name, settings in figure["layout"].items():
            if name.startswith(("xaxis", "yaxis")) and settings.get("visible", True):
                assert settings["exponentformat"] == "power"


def test_the_turn_is_marked_at_the_lowest_mean_and_the_switch_at_the_last_mixed_epoch():
    run = synthetic_run("mixup, then off", epochs=[0, 1, 2, 199, 200, 201, 300])
    for row, error in zip(run.metrics, (0.9, 0.3, 0.1, 0.1, 0.1, 0.2, 0.2), strict=True):
        row["test/error"] = error
    figure = error_plot([run])
    turn = figure["data"][-1]
    assert (turn["x"], turn["y"], turn["text"]) == ([199], [10.0], ["10.00% at 199"])
    (line,) = figure["layout"]["shapes"]
    assert (line["x0"], line["x1"]) == (200, 200)
    assert line["label"]["text"] == "mixing off"


def test_the_y_axis_of_a_test_curve_holds_everything_after_the_turn():
    figure = error_plot(synthetic_runs())
    bottom, top = figure["layout"]["yaxis"]["range"]
    ends = [trace["y"][-1] for trace in figure["data"]]
    assert bottom < min(ends)
    assert max(ends) < top < 20


def test_layers_show_the_number_and_its_floor_in_depth_order():
    figure = plot_of(layer.layer_figure(group_runs([synthetic_run()]), "nonlinearity", floor="floor"))
    floor, measured = figure["data"]
    assert measured["x"] == ["input", "layer1", "layer2", "layer3", "features", "head"]
    assert all(f < m for f, m in zip(floor["y"], measured["y"], strict=True))


def test_the_plane_is_drawn_with_equal_axes_and_labelled_classifiers():
    figure = plane_plot(synthetic_run().pictures["plane"])
    assert figure["layout"]["yaxis"]["scaleanchor"] == "x"
    labels = [
        text for trace in figure["data"] for text in trace.get("text", []) if trace["name"].startswith("direction")
    ]
    assert [label for label in labels if label] == ["circle", "star", "dot"]


def test_the_plane_colours_blends_by_kind_and_distance_from_one_half():
    picture = synthetic_run().pictures["plane"]
    different, same = plane_plot(picture)["data"][:2]
    assert max(different["marker"]["color"]) <= 0.5
    assert different["marker"]["colorscale"] != same["marker"]["colorscale"]
    # The most even blends are drawn last, on top.
    assert different["marker"]["color"] == sorted(different["marker"]["color"], reverse=True)


def test_arrows_keep_the_classifiers_directions():
    picture = synthetic_run().pictures["plane"]
    arrows = [trace for trace in plane_plot(picture)["data"] if trace["name"].startswith("direction")]
    for arrow, x, y in zip(arrows, picture["classifiers"]["x"], picture["classifiers"]["y"], strict=True):
        cross = arrow["x"][1] * y - arrow["y"][1] * x
        assert cross == pytest.approx(0, abs=1e-9)
        assert arrow["x"][1] * x + arrow["y"][1] * y > 0


def test_reliability_bins_of_seeds_are_pooled_by_their_counts():
    runs = [synthetic_run(seed=seed) for seed in range(2)]
    for run, count, accuracy in zip(runs, ([1, 0], [3, 0]), ([0.0, None], [1.0, None]), strict=True):
        run.pictures["reliability"] = {
            "edges": [0.0, 0.5, 1.0],
            "count": count,
            "accuracy": accuracy,
            "confidence": [0.4, None],
            "ece": 0.1,
            "signed_gap": 0.1,
        }
    (method,) = group_runs(runs)
    pooled = pool_reliability(method.pictures("reliability"))
    assert pooled is not None
    assert pooled["count"] == [4, 0]
    assert pooled["accuracy"] == [0.75, None]
    assert pooled["num_seeds"] == 2
    assert plot_of(reliability_figure("r", "t", [("mixup", 0, pooled)]))["data"][2]["y"] == [0.75]


def test_channel_coordinates_are_of_pairs_of_two_classes_only():
    picture = {"weight": [0.1, 0.9, 0.5], "x1": [1.0, 2.0, 9.0], "x2": [3.0, 4.0, 9.0], "same": [False, False, True]}
    figure = plot_of(channel.channel_figure("c", "t", picture, colour=0))
    assert figure["data"][0]["y"] == [1.0, 2.0]
    same = {"weight": [0.5], "x1": [1.0], "x2": [1.0], "same": [True]}
    assert channel.channel_figure("c", "t", same, colour=0) is None


def test_plotly_shows_names_as_they_are():
    assert plot_text("<b>&amp;</b>") == "&lt;b&gt;&amp;amp;&lt;/b&gt;"
    assert plot_text("x" * 40) == "x" * 27 + "…"


def test_long_class_names_are_cut_beside_the_arrows_and_whole_on_hover():
    name = "a class name of no fewer than forty letters"
    run = synthetic_run(class_names=[name, *CLASS_NAMES[1:]])
    traces = plane_plot(run.pictures["plane"])["data"]
    (arrow,) = [trace for trace in traces if "a class" in trace["name"]]
    assert arrow["text"][1] == "a class nam…"
    assert arrow["hovertext"][1] == f"direction of {name}"
    assert any(name in text for text in traces[0]["text"])
