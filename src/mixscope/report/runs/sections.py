"""The page's sections: a heading, what to look for in plain sentences, and the figures; empty ones are left out."""

from collections.abc import Callable, Sequence

from mixscope.report.runs.curve_figures import error_figure, layer_figure
from mixscope.report.runs.groups import Method
from mixscope.report.runs.panels import Panel, Section, curve_entries, present_panels
from mixscope.report.runs.picture_figures import (
    pairs_figure,
    pictured_run,
    pool_reliability,
    reliability_figure,
)
from mixscope.report.runs.plane import plane_figure
from mixscope.report.runs.tables import channel_table, number_rows
from mixscope.report.runs.words import number_words, range_words

CALIBRATION_KEYS = ("test/ece", "test/mce", "test/classwise", "test/signed", "test/mean", "test/brier", "test/loss")


def build_sections(methods: Sequence[Method]) -> list[Section]:
    """Return the sections that have something to show, in the page's order."""
    builders: tuple[Callable[[Sequence[Method]], Section], ...] = (
        course_section,
        plane_section,
        collapse_section,
        reliability_section,
        layers_section,
        channels_section,
    )
    return [section for build in builders if (section := build(methods)).panels or section.table or section.rows]


def course_section(methods: Sequence[Method]) -> Section:
    """Return test error and loss, and the two training accuracies, against epochs."""
    panels = present_panels(
        (
            "test-error",
            "Test error",
            error_figure(methods, "test/error", title="test error, %", percent=True, height=420),
            True,
        ),
        ("test-loss", "Test loss", error_figure(methods, "test/loss", title="nats", percent=False, height=320), True),
        *curve_entries(
            methods,
            ("train/accuracy_blends", "Training accuracy on blends", "%", True, False, None),
            ("train/accuracy_clean", "Training accuracy on clean images", "%", True, False, None),
            ("train/loss_floor_gap", "Training loss above its floor", "nats", False, True, None),
        ),
    )
    notes = []
    for method in methods:
        if method.monitored_epochs:
            notes.append(_monitored_words(method))
        elif method.switched_off is not None:
            last, first = method.switched_off
            when = f"after epoch {last}" if first == last + 1 else f"between epochs {last} and {first}"
            notes.append(f"{method.name}: mixing was switched off {when}.")
    curves = [(method.name, method.curve("test/error")) for method in methods]
    lowest = [
        f"{name} {100 * c.spreads[c.turn].mean:.2f}% at epoch {c.epochs[c.turn]}" for name, c in curves if c.epochs
    ]
    if lowest:
        notes.append(f"Lowest test error: {'; '.join(lowest)}.")
    return Section(
        "course",
        "Did it train too long?",
        "A curve that falls and then rises was over-trained: the ring marks its lowest point. A dotted upright line "
        "marks where mixing was switched off. The two training accuracies answer different questions: on blends "
        "nobody reaches 100%, on clean images a network may.",
        panels,
        has_epochs=True,
        notes=notes,
    )


def plane_section(methods: Sequence[Method]) -> Section:
    """Return the features of blended pairs on the classifier's plane, one panel per method."""
    panels = []
    for method in methods:
        run = pictured_run(method, "plane")
        if run is not None:
            title = _of_run(method, run.seed, run.pictures.get("epoch"))
            panels.append(Panel(f"plane-{method.index}", title, plane_figure(run.pictures["plane"]), method=method))
    return Section(
        "plane",
        "Where do blended images land?",
        "Last-layer features of blended pairs from three classes, seen on the plane of their three classifiers. "
        "Mixup with cross-entropy gathers same-class blends on the classifiers and draws the others out along the "
        "decision boundaries, as channels; a linear network would lay them on the straight lines between the "
        "classes. Each panel has its own scale; arrows give the classifiers' directions, crosses the classifiers "
        "themselves.",
        panels,
        legend="blends",
    )


def collapse_section(methods: Sequence[Method]) -> Section:
    """Return the neural collapse curves."""
    panels = present_panels(
        *curve_entries(
            methods,
            ("nc/nc1_pinv", "NC1: scatter within classes, tr(Σw pinv(Σb))/K", "nc1_pinv", False, True, None),
            ("nc/nc1_trace", "NC1: tr Σw / tr Σb", "nc1_trace", False, True, None),
            ("nc/nc1_cdnv", "NC1: scatter over distance, mean of pairs", "nc1_cdnv", False, True, None),
            ("nc/nc2_equinorm_means", "NC2: unequal lengths of class means", "nc2_equinorm_means", False, False, None),
            (
                "nc/nc2_equiangular_means",
                "NC2: unequal angles of class means",
                "nc2_equiangular_means",
                False,
                False,
                None,
            ),
            ("nc/nc2_etf_means", "NC2: distance from a simplex", "nc2_etf_means", False, False, None),
            ("nc/nc3_duality", "NC3: classifiers against class means", "nc3_duality", False, False, None),
            ("nc/nc3_alignment", "NC3: 1 − cosine of the two", "nc3_alignment", False, False, None),
            ("nc/nc4_mismatch", "NC4: disagreement with nearest class mean", "nc4_mismatch", False, False, None),
        )
    )
    text = "Measured on clean training features; every NC number falls to 0 under full neural collapse."
    if panels:
        text += (
            " The NC1 numbers have logarithmic axes, unless they hardly change, and differ by powers of one another: "
            "compare methods within a panel, never two panels."
        )
    return Section(
        "collapse",
        "Do the classes collapse?",
        text,
        panels,
        has_epochs=bool(panels),
        rows=number_rows(methods, "nc/", "nc_test/"),
    )


