"""Pictures for Fisher et al. 2024: blends of three classes on the plane of their classifiers."""

from collections.abc import Mapping
from typing import Any

from mixscope.report.figures.plane_figure import plane_figure
from mixscope.report.page import Figure, Section
from mixscope.report.page_texts import page_texts
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.seed_figures import figure_name
from mixscope.studies.fisher2024.runs import ALL, ERM, FIXED, LABELS, MANIFOLD, MIXUP, SQUARED

TEXTS = page_texts("mixscope.studies.fisher2024", "sections")

NAMES = {
    ERM: "plain training",
    MIXUP: "mixup",
    SQUARED: "mixup, squared error",
    MANIFOLD: "manifold mixup",
    FIXED: "mixup, fixed simplex classifier",
    LABELS: "labels mixed alone",
}
COLOURS = {method: place for place, method in enumerate(ALL)}
NUM_TRIPLES = 3
MODES = {"eval": "evaluation mode", "train": "training mode"}


def clean_settings(results: Results) -> list[str]:
    """Return the settings on which networks were trained, without those with wrong labels."""
    names = dict.fromkeys(trial.setting for trial in results.trials if MIXUP in results.methods(trial.setting))
    return [name for name in names if not name.endswith("-noisy")]


def plane_sections(results: Results) -> list[Section]:
    """Return the sections on what the plane of three classifiers shows."""
    settings = clean_settings(results)
    ends = [
        _plane(picture, "eval", f"{NAMES[method]}, {setting}, epoch {picture['epoch']}", "methods", setting, method)
        for setting in settings
        for method in results.methods(setting)
        for picture in _pictures(results, setting, method)[-1:]
    ]
    courses = [
        _plane(picture, mode, f"{setting}, epoch {picture['epoch']}, {words}", "training", setting, mode)
        for setting in settings
        for mode, words in MODES.items()
        for picture in _pictures(results, setting, MIXUP)
        if mode == "eval" or picture["train"] != picture["eval"]  # equal where there is no batch norm
    ]
    triples = [
        _plane(picture, "eval", f"{setting}: {', '.join(picture['classes'])}", "triples", setting, f"seed {seed}")
        for setting in settings
        for seed in range(NUM_TRIPLES)
        for picture in _pictures(results, setting, MIXUP, seed=seed)[-1:]
    ]
    return [
        TEXTS.section("planes", ends),
        TEXTS.section("planes-training", courses),
        TEXTS.section("planes-triples", triples),
    ]


def _pictures(results: Results, setting: str, method: str, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return the pictures of a run that ended well, by epoch."""
    outcome = results.of(setting, method).get(f"seed {seed}")
    return [] if outcome is None or outcome.problem else outcome.pictures.get("planes", [])


def _plane(picture: Mapping[str, Any], mode: str, title: str, *place: str) -> Figure | None:
    columns = {**picture[mode], "weight": picture["weight"]}
    kinds = {
        kind: {
            name: [value for value, is_same in zip(column, picture["same"], strict=True) if is_same == (kind == "same")]
            for name, column in columns.items()
        }
        for kind in ("same", "different")
    }
    known = {"classes": picture["classes"], "classifiers": picture["classifiers"]}
    return plane_figure(figure_name("plane", *place, str(picture["epoch"])), title, known | kinds)
