"""Figures of the study of Chaudhry et al. 2022: accuracy by number of labels and along training; what is left out."""

from collections.abc import Sequence
from dataclasses import replace

from mixscope.records.samples import Sample
from mixscope.report.document import Chapter, Exhibit, Listing, Series
from mixscope.studies.chaudhry2022.evidence import ACCURACY
from mixscope.studies.chaudhry2022.figures_layers import (
    FAMILIES,
    METHODS,
    along_training_chapter,
    by_points_chapter,
    known_layers_chapter,
    laws_chapter,
    layers_chapter,
)
from mixscope.studies.chaudhry2022.runs import SETTINGS, data_of, labels_of
from mixscope.studies.engine.evidence_sources import PERCENT, percent
from mixscope.studies.engine.results import Results, column
from mixscope.studies.engine.seed_figures import curves_exhibit, exhibit_name, line_through, mean_and_interval

OTHERS = {
    "ict3": "ICT[3], Eq. 2",
    "ict5": "ICT[5], Eq. 2",
    "ict3-ema": "ICT[3], average",
    "ict5-ema": "ICT[5], average",
    "ict2-ema-late": "ICT[2], average, logits blended before the softmax",
    "ict2-alpha-0.1": "ICT[2], Eq. 2, alpha 0.1",
    "ict2-detached": "ICT[2], Eq. 2, targets detached",
    "logistic": "logistic regression",
}
POINTS_SHOWN = ("digits-50", "digits-200")  # by the number of points in a blend
RUNS_SHOWN = ("digits-50", "fashion-mnist-250", "cifar10-250", "svhn-250")  # along training


def chapters(results: Results) -> list[Chapter]:
    """Return the figures of the study; settings that were not run are left out."""
    run = [setting for setting in SETTINGS if results.methods(setting)]
    made = [_accuracies(results, run), _trainings(results, run)]
    made += [layers_chapter(results, setting) for setting in run]
    made.append(by_points_chapter(results, [setting for setting in POINTS_SHOWN if setting in run]))
    made += [along_training_chapter(results, setting) for setting in RUNS_SHOWN if setting in run]
    made += [laws_chapter(results, setting) for setting in RUNS_SHOWN if setting in run]
    made.append(known_layers_chapter(results))
    return [chapter for chapter in made if chapter.exhibits or chapter.listing]


def _accuracies(results: Results, run: Sequence[str]) -> Chapter:
    """Return accuracy against the number of labels, with a table of every method."""
    exhibits = []
    for data in dict.fromkeys(map(data_of, run)):
        sizes = sorted((s for s in run if data_of(s) == data), key=labels_of)
        for family, members in FAMILIES.items():
            methods = ("erm", "mixup", *members)
            series = [_by_labels(results, sizes, method, colour=place) for place, method in enumerate(methods)]
            baseline = replace(_by_labels(results, sizes, "logistic"), low=[], high=[], is_reference=True)
            lines = [line for line in (*series, baseline) if line.x]
            if len(sizes) > 1 and lines:
                exhibits.append(
                    Exhibit(
                        exhibit_name("accuracy", data, family),
                        f"{data}: {family}",
                        lines,
                        x_title="labelled images",
                        y_title="test accuracy (%)",
                        log_x=True,
                    )
                )
    rows = [
        [name, *(_percent(results.sample(setting, method, ACCURACY)) for setting in run)]
        for method, name in (METHODS | OTHERS).items()
        if any(results.of(setting, method) for setting in run)
    ]
    return Chapter(
        "accuracy",
        "Accuracy against the number of labels",
        "Look for what lies above the dotted line, a linear classifier on the same labels: making every layer linear "
        "makes the network one. The paper finds ICT[K] above ERM and mixup at all sizes, the more so the larger K.",
        exhibits,
        Listing(["method", *run], rows) if rows else None,
        [
            "Test accuracy in percent, mean over seeds and its 95% interval, without runs that collapsed or diverged: "
            "how many are left out is said."
        ],
    )


def _trainings(results: Results, run: Sequence[str]) -> Chapter:
    """Return test accuracy along training, and that of the runs that are left out of means."""
    exhibits = []
    for setting in (name for name in RUNS_SHOWN if name in run):
        exhibit = curves_exhibit(
            results,
            setting,
            METHODS,
            ACCURACY,
            title=f"Test accuracy, {setting}",
            y_title="test accuracy (%)",
            factor=PERCENT,
        )
        left_out = [
            Series(
                f"{(METHODS | OTHERS)[method]}, {seed}, {outcome.problem.partition(':')[0]}",
                column(outcome, "curve", "epoch"),
                [PERCENT * value for value in column(outcome, "curve", ACCURACY)],
                is_reference=True,
            )
            for method in results.methods(setting)
            for seed, outcome in results.of(setting, method).items()
            if outcome.problem
        ]
        exhibits.append(Exhibit(**(vars(exhibit) | {"series": [*exhibit.series, *left_out], "is_wide": True})))
    return Chapter(
        "training",
        "Along training, and what collapses",
        "Eq. 2 asks the network to agree with itself. With the targets detached it does so by giving every image the "
        "same answer: look for dotted lines that fall to 10% while the weight of the loss rises, over the first 40%.",
        [exhibit for exhibit in exhibits if exhibit.series],
    )


def _by_labels(results: Results, sizes: Sequence[str], method: str, *, colour: int | None = None) -> Series:
    samples = [(labels_of(size), results.sample(size, method, percent(ACCURACY))) for size in sizes]
    return line_through(samples, name=(METHODS | OTHERS)[method], colour=colour)


def _percent(sample: Sample) -> str:
    left_out = f" ({len(sample.excluded)} left out)" if sample.excluded else ""
    if not sample.values:
        return left_out.strip(" ()") or "–"
    mean, low, high = mean_and_interval(PERCENT * value for value in sample.values.values())
    interval = f" [{low:.1f}, {high:.1f}]" if len(sample.values) > 1 else ""
    return f"{mean:.1f}{interval}{left_out}"
