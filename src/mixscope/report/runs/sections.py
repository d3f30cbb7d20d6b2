"""Sections of a page of runs: a heading, what to look for in plain sentences, and the figures; empty ones left out."""

from collections.abc import Sequence

from mixscope.report.figures.channel_figure import channel_figure
from mixscope.report.figures.curve_figure import curve_figure, turning_figure
from mixscope.report.figures.layer_figure import layer_figure
from mixscope.report.figures.plane_figure import plane_figure
from mixscope.report.figures.reliability_figure import pool_reliability, reliability_figure
from mixscope.report.page import Figure, KeyEntry, Section, present
from mixscope.report.runs.groups import Method
from mixscope.report.runs.tables import channel_table, number_table
from mixscope.report.runs.words import number_words, range_words

CALIBRATION_KEYS = ("test/ece", "test/mce", "test/classwise", "test/signed", "test/mean", "test/brier", "test/loss")
COLLAPSE_KEYS = {  # whether the axis is logarithmic
    "nc/nc1_pinv": True,
    "nc/nc1_trace": True,
    "nc/nc1_cdnv": True,
    "nc/nc2_equinorm_means": False,
    "nc/nc2_equiangular_means": False,
    "nc/nc2_etf_means": False,
    "nc/nc3_duality": False,
    "nc/nc3_alignment": False,
    "nc/nc4_mismatch": False,
}


def build_sections(methods: Sequence[Method]) -> list[Section]:
    """Return the sections that have something to show, in the page's order."""
    builders = (
        course_section,
        plane_section,
        collapse_section,
        reliability_section,
        layers_section,
        channels_section,
    )
    return present([build(methods) for build in builders])


def course_section(methods: Sequence[Method]) -> Section:
    """Return test error and loss, and the two training accuracies, against epochs."""
    notes = []
    for method in methods:
        if method.monitored_epochs:
            notes.append(_monitored_words(method))
        elif method.switched_off is not None:
            last, first = method.switched_off
            when = f"after epoch {last}" if first == last + 1 else f"between epochs {last} and {first}"
            notes.append(f"{method.name}: mixing was switched off {when}.")
    turns = [(m.name, curve.end_minus_best) for m in methods if (curve := m.curve("test/error")).epochs]
    if turns:
        lowest = "; ".join(f"{name} {100 * turn.best.mean:.2f}% at epoch {turn.epoch}" for name, turn in turns)
        notes.append(f"Lowest test error: {lowest}.")
    return Section(
        "course",
        "Did it train too long?",
        "A curve that falls and then rises was over-trained: the ring marks its lowest point. A dotted upright line "
        "marks where mixing was switched off. The two training accuracies answer different questions: on blends "
        "nobody reaches 100%, on clean images a network may.",
        [
            turning_figure(methods, "test/error", height=420),
            turning_figure(methods, "test/loss", height=320),
            curve_figure(methods, "train/accuracy_blends"),
            curve_figure(methods, "train/accuracy_clean"),
            curve_figure(methods, "train/loss_floor_gap", is_log=True),
        ],
        notes=notes,
        key=method_key(methods),
    )


def plane_section(methods: Sequence[Method]) -> Section:
    """Return the features of blended pairs on the classifier's plane, one panel per method."""
    figures = [
        plane_figure(f"plane-{m.index}", m.pictured("plane"), m.picture("plane"), colour=m.index) for m in methods
    ]
    return Section(
        "plane",
        "Where do blended images land?",
        "Last-layer features of blended pairs from three classes, seen on the plane of their three classifiers. "
        "Mixup with cross-entropy gathers same-class blends on the classifiers and draws the others out along the "
        "decision boundaries, as channels; a linear network would lay them on the straight lines between the "
        "classes. Each panel has its own scale; arrows give the classifiers' directions, crosses the classifiers "
        "themselves.",
        figures,
    )


def collapse_section(methods: Sequence[Method]) -> Section:
    """Return the neural collapse curves."""
    figures = [curve_figure(methods, key, is_log=is_log) for key, is_log in COLLAPSE_KEYS.items()]
    is_drawn = any(figures)
    text = "Measured on clean training features; every NC number falls to 0 under full neural collapse."
    if is_drawn:
        text += (
            " The NC1 numbers have logarithmic axes, unless they hardly change, and differ by powers of one another: "
            "compare methods within a panel, never two panels."
        )
    table = number_table(methods, "nc/", "nc_test/", is_folded=is_drawn)
    return Section("collapse", "Do the classes collapse?", text, figures, [table], key=method_key(methods))


