"""Findings on layers: whether mixing bends or straightens them, against plain training (Chaudhry et al. 2022)."""

from collections.abc import Sequence

from mixscope.report.figures.layer_figure import layer_spread, linearity_sites
from mixscope.report.runs.groups import Method
from mixscope.report.runs.spread import Spread
from mixscope.report.runs.words import Finding, spread_words

LAYER_DEFECT, LAYER_DEGREES = 0.01, 0.5  # smaller differences between layers are rounding, not bending


def find_bending(methods: Sequence[Method]) -> list[Finding]:
    """Say whether mixing bends or straightens the layers, against the one method that never mixed.

    A layer is bent more where both the relative defect and the angle are higher, by more than 0.01 and 0.5 degrees and,
    with two or more seeds a side, with every seed above every one of the other's; straightened where both are lower in
    the same way. The nonlinearity alone decides nothing: its floor moves with the spread of the classes.
    """
    references = [method for method in methods if method.never_mixed and linearity_sites([method])]
    if len(references) != 1:
        return []
    reference = references[0]
    return [
        finding
        for method in methods
        if method is not reference and (finding := compare_layers(method, reference)) is not None
    ]


def compare_layers(method: Method, reference: Method) -> Finding | None:
    """Compare the layers that both methods measured; see `find_bending`."""
    known = set(linearity_sites([reference]))
    signs: dict[str, int] = {}
    gaps: dict[str, float] = {}
    for site in (site for site in linearity_sites([method]) if site in known):
        pairs = [
            (m, r)
            for m, r in (both(site, n, method, reference) for n in ("relative_defect", "angle_degrees"))
            if m and r
        ]
        if len(pairs) == 2:
            (defect, plain_defect), (angle, plain_angle) = pairs
            sign = apart(defect, plain_defect, LAYER_DEFECT)
            signs[site] = sign if sign == apart(angle, plain_angle, LAYER_DEGREES) else 0
            gaps[site] = defect.mean - plain_defect.mean
    if not signs:
        return None
    bent, straight = (sum(sign == side for sign in signs.values()) for side in (1, -1))
    if bent and straight:
        verdict, says = "mixed", f"{method.name} bends {bent} and straightens {straight} of {len(signs)} layers"
    elif bent or straight:
        verdict = "bends" if bent else "straightens"
        says = f"{method.name} {verdict} {bent or straight} of {len(signs)} layers"
    else:
        verdict, says = (
            "no clear change",
            f"{method.name} neither bends nor straightens any of {len(signs)} layers clearly",
        )
    clear = [site for site, sign in signs.items() if sign] or list(signs)
    site = max(clear, key=lambda name: abs(gaps[name]))
    text = f"{says} compared with {reference.name}, by relative defect and angle together. "
    text += f"The largest change is at {site}: " + "; ".join(
        f"{label} {spread_words(m, form, unit)} against {spread_words(r, form, unit)}"
        for label, quantity, form, unit in (
            ("relative defect", "relative_defect", ".3f", ""),
            ("angle", "angle_degrees", ".1f", "°"),
        )
        for m, r in [both(site, quantity, method, reference)]
        if m and r
    )
    return Finding("layers", method.name, verdict, f"{text}.{floor_words(site, method, reference)}")


def floor_words(site: str, method: Method, reference: Method) -> str:
    """Say how much of the difference in nonlinearity at a site is the floor's."""
    ours, plain = both(site, "nonlinearity", method, reference)
    floor, plain_floor = both(site, "floor", method, reference)
    if not (ours and plain and floor and plain_floor):
        return ""
    change, floor_change = ours.mean - plain.mean, floor.mean - plain_floor.mean
    text = (
        f" Its nonlinearity there is {ours.mean:.3f} against {plain.mean:.3f}, its floor {floor.mean:.3f} against "
        f"{plain_floor.mean:.3f}"
    )
    if abs(change) > 0.005 and 0 <= floor_change / change <= 1:
        text += f": the floor explains {100 * floor_change / change:.0f}% of that difference"
    return f"{text}."


def both(site: str, quantity: str, method: Method, reference: Method) -> tuple[Spread | None, Spread | None]:
    """Return a layer's number for both methods."""
    return layer_spread(method, site, quantity), layer_spread(reference, site, quantity)


def apart(ours: Spread, other: Spread, least: float) -> int:
    """Return 1 if ours is higher by more than `least` with no overlap of the seeds, -1 if lower so, else 0."""
    if ours.mean - other.mean > least and ours.low > other.high:
        return 1
    return -1 if other.mean - ours.mean > least and ours.high < other.low else 0
