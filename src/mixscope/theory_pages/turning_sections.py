"""Sections on one draw of the random-feature model: when each direction turns, and a bound on the risk."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.generators import named_generator, sample_beta
from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Section, Table
from mixscope.report.page_texts import page_texts
from mixscope.theory.random_features.feature_experiment import FeatureSetting
from mixscope.theory.random_features.feature_flow import FeatureFlow, SquaredRisk, random_feature_flow, squared_risk
from mixscope.theory.random_features.teachers import all_pairs, span_teacher, tanh_features
from mixscope.theory.random_features.turning import TurningTimes, risk_bound, turning_times
from mixscope.theory_pages.page_parts import number

TEXTS = page_texts("mixscope.theory_pages", "random_features")
BOUND_TIMES = torch.logspace(-1, 8, 181, dtype=torch.float64)
FEATURE_BOUND = 1.0  # |phi|^2 of tanh features


@dataclass(frozen=True)
class FeatureDraw:
    """One draw of everything.

    Attributes:
        flow: Training on blends with blended labels.
        clean_labels: (M,) float64, the labels the teacher gives the blends.
        risk: The population's squared error.
    """

    flow: FeatureFlow
    clean_labels: Tensor
    risk: SquaredRisk


def draw_features(setting: FeatureSetting) -> FeatureDraw:
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
    return FeatureDraw(flow, teacher(blends), squared_risk(features(test_inputs), teacher(test_inputs)))


def modes_section(setting: FeatureSetting) -> Section:
    """Return the section on the turning time of every direction."""
    draw = draw_features(setting)
    times = turning_times(draw.flow, draw.clean_labels)
    turns = times.is_turning
    curvatures = times.curvatures.tolist()
    lines = [
        Line("exactly", times.curvatures[turns].tolist(), times.exact[turns].tolist(), is_marked=True),
        Line("by the bound", curvatures, times.bound.tolist(), is_marked=True),
        Line("1 / μ", curvatures, (1 / times.curvatures).tolist(), is_reference=True),
    ]
    figure = TEXTS.figure("turning", lines)
    return TEXTS.section("modes", [figure], [_mode_table(times)], count=len(turns), turning=int(turns.sum()))


def _mode_table(times: TurningTimes) -> Table:
    grows = (~times.is_turning) & (times.exact == 0)
    falls = (~times.is_turning) & (times.exact == math.inf)
    rows = [
        [name, str(int(chosen.sum())), number(float(times.noises[chosen].square().sum()), digits=3)]
        for name, chosen in (("falls, then rises", times.is_turning), ("only grows", grows), ("only falls", falls))
    ]
    return TEXTS.table("modes", rows)


def bound_section(setting: FeatureSetting) -> Section:
    """Return the section on the bound on the risk, and how loose it is."""
    draw = draw_features(setting)
    star = draw.flow.with_targets(draw.clean_labels)
    clean_risk = float(draw.risk.of(star.end))
    bound = risk_bound(
        draw.flow, draw.clean_labels, times=BOUND_TIMES, feature_bound=FEATURE_BOUND, clean_risk=clean_risk
    )
    excess = draw.risk.of(draw.flow.at(BOUND_TIMES)) - clean_risk
    times = BOUND_TIMES.tolist()
    curves = {"true": excess, "bound": bound.total, "bound that knows the noise": bound.known_noise}
    lines = [Line(name, times, values.tolist()) for name, values in curves.items()]
    figure = TEXTS.figure("risk-bound", lines)
    rows = [
        [name, number(times[int(values.argmin())], digits=3), number(float(values[-1]), digits=3)]
        for name, values in curves.items()
    ]
    table = TEXTS.table("bound", rows)
    ratio = float((bound.total / excess.clamp(min=1e-300)).quantile(0.5))
    return TEXTS.section("bound", [figure], [table], ratio=number(ratio, digits=2))
