"""The page on where the features of blends should lie under a simplex classifier."""

import math
from collections.abc import Sequence

import torch

from mixscope.report.document import Chapter, Exhibit, Listing, Series
from mixscope.theory.channel.joint_scale import JointScale, classifier_scale, etf_threshold
from mixscope.theory.channel.joint_search import joint_optimum_check
from mixscope.theory.channel.mixed_features import mixup_features
from mixscope.theory.channel.shape import transverse_density
from mixscope.theory.solution import Solution
from mixscope.theory.weight_law import BetaLaw, FiniteLaw, WeightLaw, log_odds_density
from mixscope.theory_pages.channel_chapters import (
    ChannelShape,
    channel_shape,
    curve_weights,
    penalty_name,
    place_chapter,
    shape_chapter,
    shape_listing,
)
from mixscope.theory_pages.page_parts import TheoryPage, number, shortcomings, told_on_the_page
from mixscope.theory_pages.theory_options import MixupFeaturesOptions

SOURCE = (
    "Source: Fisher et al. 2024, the unconstrained model of their section 3; the solutions are derived and tested here."
)
NO_MIXING = FiniteLaw((1.0,), (1.0,))
JOINT_PENALTIES = torch.logspace(-5, 0, 41, dtype=torch.float64).tolist()
NEAR_THRESHOLD = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 1.0)  # the length falls like a root
TABLE_PENALTIES = (1e-1, 1e-2, 1e-3, 5e-4, 1e-4, 1e-5)
CHECKED_SIZES = ((3, 2), (4, 3), (4, 2))  # the last has no room for a simplex


def mixup_features_page(options: MixupFeaturesOptions) -> TheoryPage:
    """Compute where blends should lie and return the page about it.

    Args:
        options: Sizes and penalties.
    """
    with told_on_the_page():
        solutions = {
            penalty: mixup_features(options.num_classes, curve_weights(), feature_penalty=penalty, scale=options.scale)
            for penalty in options.feature_penalty
        }
        shapes = {penalty: channel_shape(options, penalty) for penalty in options.feature_penalty}
        joint = _joint_chapter(options)
        check = _check_chapter()
    notes = [SOURCE]
    for penalty, solution in solutions.items():
        notes += shortcomings(**{f"penalty {penalty:g}": solution})
    curves = {penalty: solution.value for penalty, solution in solutions.items()}
    listing = shape_listing(options, shapes)
    chapters = [place_chapter(options, curves, notes=notes)]
    if options.num_classes > 2:
        chapters.append(shape_chapter(options, listing))
    chapters += [_density_chapter(options), joint, check]
    assert joint.listing is not None
    return TheoryPage(
        title="Where mixup should put the features of blends",
        lead=_lead(options, shapes),
        facts=f"{options.num_classes} classes, classifier rows of length {options.scale:g}, "
        f"weights from Beta({options.alpha:g}, {options.alpha:g}). Exact solutions in float64, "
        f"largest relative residual {max(solution.residual for solution in solutions.values()):.1e}.",
        chapters=chapters,
        tables=[("Blends of two classes", listing), ("Classifier and features together", joint.listing)],
    )


def _lead(options: MixupFeaturesOptions, shapes: dict[float, ChannelShape]) -> str:
    if options.num_classes == 2:
        return (
            "With two classes blends stay on the line between the two classes, but not evenly: their place is the "
            "logarithm of the odds w / (1 − w), not w itself. A network trained with mixup and cross-entropy should "
            "show slope 1 of its logit difference against those log-odds; squared error spaces blends evenly."
        )
    amplifications = _span([shape.amplification for shape in shapes.values()])
    ratios = _span([shape.norm_ratio for shape in shapes.values()])
    return (
        f"A network trained with mixup should not put an even blend half-way between its two classes, but "
        f"{amplifications} times as far out, at {ratios} times the length of an unblended example's feature: blends of "
        "two classes form a channel along the decision boundary. Trained with squared error it should put them on a "
        "straight line, evenly."
    )


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _density_chapter(options: MixupFeaturesOptions) -> Chapter:
    offsets = torch.linspace(-10, 10, 401, dtype=torch.float64)
    alpha = options.alpha
    # The density of the logit of a Beta(alpha, alpha) weight, by change of variable.
    limit = log_odds_density(offsets, alpha).exp()
    series = [
        Series(
            penalty_name(penalty),
            offsets.tolist(),
            transverse_density(
                offsets,
                num_classes=options.num_classes,
                feature_penalty=penalty,
                scale=options.scale,
                alpha=alpha,
            ).tolist(),
        )
        for penalty in options.feature_penalty
    ]
    exhibit = Exhibit(
        "transverse-density",
        "How often a blend lies there",
        [*series, Series("limit of small penalties", offsets.tolist(), limit.tolist(), is_reference=True)],
        x_title="x1 − x2, nats (0 is the boundary)",
        y_title="density per nat",
        y_range=(0, 1.6 * float(limit.max())),
        is_wide=True,
    )
    text = (
        "Blends of two different classes, seen along the boundary. Look for a crowd in the middle even though all "
        "weights may be equally likely: equal steps of the weight move a blend least where it is even. The curves end "
        "where the unblended examples lie."
    )
    notes = [f"The weights' law, Beta({alpha:g}, {alpha:g}), carried over to x1 − x2; derived."]
    if alpha < 1:
        notes.append("For alpha below 1 the density is infinite at both ends, where most blends are nearly unblended.")
    return Chapter("density", "How densely blends lie", text, [exhibit], notes=notes)


