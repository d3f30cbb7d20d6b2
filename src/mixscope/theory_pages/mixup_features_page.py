"""Page on where the features of blends should lie under a simplex classifier."""

import math
from collections.abc import Sequence

import torch

from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Page, Section
from mixscope.report.page_texts import page_texts
from mixscope.theory.channel.joint_scale import JointScale, classifier_scale, etf_threshold
from mixscope.theory.channel.joint_search import joint_optimum_check
from mixscope.theory.channel.mixed_features import mixup_features
from mixscope.theory.channel.shape import amplification, norm_ratio, transverse_density
from mixscope.theory.solution import Solution
from mixscope.theory.weight_law import BetaLaw, FiniteLaw, WeightLaw, log_odds_density
from mixscope.theory_pages.channel_sections import (
    curve_weights,
    penalty_name,
    place_section,
    shape_section,
    shape_table,
)
from mixscope.theory_pages.page_parts import number, shortcomings, told_on_the_page
from mixscope.theory_pages.theory_options import MixupFeaturesOptions

TEXTS = page_texts("mixscope.theory_pages", "mixup_features")
NO_MIXING = FiniteLaw((1.0,), (1.0,))
JOINT_PENALTIES = torch.logspace(-5, 0, 41, dtype=torch.float64).tolist()
NEAR_THRESHOLD = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 1.0)  # the length falls like a root
TABLE_PENALTIES = (1e-1, 1e-2, 1e-3, 5e-4, 1e-4, 1e-5)
CHECKED_SIZES = ((3, 2), (4, 3), (4, 2))  # the last has no room for a simplex
OFFSETS = torch.linspace(-10, 10, 401, dtype=torch.float64)


def mixup_features_page(options: MixupFeaturesOptions) -> Page:
    """Compute where blends should lie and return the page about it."""
    with told_on_the_page():
        solutions = {
            penalty: mixup_features(options.num_classes, curve_weights(), feature_penalty=penalty, scale=options.scale)
            for penalty in options.feature_penalty
        }
        table = shape_table(options)
        notes = [
            note
            for penalty, solution in solutions.items()
            for note in shortcomings(**{f"penalty {penalty:g}": solution})
        ]
        curves = {penalty: solution.value for penalty, solution in solutions.items()}
        has_channel = options.num_classes > 2
        sections = [place_section(options, curves, None if has_channel else table, notes)]
        sections += [shape_section(options, table)] if has_channel else []
        sections += [_density_section(options), _joint_section(options), _check_section()]
    values: dict[str, object] = {"residual": max(solution.residual for solution in solutions.values())}
    if has_channel:
        sizes = [{"feature_penalty": penalty, "scale": options.scale} for penalty in options.feature_penalty]
        values["amplifications"] = _span([amplification(options.num_classes, **size) for size in sizes])
        values["ratios"] = _span([norm_ratio(options.num_classes, **size) for size in sizes])
    return TEXTS.page(sections, lead="channel" if has_channel else "two_classes", options=options, **values)


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _density_section(options: MixupFeaturesOptions) -> Section:
    alpha = options.alpha
    lines = []
    for penalty in options.feature_penalty:
        density = transverse_density(
            OFFSETS, num_classes=options.num_classes, feature_penalty=penalty, scale=options.scale, alpha=alpha
        )
        lines.append(Line(penalty_name(penalty), OFFSETS.tolist(), density.tolist()))
    # The density of the logit of a Beta(alpha, alpha) weight, by change of variable.
    limit = log_odds_density(OFFSETS, alpha).exp()
    lines.append(Line("limit of small penalties", OFFSETS.tolist(), limit.tolist(), is_reference=True))
    more = "For alpha below 1 the density is infinite at both ends, where most blends are nearly unblended."
    figure = TEXTS.figure("transverse-density", lines, y_range=(0, 1.6 * float(limit.max())))
    return TEXTS.section("density", [figure], notes=[more] if alpha < 1 else [], alpha=alpha)


def _joint_section(options: MixupFeaturesOptions) -> Section:
    laws: dict[str, WeightLaw] = {f"mixup, alpha {options.alpha:g}": BetaLaw(options.alpha), "no mixing": NO_MIXING}
    ends = [math.sqrt(etf_threshold(options.num_classes, law)) for law in laws.values()]

    def joint(penalty: float, law: WeightLaw) -> Solution[JointScale]:
        return classifier_scale(options.num_classes, classifier_penalty=penalty, feature_penalty=penalty, law=law)

    lines = []
    for (name, law), end in zip(laws.items(), ends, strict=True):
        penalties = sorted(JOINT_PENALTIES + [end * part for part in NEAR_THRESHOLD])
        lines.append(Line(name, penalties, [joint(penalty, law).value.scale for penalty in penalties]))
    rows, notes = [], []
    for penalty in TABLE_PENALTIES:
        found = [joint(penalty, law) for law in laws.values()]
        notes += shortcomings(**{f"joint optimum at penalty {penalty:g}": found[0]})
        cells = [number(penalty)]
        for value in (solution.value for solution in found):
            cells.append("0 (collapsed)" if value.is_collapsed else number(value.scale))
            cells += [number(value.same_class), number(value.same_class_probability, digits=5)]
        rows.append(cells)
    figure = TEXTS.figure("joint-scale", lines)
    table = TEXTS.table("joint", rows)
    return TEXTS.section("joint", [figure], [table], notes=notes, ends=ends)


def _check_section() -> Section:
    law = FiniteLaw((0.5, 0.8, 1.0), (0.4, 0.3, 0.3))
    rows = []
    for num_classes, dim in CHECKED_SIZES:
        found = joint_optimum_check(
            num_classes,
            dim,
            classifier_penalty=0.05,
            feature_penalty=0.05,
            law=law,
            num_starts=2,
            generator=torch.Generator().manual_seed(0),
        ).value
        distances = [number(value, digits=2) for value in (found.gram_deviation, found.objective_gap)]
        rows.append([f"{num_classes} classes, {dim} dimensions", *distances, "yes" if found.is_simplex else "no"])
    return TEXTS.section("check", tables=[TEXTS.table("check", rows)])
