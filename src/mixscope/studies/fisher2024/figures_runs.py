"""Figures for Fisher et al. 2024 by layer and epoch: linearity, calibration, confidence; and the table of numbers."""

from collections.abc import Mapping, Sequence

from mixscope.report.document import Chapter, Exhibit, Series
from mixscope.studies.engine.evidence_sources import percent
from mixscope.studies.engine.results import Number, Results, picture, read_number
from mixscope.studies.engine.seed_figures import curves_exhibit, exhibit_name, mean_series
from mixscope.studies.engine.trial import Outcome
from mixscope.studies.fisher2024.figures import COLOURS, NAMES, clean_settings
from mixscope.studies.fisher2024.figures_weight import numbers_listing
from mixscope.studies.fisher2024.runs import ERM, MIXUP, THEORY

FINAL: Mapping[str, str | Number] = {
    "test accuracy, %": percent("test/accuracy"),
    "ECE": "test/ece",
    "confidence, right": "test/confidence_right",
    "confidence, wrong": "test/confidence_wrong",
}
BINS_WITH = 5  # test images in a bin of the reliability diagram, below which its accuracy says nothing


def run_settings(results: Results) -> list[str]:
    """Return all settings on which plain training and mixup were run, those with wrong labels too."""
    names = dict.fromkeys(trial.setting for trial in results.trials)
    return [name for name in names if {ERM, MIXUP} <= set(results.methods(name))]


def layers_chapter(results: Results) -> Chapter:
    """Return the chapter on how far blends are from the line, layer by layer."""
    exhibits = [_layers(results, setting) for setting in clean_settings(results)]
    for setting in clean_settings(results):
        exhibits += _first_and_last(results, setting)
    text = (
        "Relative defect of linearity on test images: how far the feature of a blend is from the blend of features, 0 "
        "on the line. The paper suggests that early layers of a mixup network look like manifold mixup's; look for a "
        "defect that grows towards the classifier, and for where the methods part."
    )
    return Chapter("layers", "Layers before the last", text, [found for found in exhibits if found.series])


def calibration_chapter(results: Results) -> Chapter:
    """Return the chapter on calibration along training and at its end."""
    exhibits = []
    for setting in run_settings(results):
        methods = {method: NAMES[method] for method in (ERM, MIXUP)}
        exhibits += [
            curves_exhibit(
                results, setting, methods, "test/ece", title=f"{setting}: calibration error", y_title="ECE, 15 bins"
            ),
            curves_exhibit(
                results,
                setting,
                methods,
                "test/loss",
                title=f"{setting}: test loss",
                y_title="cross-entropy, nats",
                log_y=True,
            ),
            _reliability(results, setting, [ERM, MIXUP]),
        ]
    text = (
        "Calibration error and test loss along training, and accuracy against confidence at its end (pooled over "
        "seeds). Where plain training is over-confident (wrong labels, natural images) its curve falls below the "
        "dotted diagonal and mixup should help; on clean digits it is calibrated already, and mixup should make it "
        "under-confident: above the diagonal."
    )
    return Chapter("calibration", "Calibration", text, [found for found in exhibits if found.series])


def confidence_chapter(results: Results) -> Chapter:
    """Return the chapter on how confident networks are where they are wrong, and the table of all final numbers."""
    exhibits = [
        curves_exhibit(
            results,
            setting,
            {method: NAMES[method] for method in (ERM, MIXUP)},
            "test/confidence_wrong",
            table="measured",
            title=f"{setting}: confidence where wrong",
            y_title="mean confidence",
        )
        for setting in run_settings(results)
    ]
    text = (
        "Mean confidence on test images that are misclassified. A test image near a decision boundary should land in "
        "mixup's channel, where the prediction is spread over two classes: look for a lower curve. The table holds the "
        "final numbers of all methods, means over seeds with 95% intervals."
    )
    settings = list(dict.fromkeys(trial.setting for trial in results.trials if trial.setting != THEORY))
    listing = numbers_listing(results, settings, FINAL)
    note = "Outputs trained by squared error are no logits: their calibration error and confidence say little."
    shown = [found for found in exhibits if found.series]
    return Chapter("confidence", "Confidence and accuracy", text, shown, listing, [note])


def _layers(results: Results, setting: str) -> Exhibit:
    series = []
    for method in results.methods(setting):
        runs = _finished(results, setting, method)
        if runs:
            layers = [float(number) for number in range(1, len(picture(runs[0], "sites")) + 1)]
            rows = ([read_number(run, _defect(site)) for site in picture(run, "sites")] for run in runs)
            series.append(mean_series(NAMES[method], layers, zip(*rows, strict=True), colour=COLOURS[method]))
    return Exhibit(
        exhibit_name("layers", setting),
        f"{setting}: at the end, by layer",
        series,
        x_title="layer (the last is the logits)",
        y_title="relative defect",
    )


def _first_and_last(results: Results, setting: str) -> list[Exhibit]:
    """Return the defect along training of the first layer and of the last before the classifier."""
    runs = _finished(results, setting, MIXUP)
    if not runs:
        return []
    sites = picture(runs[0], "sites")
    methods = {method: NAMES[method] for method in results.methods(setting)}
    return [
        curves_exhibit(
            results,
            setting,
            methods,
            _defect(site),
            table="measured",
            title=f"{setting}: {words}",
            y_title="relative defect",
        )
        for site, words in ((sites[0], "first layer"), (sites[-2], "last layer before the classifier"))
    ]


def _reliability(results: Results, setting: str, methods: Sequence[str]) -> Exhibit:
    series = []
    for method in methods:
        bins: dict[int, list[float]] = {}
        for run in _finished(results, setting, method):
            diagram = picture(run, "reliability")
            rows = zip(diagram["count"], diagram["confidence"], diagram["accuracy"], strict=True)
            for place, (count, confidence, accuracy) in enumerate(rows):
                if count and None not in (confidence, accuracy):
                    held = bins.setdefault(place, [0.0, 0.0, 0.0])
                    held[0] += count
                    held[1] += count * confidence
                    held[2] += count * accuracy
        found = [held for _, held in sorted(bins.items()) if held[0] >= BINS_WITH]
        if found:
            confidences, accuracies = ([held[part] / held[0] for held in found] for part in (1, 2))
            series.append(Series(NAMES[method], confidences, accuracies, colour=COLOURS[method]))
    if series:
        series.append(Series("calibrated", [0.0, 1.0], [0.0, 1.0], is_reference=True))
    return Exhibit(
        exhibit_name("reliability", setting),
        f"{setting}: accuracy by confidence",
        series,
        x_title="confidence",
        y_title="accuracy",
    )


def _finished(results: Results, setting: str, method: str) -> list[Outcome]:
    return [run for run in results.of(setting, method).values() if not run.problem and "sites" in run.pictures]


def _defect(site: str) -> str:
    return f"linearity/{site}/relative_defect"
