"""Pictures for Fisher et al. 2024: blends of three classes on the plane of their classifiers."""

from typing import Any

from mixscope.report.document import Chapter, Exhibit
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.seed_figures import exhibit_name, plane_exhibit
from mixscope.studies.fisher2024.runs import ALL, ERM, FIXED, LABELS, MANIFOLD, MIXUP, SQUARED

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


def plane_chapters(results: Results) -> list[Chapter]:
    """Return the chapters on what the plane of three classifiers shows; those without a picture are left out."""
    chapters = [_methods_chapter(results), _training_chapter(results), _triples_chapter(results)]
    return [chapter for chapter in chapters if chapter.exhibits]


def _methods_chapter(results: Results) -> Chapter:
    exhibits = []
    for setting in clean_settings(results):
        for method in results.methods(setting):
            pictures = _pictures(results, setting, method)
            if pictures:
                title = f"{NAMES[method]}, {setting}, epoch {pictures[-1]['epoch']}"
                exhibits.append(_exhibit(pictures[-1], "eval", title, "methods", setting, method))
    text = (
        "Blends of training images of three classes at the end of training, on the plane of the three classifiers (the "
        "corners of the dotted triangle), as the paper draws them. Under mixup, look for blends within a class at the "
        "corners' directions and for blends of two classes along the channel between: far out, on the boundary, not on "
        "the line between two corners, where squared error should leave them."
    )
    return Chapter("planes", "Blends on the classifiers' plane", text, exhibits)


def _training_chapter(results: Results) -> Chapter:
    exhibits = [
        _exhibit(picture, mode, f"{setting}, epoch {picture['epoch']}, {words}", "training", setting, mode)
        for setting in clean_settings(results)
        for mode, words in MODES.items()
        for picture in _pictures(results, setting, MIXUP)
        if mode == "eval" or _has_modes(picture)
    ]
    text = (
        "The same picture as mixup goes on. Look for the channel opening early and for how it sharpens. The paper "
        "draws features in training mode, where batch norm uses the blends' own statistics; where there is batch norm, "
        "both modes are shown, and they should tell the same story."
    )
    return Chapter("planes-training", "Through training, in both modes", text, exhibits)


def _triples_chapter(results: Results) -> Chapter:
    exhibits = []
    for setting in clean_settings(results):
        for seed in range(NUM_TRIPLES):
            pictures = _pictures(results, setting, MIXUP, seed=seed)
            if pictures:
                classes = ", ".join(pictures[-1]["classes"])
                exhibits.append(
                    _exhibit(pictures[-1], "eval", f"{setting}: {classes}", "triples", setting, f"seed {seed}")
                )
    text = "Mixup's last picture for three classes drawn at random by each seed. Look for the same shape in all."
    return Chapter("planes-triples", "Other classes, other seeds", text, exhibits)


def _pictures(results: Results, setting: str, method: str, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return the pictures of a run that ended well, by epoch."""
    outcome = results.of(setting, method).get(f"seed {seed}")
    return [] if outcome is None or outcome.problem else outcome.pictures.get("planes", [])


def _has_modes(picture: dict[str, Any]) -> bool:
    """Return whether the two modes differ: networks without batch norm have but one."""
    return bool(picture["train"] != picture["eval"])


def _exhibit(picture: dict[str, Any], mode: str, title: str, *place: str) -> Exhibit:
    return plane_exhibit(picture, mode=mode, name=exhibit_name("plane", *place, str(picture["epoch"])), title=title)
