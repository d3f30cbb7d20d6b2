"""Findings on layers: whether mixing bends or straightens them, against plain training (Chaudhry et al. 2022)."""

from collections.abc import Sequence

from mixscope.report.figures.layer_figure import layer_spread, linearity_sites
from mixscope.report.runs.groups import Method
from mixscope.report.runs.spread import Spread
from mixscope.report.runs.words import Finding, spread_words

JUDGED = {  # smaller differences between layers are rounding, not bending; how they are said
    "relative_defect": (0.01, "relative defect", ".3f", ""),
    "angle_degrees": (0.5, "angle", ".1f", "°"),
}
Pair = tuple[Spread, Spread]  # of the method and of plain training


def find_bending(methods: Sequence[Method]) -> list[Finding]:
    """Say whether mixing bends or straightens the layers, against the one method that never mixed.

    A layer is bent more where both the relative defect and the angle are higher, by more than 0.01 and 0.5 degrees and,
    with two or more seeds a side, with every seed above every one of the other's; straightened where both are lower in
    the same way. The nonlinearity alone decides nothing: its floor moves with the spread of the classes.
    """
    references = [method for method in methods if method.never_mixed and linearity_sites([method])]
    if len(references) != 1:
        return []
    found = [_compare(method, references[0]) for method in methods if method is not references[0]]
    return [finding for finding in found if finding is not None]


def _compare(method: Method, reference: Method) -> Finding | None:
    """Compare the layers that both methods measured."""
    known = set(linearity_sites([reference]))
    layers: dict[str, list[Pair]] = {}
    for site in (site for site in linearity_sites([method]) if site in known):
        pairs = [pair for quantity in JUDGED if (pair := _pair(site, quantity, method, reference))]
        if len(pairs) == len(JUDGED):
            layers[site] = pairs
    if not layers:
        return None
    signs = {}
    for site, pairs in layers.items():
        sides = {_apart(*pair, least) for pair, (least, *_) in zip(pairs, JUDGED.values(), strict=True)}
        signs[site] = sides.pop() if len(sides) == 1 else 0
    bent, straight = (sum(sign == side for sign in signs.values()) for side in (1, -1))
    if bent and straight:
        verdict, says = "mixed", f"bends {bent} and straightens {straight} of {len(signs)} layers"
    elif bent or straight:
        verdict = "bends" if bent else "straightens"
        says = f"{verdict} {bent or straight} of {len(signs)} layers"
    else:
        verdict, says = "no clear change", f"neither bends nor straightens any of {len(signs)} layers clearly"
    clear = [site for site, sign in signs.items() if sign] or list(signs)
    site = max(clear, key=lambda name: abs(layers[name][0][0].mean - layers[name][0][1].mean))
    changes = "; ".join(
        f"{label} {spread_words(ours, form, unit)} against {spread_words(plain, form, unit)}"
        for (ours, plain), (_, label, form, unit) in zip(layers[site], JUDGED.values(), strict=True)
    )
    text = f"{method.name} {says} compared with {reference.name}, by relative defect and angle together."
    text += f" The largest change is at {site}: {changes}.{_floor_words(site, method, reference)}"
    return Finding("layers", method.name, verdict, text)


def _floor_words(site: str, method: Method, reference: Method) -> str:
    """Say how much of the difference in nonlinearity at a site is the floor's."""
    levels = _pair(site, "nonlinearity", method, reference)
    floors = _pair(site, "floor", method, reference)
    if levels is None or floors is None:
        return ""
    (ours, plain), (floor, plain_floor) = ([spread.mean for spread in pair] for pair in (levels, floors))
    text = f" Its nonlinearity there is {ours:.3f} against {plain:.3f}, its floor {floor:.3f} against {plain_floor:.3f}"
    change, floor_change = ours - plain, floor - plain_floor
    if abs(change) > 0.005 and 0 <= floor_change / change <= 1:
        text += f": the floor explains {100 * floor_change / change:.0f}% of that difference"
    return f"{text}."


def _pair(site: str, quantity: str, method: Method, reference: Method) -> Pair | None:
    ours, plain = layer_spread(method, site, quantity), layer_spread(reference, site, quantity)
    return None if ours is None or plain is None else (ours, plain)


def _apart(ours: Spread, other: Spread, least: float) -> int:
    """Return 1 if ours is higher by more than `least` with no overlap of the seeds, -1 if lower so, else 0."""
    if ours.mean - other.mean > least and ours.low > other.high:
        return 1
    return -1 if other.mean - ours.mean > least and ours.high < other.low else 0
