"""Figures of trained networks in the study of Liu et al. 2023: curves, turns, geometry, switches."""

import math

import torch

from mixscope.metrics.overtraining.curve_intervals import end_minus_best, turning_epoch
from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Section, present
from mixscope.report.page_texts import page_texts
from mixscope.stats.numbers import interval_text, number_text
from mixscope.studies.engine.evidence_sources import PERCENT
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.seed_figures import curves_figure, line_through, points_line
from mixscope.studies.liu2023.evidence import ERROR, WINDOW, decay, last_error, looks
from mixscope.studies.liu2023.settings import ALPHAS, AUTO, DIGITS_EPOCHS, ERM, MIXUP, SWITCHES, switched

TEXTS = page_texts("mixscope.studies.liu2023", "sections")

BOTH = {ERM: "ERM", MIXUP: "mixup"}
NAMES = {ERM: "ERM", MIXUP: "mixup", AUTO: "mixup, automatic switch-off"}
SIDES = {
    MIXUP: "mixup, alpha 1, weight decay 0.0001",
    **{f"mixup-alpha-{alpha:g}": f"alpha {alpha:g}" for alpha in ALPHAS},
    "mixup-decay-0": "no weight decay",
    "mixup-decay-0.001": "weight decay 0.001",
    "mixup-squared": "mixup, squared error",
    "erm-squared": "ERM, squared error",
}
DIGITS = "digits-200"  # where most of the study's runs are
TITLES = {
    "fashion-mnist-500": "500 images of Fashion-MNIST, convnet",
    "fashion-mnist-500-augmented": "500 images of Fashion-MNIST, cropped and mirrored, convnet",
    "cifar10-500": "500 images of CIFAR-10, convnet",
    "cifar10-500-augmented": "500 images of CIFAR-10, cropped and mirrored, convnet",
}


def network_sections(results: Results) -> list[Section]:
    """Return the sections about trained networks that there are runs for."""
    builders = (_curves, _turns, _sizes, _sides, _switches, _geometry)
    return present([build(results) for build in builders])


def title_of(setting: str) -> str:
    """Return a setting in words."""
    return TITLES.get(setting, setting.replace("digits-", "digits, MLP, training images: "))


def settings_of(results: Results) -> list[str]:
    """Return the settings on which networks are trained, in the order of the trials."""
    settings = dict.fromkeys(trial.setting for trial in results.trials)
    return [setting for setting in settings if results.of(setting, ERM) or results.of(setting, MIXUP)]


def _curves(results: Results) -> Section:
    return TEXTS.section(
        "curves",
        [
            curves_figure(TEXTS, key, results, setting, BOTH, title=title_of(setting))
            for setting in settings_of(results)
            for key in ("error", "loss")
        ],
    )


def _turns(results: Results) -> Section:
    rows = []
    for setting in settings_of(results):
        for method in results.methods(setting):
            row = _turn_row(results, setting, method)
            if row:
                rows.append([f"{setting}, {method}", *row])
    return TEXTS.section("turns", tables=[TEXTS.table("turns", rows)])


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


def _sizes(results: Results) -> Section:
    sizes = {setting: float(setting.removeprefix("digits-")) for setting in DIGITS_EPOCHS}
    lines = [
        line_through(
            [(size, results.sample(setting, method, decay)) for setting, size in sizes.items()],
            name=NAMES[method],
            colour=colour,
        )
        for colour, method in enumerate((ERM, MIXUP, AUTO))
    ]
    return TEXTS.section("size", [TEXTS.figure("decay-by-size", lines)])


def _sides(results: Results) -> Section:
    panels = (
        ("alphas", "Other laws of the weight", ("mixup", *(f"mixup-alpha-{alpha:g}" for alpha in ALPHAS))),
        ("decays", "Weight decay", ("mixup", "mixup-decay-0", "mixup-decay-0.001")),
        ("squared", "Squared error", ("erm-squared", "mixup-squared")),
    )
    figures = []
    for name, title, methods in panels:
        named = {method: SIDES[method] for method in methods}
        figures.append(curves_figure(TEXTS, "error", results, DIGITS, named, name=name, title=title))
    shown = [figure for figure in figures if figure is not None and len(figure.key) > 1]
    return TEXTS.section("sides", shown)


def _switches(results: Results) -> Section:
    places = {switched(epoch): float(epoch) for epoch in SWITCHES}
    points = points_line(results, DIGITS, places, last_error, name="mixup until this epoch, then ERM", colour=0)
    span = [float(SWITCHES[0]), float(SWITCHES[-1])]
    throughout = [
        Line(f"{NAMES[method]} throughout", span, [mean, mean], is_reference=method == ERM, colour=1)
        for method in (ERM, MIXUP)
        for mean in _means(results, method)
    ]
    epochs = results.sample(DIGITS, AUTO, "mixing_off_after").values
    errors = results.sample(DIGITS, AUTO, last_error).values
    autos = [(epoch, errors[seed]) for seed, epoch in epochs.items() if math.isfinite(epoch)]
    columns = [epoch for epoch, _ in autos], [error for _, error in autos]
    lines = [points, *throughout, Line("automatic, each seed", *columns, is_marked=True, colour=2)]
    title = "Test error around the switch, 200 digits"
    around = {method: NAMES.get(method, method) for method in (ERM, MIXUP, switched(20), switched(200), AUTO)}
    figures = [
        TEXTS.figure("switches", lines) if points.x else None,
        curves_figure(TEXTS, "error", results, DIGITS, around, name="switch-curves", title=title),
    ]
    return TEXTS.section("switch", figures)


def _means(results: Results, method: str) -> list[float]:
    values = list(results.sample(DIGITS, method, last_error).values.values())
    return [sum(values) / len(values)] if values else []


def _geometry(results: Results) -> Section:
    figures = [curves_figure(TEXTS, key, results, DIGITS, BOTH) for key in ("gradient", "sharpness")]
    return TEXTS.section("geometry", figures)