def _joint(num_classes: int, penalty: float, law: WeightLaw) -> Solution[JointScale]:
    return classifier_scale(num_classes, classifier_penalty=penalty, feature_penalty=penalty, law=law)


def _joint_chapter(options: MixupFeaturesOptions) -> Chapter:
    laws: dict[str, WeightLaw] = {f"mixup, alpha {options.alpha:g}": BetaLaw(options.alpha), "no mixing": NO_MIXING}
    ends = [math.sqrt(etf_threshold(options.num_classes, law)) for law in laws.values()]
    series = []
    for (name, law), end in zip(laws.items(), ends, strict=True):
        penalties = sorted(JOINT_PENALTIES + [end * part for part in NEAR_THRESHOLD])
        scales = [_joint(options.num_classes, penalty, law).value.scale for penalty in penalties]
        series.append(Series(name, penalties, scales))
    rows, notes = [], ["Fisher et al. 2024 assume the simplex; that it is the optimum is derived here."]
    for penalty in TABLE_PENALTIES:
        found = [_joint(options.num_classes, penalty, law) for law in laws.values()]
        notes += shortcomings(**{f"joint optimum at penalty {penalty:g}": found[0]})
        cells = [number(penalty)]
        for value in (solution.value for solution in found):
            cells += [
                "0 (collapsed)" if value.is_collapsed else number(value.scale),
                number(value.same_class),
                number(value.same_class_probability, digits=5),
            ]
        rows.append(cells)
    columns = ["both penalties"] + [
        f"{quantity}, {name}" for name in ("mixup", "no mixing") for quantity in ("row length", "logit", "probability")
    ]
    exhibit = Exhibit(
        "joint-scale",
        "Length of the classifier's rows at the joint optimum",
        series,
        x_title="both penalties",
        y_title="row length m",
        log_x=True,
        is_wide=True,
    )
    text = (
        "With a penalty on the classifier too, its optimum is a simplex of the length drawn here, or zero. Look for "
        f"the cliff: with equal penalties mixup's classifier vanishes from {ends[0]:.4g} on, without mixing it "
        f"vanishes from {ends[1]:.4g}. The product of the two penalties decides; the row length also depends on their "
        "ratio."
    )
    return Chapter("joint", "Classifier and features together", text, [exhibit], Listing(columns, rows), notes)


def _check_chapter() -> Chapter:
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
        rows.append(
            [
                f"{num_classes} classes, {dim} dimensions",
                number(found.gram_deviation, digits=2),
                number(found.objective_gap, digits=2),
                "yes" if found.is_simplex else "no",
            ]
        )
    text = (
        "The same problem given to a generic minimiser from random starts, with nothing assumed about the classifier. "
        "Look for deviations near rounding where there is room for a simplex, and for none where there is not "
        "(fewer dimensions than classes minus one)."
    )
    columns = ["problem", "distance of W Wᵀ from a simplex's", "objective above the simplex's", "a simplex?"]
    notes = ["Penalties 0.05, weights 0.5, 0.8 and 1; a numerical check of the derivation."]
    return Chapter("check", "Is the classifier really a simplex?", text, listing=Listing(columns, rows), notes=notes)
