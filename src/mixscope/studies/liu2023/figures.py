"""Figures of trained networks in the study of Liu et al. 2023: curves, turns, geometry, switches."""

import math
from dataclasses import replace

import torch

from mixscope.metrics.overtraining.curve_intervals import end_minus_best, turning_epoch
from mixscope.report.document import Chapter, Exhibit, Listing, Series
from mixscope.stats.numbers import interval_text, number_text
from mixscope.studies.engine.evidence_sources import PERCENT
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.seed_figures import after_start, curves_exhibit, exhibit_name, line_through, points_series
from mixscope.studies.liu2023.evidence import ERROR, LOSS, WINDOW, decay, last_error, looks
from mixscope.studies.liu2023.settings import (
    ALPHAS,
    AUTO,
    DIGITS_EPOCHS,
    ERM,
    MIXUP,
    SWITCHES,
    switched,
)

NAMES = {ERM: "ERM", MIXUP: "mixup", AUTO: "mixup, automatic switch-off"}
SIDES = {
    MIXUP: "mixup, alpha 1, weight decay 0.0001",
    **{f"mixup-alpha-{alpha:g}": f"alpha {alpha:g}" for alpha in ALPHAS},
    "mixup-decay-0": "no weight decay",
    "mixup-decay-0.001": "weight decay 0.001",
    "mixup-squared": "mixup, squared error",
    "erm-squared": "ERM, squared error",
}
TEST_ERROR = "test error, %"
TITLES = {
    "fashion-mnist-500": "500 images of Fashion-MNIST, convnet",
    "fashion-mnist-500-augmented": "500 images of Fashion-MNIST, cropped and mirrored, convnet",
    "cifar10-500": "500 images of CIFAR-10, convnet",
    "cifar10-500-augmented": "500 images of CIFAR-10, cropped and mirrored, convnet",
}


def network_chapters(results: Results) -> list[Chapter]:
    """Return the chapters about trained networks that there are runs for."""
    chapters = [
        _curves_chapter(results),
        _turns_chapter(results),
        _size_chapter(results),
        _sides_chapter(results),
        _switch_chapter(results),
        _geometry_chapter(results),
    ]
    return [chapter for chapter in chapters if chapter.exhibits or (chapter.listing and chapter.listing.rows)]


def title_of(setting: str) -> str:
    """Return a setting in words."""
    return TITLES.get(setting, setting.replace("digits-", "digits, MLP, training images: "))


def settings_of(results: Results) -> list[str]:
    """Return the settings on which networks are trained, in the order of the trials."""
    settings = dict.fromkeys(trial.setting for trial in results.trials)
    return [setting for setting in settings if results.of(setting, ERM) or results.of(setting, MIXUP)]


def shown(exhibits: list[Exhibit]) -> list[Exhibit]:
    """Leave out exhibits without a line, and what has no place on a logarithmic axis: it would stretch the other."""
    kept = [replace(item, series=[after_start(line) for line in item.series]) for item in exhibits]
    return [item for item in kept if item.series]


def _curves_chapter(results: Results) -> Chapter:
    exhibits = []
    for setting in settings_of(results):
        for key, title in ((ERROR, TEST_ERROR), (LOSS, "test cross-entropy, nats")):
            exhibits.append(
                curves_exhibit(
                    results,
                    setting,
                    {ERM: "ERM", MIXUP: "mixup"},
                    key,
                    title=title_of(setting),
                    y_title=title,
                    factor=PERCENT if key == ERROR else 1,
                    log_x=True,
                )
            )
    text = (
        "The paper's finding: with mixup the test error falls and then rises again, and plain training (ERM) has no "
        "such rise. Look at the right half of each figure, where mixup's line should leave its lowest point. Where it "
        "does not, the training was too short for it, or it does not happen."
    )
    notes = ["Means over seeds with 95% intervals; the seed draws the images too. Epochs are on a logarithmic axis."]
    return Chapter("curves", "Test error and loss through long training", text, shown(exhibits), notes=notes)


def _turns_chapter(results: Results) -> Chapter:
    rows = []
    for setting in settings_of(results):
        for method in results.methods(setting):
            row = _turn_row(results, setting, method)
            if row:
                rows.append([f"{setting}, {method}", *row])
    text = (
        "Of the mean curve over seeds, averaged over three looks: where it is lowest, and how far above that it ends. "
        "A turn at the last look is none. The rise of a curve of pure noise would be small and above 0, so compare a "
        "method with ERM on the same set."
    )
    columns = ["runs", "seeds", "lowest, %", "at epoch", "end, %", "end less lowest, points"]
    notes = ["Intervals are bootstrapped over seeds; with three seeds they are too narrow."]
    return Chapter("turns", "Where it turns", text, listing=Listing(columns, rows), notes=notes)


def _turn_row(results: Results, setting: str, method: str) -> list[str]:
    curves = [looks(outcome, ERROR) for outcome in results.of(setting, method).values() if not outcome.problem]
    if not curves:
        return []
    heights = PERCENT * torch.tensor([curve for _, curve in curves], dtype=torch.float64)
    turn = turning_epoch(
        heights, generator=torch.Generator().manual_seed(0), epochs=[int(e) for e in curves[0][0]], window=WINDOW
    )
    rise = end_minus_best(heights, generator=torch.Generator().manual_seed(0), window=WINDOW)
    end = float(heights[:, -1].mean())
    return [
        str(len(curves)),
        number_text(end - rise.value),
        f"{turn.value:.0f} [{turn.low:.0f}, {turn.high:.0f}]",
        number_text(end),
        interval_text(rise.value, rise.low, rise.high),
    ]