def reliability_section(methods: Sequence[Method]) -> Section:
    """Return a reliability diagram per method, and the course of the calibration."""
    panels = []
    for method in methods:
        pooled = pool_reliability(method)
        if pooled is not None:
            ece, gap = method.final("test/ece"), method.final("test/signed_gap")
            numbers = [f"ECE {number_words(ece.mean, '.3f')}"] if ece else []
            numbers += [f"gap {number_words(gap.mean, '+.3f')}"] if gap else []
            noun, count = "checkpoint" if method.is_measured else "seed", pooled["num_seeds"]
            seeds = f"one {noun}" if count == 1 else f"{count} {noun}s pooled"
            title = f"{method.name}: {', '.join([*numbers, seeds])}"
            panels.append(
                Panel(
                    f"reliability-{method.index}", title, reliability_figure(pooled, index=method.index), method=method
                )
            )
    panels += present_panels(
        *curve_entries(
            methods,
            ("test/ece", "ECE", "ECE", False, False, None),
            ("test/signed_gap", "Signed gap: mean confidence − accuracy", "signed gap", False, False, 0.0),
        )
    )
    return Section(
        "calibration",
        "Can its confidence be trusted?",
        "Points on the dotted diagonal are calibrated; above it the network is right more often than it believes "
        "(under-confident), below it less often. The bars count the test images; a bin with few of them says "
        "little. The signed gap tells which way the error goes, which the ECE does not.",
        panels,
        has_epochs=any(panel.method is None for panel in panels),
        rows=number_rows(methods, *CALIBRATION_KEYS) if panels else [],
    )


def layers_section(methods: Sequence[Method]) -> Section:
    """Return nonlinearity with its floor, relative defect and angle per layer."""
    panels = present_panels(
        (
            "layers-nonlinearity",
            "Nonlinearity (solid) and its floor (dotted, open)",
            layer_figure(methods, "nonlinearity", title="nonlinearity", floor="floor"),
            False,
        ),
        (
            "layers-defect",
            "Relative defect",
            layer_figure(methods, "relative_defect", title="relative defect"),
            False,
        ),
        ("layers-angle", "Angle", layer_figure(methods, "angle_degrees", title="degrees"), False),
    )
    return Section(
        "layers",
        "Which layers bend?",
        "How far the features of a blend lie from the blend of the features, layer by layer from the input up. Look "
        "at both numbers: nonlinearity compares directions, and as a blend of two unit vectors is shorter than 1, "
        "even an exactly affine layer shows a nonlinearity above 0, the floor; the relative defect is 0 exactly for "
        "an affine layer.",
        panels,
    )


def channels_section(methods: Sequence[Method]) -> Section:
    """Return the channel coordinates per method, the channel numbers against epochs, and their table."""
    panels = []
    for method in methods:
        run = pictured_run(method, "pairs")
        figure = pairs_figure(run.pictures["pairs"], index=method.index) if run else None
        if run and figure:
            title = _of_run(method, run.seed, run.pictures.get("epoch"))
            panels.append(Panel(f"pairs-{method.index}", title, figure, method=method))
    panels += present_panels(
        *curve_entries(
            methods,
            ("channels/amplification_means", "Amplification", "ratio", False, False, 1.0),
            ("channels/logit_slope", "Slope of x1 − x2 on log(w/(1 − w))", "slope", False, False, 1.0),
        )
    )
    notes = _theory_notes(methods)
    notes += [
        "Cross-entropy with mixup: an amplification in (1, 2), tending to 2 as the penalty on the features "
        "vanishes, and a logit slope tending to 1. Squared loss: features stay on the straight line, an "
        "amplification of 1."
    ]
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
        panels,
        has_epochs=any(panel.method is None for panel in panels),
        table=channel_table(methods),
        notes=notes,
    )


def _theory_notes(methods: Sequence[Method]) -> list[str]:
    """Say which curve was fitted to each method's blends, and how far off it is."""
    notes = []
    for method in methods:
        run, spread = pictured_run(method, "pairs"), method.final("channels/theory_residual")
        theory = (run.pictures["pairs"].get("theory") if run else None) or {}
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


def _of_run(method: Method, seed: int | None, epoch: object) -> str:
    """Return 'mixup, seed 0, epoch 200', leaving out what is not known."""
    parts = [method.name, "" if seed is None else f"seed {seed}", "" if epoch is None else f"epoch {epoch}"]
    return ", ".join(part for part in parts if part)
