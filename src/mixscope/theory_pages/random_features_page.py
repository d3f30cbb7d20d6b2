"""Page on random features: why training on blends may turn from help to harm, and when."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mixscope.report.figures.line_figure import Axes, Line, line_figure
from mixscope.report.page import Figure, Page, Section, Table
from mixscope.theory.random_features.feature_experiment import (
    FeatureExperiment,
    FeatureSetting,
    RiskCurves,
    random_feature_experiment,
)
from mixscope.theory.random_features.teachers import two_layer_teacher
from mixscope.theory_pages.page_parts import number, numbers, told_on_the_page
from mixscope.theory_pages.theory_options import RandomFeaturesOptions
from mixscope.theory_pages.turning_sections import bound_section, modes_section

SOURCE = "Source: after Liu et al. 2023 (teacher, student and switch); sizes, clean twin and feature blends are ours."
TIMES = torch.cat([torch.logspace(-1, 8, 181, dtype=torch.float64), torch.tensor([torch.inf], dtype=torch.float64)])
SIZE_FACTORS = (0.75, 1.0, 1.5, 2.5, 4.0)
MOST_EXAMPLES = 100  # in the table: blends are the square of it
TABLE_ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0, 8.0)
TABLE_SEEDS = 10
BANDS = ("mixup", "mixup with clean labels")
SHOWN_TIMES = (1.0, 1e6)
RISKS = Axes("time (learning rate × steps)", "test risk, squared error", log_x=True, x_range=SHOWN_TIMES)


def random_features_page(options: RandomFeaturesOptions) -> Page:
    """Run the teacher and student and return the page about them.

    Args:
        options: Sizes and laws.
    """
    setting = FeatureSetting(options.num_examples, options.input_dim, options.num_features, alpha=options.alpha)
    with told_on_the_page():
        experiment = _run(setting, options.seeds)
        outside = _run(setting, options.seeds, draw_teacher=two_layer_teacher)
        sections = [
            _risk_section(experiment),
            _distance_section(experiment),
            _setting_section(setting, min(options.seeds, TABLE_SEEDS)),
            modes_section(setting),
            bound_section(setting),
            _outside_section(outside),
        ]
    repetitions = "one repetition" if options.seeds == 1 else f"{options.seeds} repetitions"
    return Page(
        "When training on blends turns from help to harm",
        sections,
        lead=_lead(experiment),
        facts=f"{options.num_examples} examples ({options.num_examples**2} blends) of {options.input_dim} dimensions, "
        f"{options.num_features} tanh features, weights from Beta({options.alpha:g}, {options.alpha:g}), "
        f"{repetitions}. All times from one decomposition; nothing is simulated.",
    )


def _run(setting: FeatureSetting, seeds: int, **options: Any) -> FeatureExperiment:
    generator = torch.Generator().manual_seed(0)
    return random_feature_experiment(setting, num_repetitions=seeds, times=TIMES, generator=generator, **options)


def _median(values: Tensor) -> float:
    return float(values.quantile(0.5))


def _lead(experiment: FeatureExperiment) -> str:
    mixup, plain = experiment.mixup, experiment.plain
    turning, clean = int(mixup.is_u_shaped.sum()), int(experiment.clean.is_u_shaped.sum())
    kinds = f"{turning} of {len(mixup.risks)} repetitions"
    if not turning:
        return (
            f"At these sizes the test risk of mixup does not turn: it rises by more than 5% in {kinds}. Fewer examples "
            "or more features make the labels' errors matter."
        )
    return (
        f"Trained on blends, the test risk falls, turns at time {number(_median(mixup.best_times), digits=3)} (median) "
        f"and ends {_median(mixup.rises):.2f} times its best: a U in {kinds}, against "
        f"{clean} where the same blends have the labels of nature. Trained on the examples alone it ends "
        f"{_median(plain.rises):.2f} times its best. "
        "In a network, look for a test error that rises again late in training with mixup, sooner with less data, and "
        "for the cure: stop mixing."
    )


def _median_line(name: str, values: Tensor, *, colour: int, has_band: bool) -> Line:
    """Return the median over repetitions, without the infinite time; as a band the middle half of them."""
    low, middle, high = (values[:, :-1].quantile(level, dim=0).tolist() for level in (0.25, 0.5, 0.75))
    low, high = (low, high) if has_band else ([], [])
    return Line(name, TIMES[:-1].tolist(), middle, low, high, colour=colour)


def _methods(experiment: FeatureExperiment) -> dict[str, RiskCurves]:
    return {
        "mixup": experiment.mixup,
        "no mixing (ERM)": experiment.plain,
        "mixup with clean labels": experiment.clean,
        "mixup of features": experiment.feature_blends,
        "mixup, then none from this time on": experiment.switched,
    }


def _risks(name: str, methods: Mapping[str, RiskCurves], y_range: tuple[float, float] | None = None) -> Figure | None:
    lines = [
        _median_line(label, curves.risks, colour=place, has_band=label in BANDS)
        for place, (label, curves) in enumerate(methods.items())
    ]
    return line_figure(name, "Test risk over training", lines, replace(RISKS, y_range=y_range), is_wide=True)


def _ends(curves: RiskCurves) -> list[str]:
    """Return when the risk is best, what it is then and at the end."""
    return numbers(map(_median, (curves.best_times, curves.smallest, curves.end)), digits=3)


def _risk_section(experiment: FeatureExperiment) -> Section:
    methods = _methods(experiment)
    start, end = _median(experiment.mixup.risks[:, 0]), _median(experiment.mixup.end)
    figure = _risks("risks", methods, y_range=(0, max(1.5 * end, min(1.05 * start, 2.5 * end))))
    rows = [
        [name, *_ends(curves), f"{int(curves.is_u_shaped.sum())} of {len(curves.risks)}"]
        for name, curves in methods.items()
    ]
    columns = ["training", "best time", "risk then", "risk at the end", "rises by over 5%"]
    text = (
        "A student on fixed features learns a teacher that it could copy exactly. Look for mixup's line to fall first "
        "and rise later, for the clean labels on the same blends to take the rise away, and for blends of features to "
        "lie on the line of no mixing: there the labels of blends are right. The switching line shows the final risk "
        "when mixing stops at that time: best in between, not too late."
    )
    notes = [
        SOURCE,
        "Lines are medians, bands (mixup with both labels) the middle half of the repetitions. The teacher lies in "
        "the span of the features, so that the labels of blends are the only error that training can fit.",
    ]
    table = Table(columns, rows, title="Test risk over time (medians)")
    return Section("risk", "A fall and a rise", text, [figure], [table], notes)


def _distance_section(experiment: FeatureExperiment) -> Section:
    lines = [
        _median_line("mixup", experiment.distances, colour=0, has_band=True),
        _median_line("mixup with clean labels", experiment.clean_distances, colour=2, has_band=True),
    ]
    figure = line_figure("distances", "Distance from θ*", lines, replace(RISKS, y_title="|θ − θ*|"), is_wide=True)
    text = (
        "θ* is where training on the same blends with the right labels would end. Look for mixup to approach it and "
        "then leave for the solution that fits the wrong labels too; with clean labels the distance never rises, which "
        "is the safer sign of the two: test risk can rise for other reasons."
    )
    notes = [
        f"Standard deviation of the labels' error over the blends: {number(_median(experiment.label_noise), digits=3)} "
        "(median). Derived; after Liu et al. 2023, Lemma 5.1."
    ]
    return Section("distance", "What is learned by heart", text, [figure], notes=notes)


def _setting_section(setting: FeatureSetting, seeds: int) -> Section:
    sizes = sorted({max(2, round(factor * setting.num_examples)) for factor in SIZE_FACTORS})
    sizes = [size for size in sizes if size <= max(MOST_EXAMPLES, setting.num_examples)]
    settings = [(size, setting.alpha) for size in sizes]
    settings += [(setting.num_examples, alpha) for alpha in TABLE_ALPHAS if alpha != setting.alpha]
    rows = []
    for size, alpha in settings:
        curves = _run(replace(setting, num_examples=size, alpha=alpha), seeds).mixup
        turns = f"{int(curves.is_u_shaped.sum())} of {seeds}"
        rows.append([f"{size} examples, alpha {alpha:g}", *_ends(curves), f"{_median(curves.rises):.2f}", turns])
    columns = ["setting", "best time", "risk then", "risk at the end", "end / best", "rises by over 5%"]
    text = (
        "Look down the rows of one alpha: with more examples expect a later turn and a smaller rise. Look down the "
        "others: a small alpha makes weaker blends, and yet the larger rise, for the directions in which blends hardly "
        "differ from examples magnify the labels' errors most."
    )
    notes = ["Measured in this model; it says nothing about times in a network, only about what they depend on."]
    table = Table(columns, rows, title="Sizes and weights (medians, mixup)")
    return Section("settings", "What it depends on", text, tables=[table], notes=notes)


def _outside_section(experiment: FeatureExperiment) -> Section:
    figure = _risks("outside-risks", dict(list(_methods(experiment).items())[:3]))
    clean, repetitions = int(experiment.clean.is_u_shaped.sum()), len(experiment.clean.risks)
    text = (
        "The same with a teacher that the features cannot express. Look for the clean labels to turn as well, in "
        f"{clean} of {repetitions} repetitions here: a test risk that rises does not by itself prove that the labels "
        "are at fault."
    )
    return Section("outside", "A teacher out of reach", text, [figure], notes=["A control, measured here."])
