"""Page on random features: why training on blends may turn from help to harm, when, and a bound on the risk."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixscope.base.generators import named_generator, sample_beta
from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Figure, Page, Section
from mixscope.report.page_texts import page_texts
from mixscope.theory.random_features.feature_experiment import (
    FeatureExperiment,
    FeatureSetting,
    RiskCurves,
    random_feature_experiment,
)
from mixscope.theory.random_features.feature_flow import FeatureFlow, SquaredRisk, random_feature_flow, squared_risk
from mixscope.theory.random_features.teachers import all_pairs, span_teacher, tanh_features, two_layer_teacher
from mixscope.theory.random_features.turning import risk_bound, turning_times
from mixscope.theory_pages.page_parts import number, numbers, told_on_the_page
from mixscope.theory_pages.theory_options import RandomFeaturesOptions

TEXTS = page_texts("mixscope.theory_pages", "random_features")
TIMES = torch.cat([torch.logspace(-1, 8, 181, dtype=torch.float64), torch.tensor([torch.inf], dtype=torch.float64)])
SIZE_FACTORS = (0.75, 1.0, 1.5, 2.5, 4.0)
MOST_EXAMPLES = 100  # in the table: blends are the square of it
TABLE_ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0, 8.0)
TABLE_SEEDS = 10
BANDS = ("mixup", "mixup with clean labels")
FEATURE_BOUND = 1.0  # |phi|^2 of tanh features


@told_on_the_page()
def random_features_page(options: RandomFeaturesOptions) -> Page:
    """Run the teacher and student and return the page about them."""
    setting = FeatureSetting(options.num_examples, options.input_dim, options.num_features, alpha=options.alpha)
    experiment, draw = _run(setting, options.seeds), _draw_features(setting)
    repetitions = "one repetition" if options.seeds == 1 else f"{options.seeds} repetitions"
    mixup, turning = experiment.mixup, int(experiment.mixup.is_u_shaped.sum())
    return TEXTS.page(
        [
            _risk_section(experiment),
            _distance_section(experiment),
            _setting_section(setting, min(options.seeds, TABLE_SEEDS)),
            _modes_section(draw),
            _bound_section(draw),
            _outside_section(_run(setting, options.seeds, draw_teacher=two_layer_teacher)),
        ],
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
    return {words: getattr(experiment, name) for name, words in TEXTS.names("methods").items()}


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
    return TEXTS.section("risk", [figure], [TEXTS.table("risk", rows)])


def _distance_section(experiment: FeatureExperiment) -> Section:
    lines = [
        _median_line("mixup", experiment.distances, colour=0, has_band=True),
        _median_line("mixup with clean labels", experiment.clean_distances, colour=2, has_band=True),
    ]
    noise = number(_median(experiment.label_noise), digits=3)
    return TEXTS.section("distance", [TEXTS.figure("distances", lines)], noise=noise)


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
    return TEXTS.section("settings", tables=[TEXTS.table("settings", rows)])


def _outside_section(experiment: FeatureExperiment) -> Section:
    figure = _risks("outside-risks", dict(list(_methods(experiment).items())[:3]))
    clean = experiment.clean
    return TEXTS.section("outside", [figure], clean=int(clean.is_u_shaped.sum()), count=len(clean.risks))


class _Draw(NamedTuple):
    """Training on blends with blended labels, the teacher's labels of the blends, and the population's error."""

    flow: FeatureFlow
    clean_labels: Tensor
    risk: SquaredRisk


def _draw_features(setting: FeatureSetting) -> _Draw:
    """Draw teacher, examples and blends, always the same for a setting."""

    def stream(purpose: str) -> torch.Generator:
        return named_generator(0, f"theory page: {purpose}")

    features = tanh_features(setting.input_dim, setting.num_features, generator=stream("features"))
    teacher = span_teacher(features, generator=stream("teacher"))
    sizes = (setting.num_examples, setting.input_dim), (setting.num_test, setting.input_dim)
    inputs, test_inputs = (
        torch.randn(*size, dtype=torch.float64, generator=stream(purpose))
        for size, purpose in zip(sizes, ("inputs", "test"), strict=True)
    )
    pairs = all_pairs(sample_beta(setting.alpha, setting.num_examples**2, generator=stream("weights")))
    blends = pairs.blend(inputs)
    flow = random_feature_flow(features(blends), pairs.blend(teacher(inputs))).value
    return _Draw(flow, teacher(blends), squared_risk(features(test_inputs), teacher(test_inputs)))


def _modes_section(draw: _Draw) -> Section:
    """Show the turning time of every direction."""
    times = turning_times(draw.flow, draw.clean_labels)
    turns = times.is_turning
    curvatures = times.curvatures.tolist()
    lines = [
        Line("exactly", times.curvatures[turns].tolist(), times.exact[turns].tolist(), is_marked=True),
        Line("by the bound", curvatures, times.bound.tolist(), is_marked=True),
        Line("1 / μ", curvatures, (1 / times.curvatures).tolist(), is_reference=True),
    ]
    grows, falls = (~turns & (times.exact == end) for end in (0, math.inf))
    rows = [
        [name, str(int(chosen.sum())), number(float(times.noises[chosen].square().sum()), digits=3)]
        for name, chosen in (("falls, then rises", turns), ("only grows", grows), ("only falls", falls))
    ]
    figures, tables = [TEXTS.figure("turning", lines)], [TEXTS.table("modes", rows)]
    return TEXTS.section("modes", figures, tables, count=len(turns), turning=int(turns.sum()))


def _bound_section(draw: _Draw) -> Section:
    """Show the bound on the risk, and how loose it is."""
    ends, times = TIMES[:-1], TIMES[:-1].tolist()
    clean_risk = float(draw.risk.of(draw.flow.with_targets(draw.clean_labels).end))
    bound = risk_bound(draw.flow, draw.clean_labels, times=ends, feature_bound=FEATURE_BOUND, clean_risk=clean_risk)
    excess = draw.risk.of(draw.flow.at(ends)) - clean_risk
    curves = {"true": excess, "bound": bound.total, "bound that knows the noise": bound.known_noise}
    lines = [Line(name, times, values.tolist()) for name, values in curves.items()]
    rows = [
        [name, number(times[int(values.argmin())], digits=3), number(float(values[-1]), digits=3)]
        for name, values in curves.items()
    ]
    ratio = number(float((bound.total / excess.clamp(min=1e-300)).quantile(0.5)), digits=2)
    return TEXTS.section("bound", [TEXTS.figure("risk-bound", lines)], [TEXTS.table("bound", rows)], ratio=ratio)
