"""Findings on one network by itself: did its classes collapse, where does it bend, and what nobody can tell of it."""

import math

from mixscope.report.figures.layer_figure import layer_spread, linearity_sites
from mixscope.report.runs.groups import Method
from mixscope.report.runs.spread import Spread
from mixscope.report.runs.words import Finding, number_words, spread_words

COLLAPSED, PARTLY = 0.3, 1.0  # of the scatter in a class over that between classes, as lengths; the limits are ours


def find_collapse(method: Method) -> Finding | None:
    """Say how far the classes have collapsed, by the scatter around class means over that of the means (NC1).

    Of lengths, the root of nc1_trace, over all seeds: at most 0.3 collapsed, above 1 not collapsed, between partly.
    """
    trace = method.final("nc/nc1_trace")
    if trace is None or trace.low < 0:
        return None
    scatter = _root(trace)
    if scatter.high <= COLLAPSED:
        verdict, says = "collapsed", f"The classes of {method.name} have collapsed"
    elif scatter.low > PARTLY:
        verdict, says = "not collapsed", f"The classes of {method.name} have not collapsed"
    else:
        verdict, says = "partly collapsed", f"The classes of {method.name} have collapsed in part"
    far = f"training images lie {spread_words(scatter, '.2f')} times as far from their class mean as class means from"
    text = f"{says}: {far} their centre (NC1; 0 is full collapse"
    held_out = method.final("nc_test/nc1_trace")
    text += f", on test images {spread_words(_root(held_out), '.2f')})" if held_out and held_out.low >= 0 else ")"
    frame, mismatch = method.final("nc/nc2_etf_means"), method.final("nc/nc4_mismatch")
    if frame is not None:
        text += f"; class means are {spread_words(frame, '.2f')} off a simplex (NC2)"
    if mismatch is not None:
        agrees = Spread(tuple(100 * (1 - value) for value in mismatch.values))
        text += f"; the nearest class mean agrees with the classifier on {spread_words(agrees, '.1f', '%')} (NC4)"
    return Finding("collapse", method.name, verdict, f"{text}.")


def find_layers(method: Method) -> Finding | None:
    """Say at which layer blends are farthest from what a linear layer would do, and where they are nearest."""
    found: dict[str, tuple[Spread, Spread]] = {}
    for site in linearity_sites([method]):
        defect, angle = (layer_spread(method, site, quantity) for quantity in ("relative_defect", "angle_degrees"))
        if defect is not None and angle is not None:
            found[site] = defect, angle
    if not found:
        return None

    def words(site: str) -> str:
        defect, angle = found[site]
        return f"{site}, relative defect {spread_words(defect, '.3f')}, angle {spread_words(angle, '.1f', '°')}"

    most = max(found, key=lambda site: found[site][0].mean)
    least = min(found, key=lambda site: found[site][0].mean)
    text = f"{method.name} bends blends most at {words(most)}"
    if least != most:
        text += f"; least at {words(least)}"
    return Finding("layers", method.name, most, f"{text}. An affine layer has 0 of both.")


def find_course(method: Method) -> Finding | None:
    """Say of one measured checkpoint what would tell whether it was trained too long; others have a course."""
    if not method.is_measured:
        return None
    known = [
        f"its {words} loss is {number_words(spread.mean, '.3f')}"
        for words, spread in (("training", method.final("train/loss_clean")), ("test", method.final("test/loss")))
        if spread is not None
    ]
    text = "One checkpoint has no course, so whether it was trained too long shows against an earlier one"
    text += f" ({', '.join(known)})" if known else ""
    text += ": measure that too, and compare both with mixscope report."
    return Finding("over-training", method.name, "not told", text)


def _root(spread: Spread) -> Spread:
    return Spread(tuple(math.sqrt(value) for value in spread.values))
