"""Page on random features: why training on blends may turn from help to harm, and when."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Figure, Page, Section
from mixscope.report.page_texts import page_texts
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

TEXTS = page_texts("mixscope.theory_pages", "random_features")
TIMES = torch.cat([torch.logspace(-1, 8, 181, dtype=torch.float64), torch.tensor([torch.inf], dtype=torch.float64)])
SIZE_FACTORS = (0.75, 1.0, 1.5, 2.5, 4.0)
MOST_EXAMPLES = 100  # in the table: blends are the square of it
TABLE_ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0, 8.0)
TABLE_SEEDS = 10
BANDS = ("mixup", "mixup with clean labels")
SHOWN_TIMES = (1.0, 1e6)


def random_features_page(options: RandomFeaturesOptions) -> Page:
    """Run the teacher and student and return the page about them."""
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
    mixup, turning = experiment.mixup, int(experiment.mixup.is_u_shaped.sum())
    return TEXTS.page(
        sections,
        lead="turn" if turning else "no_turn",
        options=options,
        num_blends=options.num_examples**2,
        repetitions=repetitions,
        turning=turning,
        count=len(mixup.risks),
        time=number(_median(mixup.best_times), digits=3),
        rise=_median(mixup.rises),
        clean=int(experiment.clean.is_u_shaped.sum()),
        plain=_median(experiment.plain.rises),
    )


def _run(setting: FeatureSetting, seeds: int, **options: Any) -> FeatureExperiment:
    generator = torch.Generator().manual_seed(0)
    return random_feature_experiment(setting, num_repetitions=seeds, times=TIMES, generator=generator, **options)


def _median(values: Tensor) -> float:
    return float(values.quantile(0.5))


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
    return TEXTS.figure("risks", lines, name=name, y_range=y_range)


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
    table = TEXTS.table("risk", rows)
    return TEXTS.section("risk", [figure], [table])


def _distance_section(experiment: FeatureExperiment) -> Section:
    lines = [
        _median_line("mixup", experiment.distances, colour=0, has_band=True),
        _median_line("mixup with clean labels", experiment.clean_distances, colour=2, has_band=True),
    ]
    figure = TEXTS.figure("distances", lines)
    return TEXTS.section("distance", [figure], noise=number(_median(experiment.label_noise), digits=3))


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
    table = TEXTS.table("settings", rows)
    return TEXTS.section("settings", tables=[table])


def _outside_section(experiment: FeatureExperiment) -> Section:
    figure = _risks("outside-risks", dict(list(_methods(experiment).items())[:3]))
    clean = experiment.clean
    return TEXTS.section("outside", [figure], clean=int(clean.is_u_shaped.sum()), count=len(clean.risks))