def _size_chapter(results: Results) -> Chapter:
    sizes = {setting: float(setting.removeprefix("digits-")) for setting in DIGITS_EPOCHS}
    lines = [
        line_through(
            [(size, results.sample(setting, method, decay)) for setting, size in sizes.items()],
            name=NAMES[method],
            colour=colour,
        )
        for colour, method in enumerate((ERM, MIXUP, AUTO))
    ]
    exhibits = [
        Exhibit(
            "decay-by-size",
            "Rise of the test error by the number of digits",
            [line for line in lines if line.x],
            x_title="training images",
            y_title="end less lowest, percentage points",
            log_x=True,
        )
    ]
    text = (
        "The paper finds the rise larger with less data. Look for mixup's line to fall from left to right, and for ERM "
        "and the automatic switch to lie near 0."
    )
    return Chapter("size", "Less data, larger rise", text, shown(exhibits))


def _sides_chapter(results: Results) -> Chapter:
    exhibits = [
        curves_exhibit(
            results,
            "digits-200",
            {method: SIDES[method] for method in methods},
            ERROR,
            title=title,
            y_title=TEST_ERROR,
            factor=PERCENT,
            log_x=True,
            name=name,
        )
        for name, title, methods in (
            ("alphas", "Other laws of the weight", ("mixup", *(f"mixup-alpha-{alpha:g}" for alpha in ALPHAS))),
            ("decays", "Weight decay", ("mixup", "mixup-decay-0", "mixup-decay-0.001")),
            ("squared", "Squared error", ("erm-squared", "mixup-squared")),
        )
    ]
    exhibits = [exhibit for exhibit in shown(exhibits) if len(exhibit.series) > 1]
    text = (
        "200 digits. Look whether every alpha turns, whether strong weight decay takes the rise away, and whether the "
        "squared error, whose floor on blends is 0, behaves as the cross-entropy does."
    )
    return Chapter("sides", "Alpha, weight decay, squared error", text, exhibits)


def _switch_chapter(results: Results) -> Chapter:
    setting = "digits-200"
    methods = {switched(epoch): float(epoch) for epoch in SWITCHES}
    points = points_series(results, setting, methods, last_error, name="mixup until this epoch, then ERM", colour=0)
    span = [float(SWITCHES[0]), float(SWITCHES[-1])]
    lines = [
        Series(f"{NAMES[method]} throughout", span, [mean, mean], is_reference=method == ERM, colour=1)
        for method in (ERM, MIXUP)
        for mean in _means(results, setting, method)
    ]
    epochs = results.sample(setting, AUTO, "mixing_off_after").values
    errors = results.sample(setting, AUTO, last_error).values
    autos = [(epoch, errors[seed]) for seed, epoch in epochs.items() if math.isfinite(epoch)]
    automatic = Series("automatic, each seed", [e for e, _ in autos], [y for _, y in autos], is_marked=True, colour=2)
    exhibits = (
        [
            Exhibit(
                "switches",
                "Test error after 2,000 epochs by the epoch of the switch",
                [points, *lines, automatic] if autos else [points, *lines],
                x_title="epoch after which mixing stops",
                y_title=TEST_ERROR,
                log_x=True,
            )
        ]
        if points.x
        else []
    )
    exhibits += [
        curves_exhibit(
            results,
            setting,
            {method: NAMES.get(method, method) for method in (ERM, MIXUP, switched(20), switched(200), AUTO)},
            ERROR,
            title="Test error around the switch, 200 digits",
            y_title=TEST_ERROR,
            factor=PERCENT,
            log_x=True,
            name="switch-curves",
        )
    ]
    text = (
        "Mixing stops, and training goes on plainly. Look for the error to drop at the switch and to stay down. The "
        "paper is recalled to find too early a switch no better than ERM and too late a one no repair: compare the "
        "ends of the left figure with its two lines."
    )
    return Chapter("switch", "Switching mixup off", text, shown(exhibits))


def _means(results: Results, setting: str, method: str) -> list[float]:
    values = list(results.sample(setting, method, last_error).values.values())
    return [sum(values) / len(values)] if values else []


def _geometry_chapter(results: Results) -> Chapter:
    exhibits = [
        curves_exhibit(
            results,
            "digits-200",
            {ERM: "ERM", MIXUP: "mixup"},
            key,
            title=title,
            y_title=y_title,
            table="measured",
            log_x=True,
            log_y=True,
            name=exhibit_name("geometry", key),
        )
        for key, title, y_title in (
            ("train/objective_gradient_norm", "Gradient of each method's own objective", "length of the full gradient"),
            ("train/sharpness", "Sharpness of the loss on clean images", "rise of the loss at radius 0.3, nats"),
        )
    ]
    text = (
        "200 digits. Recalled of the paper: under mixup the gradient does not vanish, and the minimum grows sharper. "
        "Look for mixup's gradient to stay orders of magnitude above that of ERM, and whether its sharpness rises "
        "towards the end."
    )
    return Chapter("geometry", "Gradient and sharpness", text, shown(exhibits))