def reliability_section(methods: Sequence[Method]) -> Section:
    """Return a reliability diagram per method, and the course of the calibration."""
    figures = [*map(_reliability, methods), curve_figure(methods, "test/ece")]
    figures.append(curve_figure(methods, "test/signed_gap", expected=0.0))
    is_drawn = any(figures)
    return Section(
        "calibration",
        "Can its confidence be trusted?",
        "Points on the dotted diagonal are calibrated; above it the network is right more often than it believes "
        "(under-confident), below it less often. The bars count the test images; a bin with few of them says "
        "little. The signed gap tells which way the error goes, which the ECE does not.",
        figures,
        [number_table(methods, *CALIBRATION_KEYS, is_folded=True) if is_drawn else None],
        key=method_key(methods),
    )


def layers_section(methods: Sequence[Method]) -> Section:
    """Return nonlinearity with its floor, relative defect and angle per layer."""
    return Section(
        "layers",
        "Which layers bend?",
        "How far the features of a blend lie from the blend of the features, layer by layer from the input up. Look "
        "at both numbers: nonlinearity compares directions, and as a blend of two unit vectors is shorter than 1, "
        "even an exactly affine layer shows a nonlinearity above 0, the floor; the relative defect is 0 exactly for "
        "an affine layer.",
        [
            layer_figure(methods, "nonlinearity", floor="floor"),
            layer_figure(methods, "relative_defect"),
            layer_figure(methods, "angle_degrees"),
        ],
        key=method_key(methods),
    )


def channels_section(methods: Sequence[Method]) -> Section:
    """Return the channel coordinates per method, the channel numbers against epochs, and their table."""
    figures = [
        channel_figure(f"pairs-{m.index}", m.pictured("pairs"), m.picture("pairs"), colour=m.index) for m in methods
    ]
    figures.append(curve_figure(methods, "channels/amplification_means", expected=1.0))
    figures.append(curve_figure(methods, "channels/logit_slope", expected=1.0))
    notes = _theory_notes(methods)
    notes.append(
        "Cross-entropy with mixup: an amplification in (1, 2), tending to 2 as the penalty on the features vanishes, "
        "and a logit slope tending to 1. Squared loss: features stay on the straight line, an amplification of 1."
    )
    if any(method.num_classes == 2 for method in methods):
        notes.append(
            "With two classes x1 and x2 are each other's opposite: (x1 + x2)/2 is 0 everywhere, so there is no order "
            "along a channel to look at."
        )
    return Section(
        "channels",
        "How do the channels run?",
        "For blends of two classes, x1 and x2 are the logits of the two classes above the mean of the others, "
        "against the weight of the first. In a channel both stay high in the middle; on a straight line they cross "
        "halfway down. Dotted: the curve that theory expects, fitted. The axes' scales differ between panels.",
        figures,
        [channel_table(methods)],
        notes=notes,
        key=method_key(methods),
    )


def method_key(methods: Sequence[Method]) -> list[KeyEntry]:
    """Return the key of the methods' colours."""
    return [KeyEntry(method.name, str(method.index), method.index) for method in methods]


def _reliability(method: Method) -> Figure | None:
    pooled = pool_reliability(method.pictures("reliability"))
    if pooled is None:
        return None
    ece, gap = method.final("test/ece"), method.final("test/signed_gap")
    numbers = [f"ECE {number_words(ece.mean, '.3f')}"] if ece else []
    numbers += [f"gap {number_words(gap.mean, '+.3f')}"] if gap else []
    count = pooled["num_seeds"]
    seeds = f"one {method.noun}" if count == 1 else f"{count} {method.noun}s pooled"
    title = f"{method.name}: {', '.join([*numbers, seeds])}"
    return reliability_figure(f"reliability-{method.index}", title, [(method.name, method.index, pooled)])


def _theory_notes(methods: Sequence[Method]) -> list[str]:
    """Say which curve was fitted to each method's blends, and how far off it is."""
    notes = []
    for method in methods:
        spread = method.final("channels/theory_residual")
        theory = (method.picture("pairs") or {}).get("theory") or {}
        if spread is not None and theory.get("name"):
            distance = range_words(spread, ".2f") or number_words(spread.mean, ".2f")
            notes.append(
                f"{method.name}: dotted is the {theory['name']}. Root-mean-square distance of the blends from the "
                f"fitted curve, over their length: {distance}."
            )
    return notes


def _monitored_words(method: Method) -> str:
    """Say after which epochs the over-training monitor ended mixing."""
    ended = sorted(epoch for epoch in method.monitored_epochs if epoch is not None)
    never = len(method.monitored_epochs) - len(ended)
    words = f"{method.name}: the over-training monitor, which goes by the training loss alone, ended mixing "
    if not ended:
        return words + "in no run: the loss on blends never came close enough to its floor."
    span = f"after epoch {ended[0]}" if ended[0] == ended[-1] else f"between epochs {ended[0]} and {ended[-1]}"
    return words + span + (f"; in {never} of {len(method.monitored_epochs)} runs it did not." if never else ".")
