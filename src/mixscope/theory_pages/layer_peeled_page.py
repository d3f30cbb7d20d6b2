"""The page on the layer-peeled model: where gradient flow takes a classifier and free features, and how slowly."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mixscope.report.document import Chapter, Exhibit, Listing, Series
from mixscope.theory.peeled.flow import layer_peeled_flow
from mixscope.theory.peeled.path_record import FlowRecord
from mixscope.theory.peeled.point import gaussian_start
from mixscope.theory.peeled.rates import PREDICTED_RATES, collapse_rates
from mixscope.theory.solution import Solution
from mixscope.theory_pages.descent_chapters import decay_chapter, descent_chapter
from mixscope.theory_pages.page_parts import TheoryPage, number, shortcomings, told_on_the_page
from mixscope.theory_pages.separation_chapters import optimum_chapter, square_chapter
from mixscope.theory_pages.theory_options import LayerPeeledOptions

SOURCE = "Source: Ji et al. 2022 (the model, its flow, and the rate −1); the constants and the other rates are derived."
NUM_RECORDS = 120
RATES_FROM = 0.03  # of the last log t: where the first correction to the power law is small, and time enough remains
NAMES = {
    "nc1_trace": "scatter within classes, trace ratio",
    "nc1_pinv": "scatter within classes, in the plane of the means",
    "nc2_equinorm_means": "lengths of class means",
    "nc2_equinorm_weights": "lengths of classifier rows",
    "nc2_equinorm_weights_uncentered": "lengths of classifier rows, uncentred",
    "nc2_equiangular_means": "angles of class means",
    "nc2_equiangular_weights": "angles of classifier rows",
    "nc2_equiangular_weights_uncentered": "angles of classifier rows, uncentred",
    "nc3_duality": "classifier against class means",
    "nc3_duality_uncentered": "classifier against class means, uncentred",
}
CENTERED = (
    "nc2_equinorm_means",
    "nc2_equinorm_weights",
    "nc2_equiangular_means",
    "nc2_equiangular_weights",
    "nc3_duality",
)
UNCENTERED = ("nc2_equinorm_weights_uncentered", "nc2_equiangular_weights_uncentered", "nc3_duality_uncentered")
SCATTER = ("nc1_trace", "nc1_pinv")
LOG_TIME = "log t, the logarithm of time"


def layer_peeled_page(options: LayerPeeledOptions) -> TheoryPage:
    """Follow the flow from a generic start and return the page about it.

    Args:
        options: Sizes and times.
    """
    counts = [options.num_per_class] * options.num_classes
    start = gaussian_start(counts, dim=options.dim, generator=torch.Generator().manual_seed(options.seed))
    with told_on_the_page():
        times = torch.logspace(0, math.log10(options.log_time), NUM_RECORDS, dtype=torch.float64)
        flow = layer_peeled_flow(start, log_times=times)
        chapters = [
            _geometry_chapter(flow),
            _law_chapter(flow.value),
            descent_chapter(start, options),
            decay_chapter(start, options),
            optimum_chapter(),
            square_chapter(),
        ]
    record = flow.value
    rates, separations = chapters[0].listing, chapters[4].listing
    assert rates is not None
    assert separations is not None
    return TheoryPage(
        title="How gradient flow collapses a classifier and free features",
        lead=_lead(record),
        facts=f"{options.num_classes} classes of {options.num_per_class} examples in {options.dim} dimensions, normal "
        f"start, seed {options.seed}; flow to log t = {options.log_time:,.0f} in {flow.iterations:,} steps, "
        f"drift of what it conserves {number(flow.residual, digits=2)}.",
        chapters=chapters,
        tables=[("Rates of collapse: exponents of log t", rates), ("The separation problem", separations)],
    )


def _lead(record: FlowRecord) -> str:
    angle = record.nc2_equiangular_weights
    first = int((record.log_times >= 10).nonzero()[0])  # t = 22,000: what a long training reaches
    return (
        "Without weight decay the geometry does collapse, but only like 1 / log t: the angles of the classifier's "
        f"rows are {number(float(angle[first]), digits=2)} away from a simplex's at log t = "
        f"{record.log_times[first]:.0f} and {number(float(angle[-1]), digits=2)} at log t = "
        f"{float(record.log_times[-1]):,.0f}. In a network, expect centred measures to fall slowly and in step, and "
        "uncentred ones like their square roots; weight decay makes the collapse fast."
    )


def _series(record: FlowRecord, names: Sequence[str]) -> list[Series]:
    times = record.log_times.tolist()
    return [
        Series(NAMES[name], times, getattr(record, name).tolist(), colour=place) for place, name in enumerate(names)
    ]


def _slope(record: FlowRecord, values: Tensor, exponent: float) -> Series:
    """Return a line of this slope that meets the values at the last record."""
    ends = record.log_times[[len(record.log_times) // 3, -1]]
    line = float(values[-1]) * (ends / ends[-1]) ** exponent
    return Series(f"slope {number(exponent)}", ends.tolist(), line.tolist(), is_reference=True)


def _geometry_chapter(flow: Solution[FlowRecord]) -> Chapter:
    record = flow.value

    def exhibit(name: str, title: str, series: Sequence[Series], y_title: str) -> Exhibit:
        return Exhibit(name, title, series, x_title=LOG_TIME, y_title=y_title, log_x=True, log_y=True)

    margin = 1 - record.margin_ratio
    exhibits = [
        exhibit(
            "margin",
            "Margin that is missing",
            [
                Series("1 − normalised margin / best", record.log_times.tolist(), margin.tolist()),
                _slope(record, margin, -1.0),
            ],
            "share of the best margin",
        ),
        exhibit(
            "centered",
            "Lengths, angles and duality, centred",
            [*_series(record, CENTERED), _slope(record, record.nc3_duality, -1.0)],
            "distance to collapse",
        ),
        exhibit(
            "uncentered",
            "The same of the classifier as it is",
            [*_series(record, UNCENTERED), _slope(record, record.nc3_duality_uncentered, -0.5)],
            "distance to collapse",
        ),
        exhibit(
            "scatter",
            "Scatter within classes, by two measures",
            [
                *_series(record, SCATTER),
                _slope(record, record.nc1_trace, -1.0),
                _slope(record, record.nc1_pinv, -3.0),
            ],
            "within / between",
        ),
    ]
    text = (
        "Both axes are logarithmic, and so is time itself: a straight line is a power of log t. Look for slope −1 in "
        "every centred measure, −1/2 where the classifier is not centred (its mean never moves), and −3 where "
        "scatter is only counted in the plane of the class means. The dotted lines have the predicted slopes."
    )
    notes = [
        SOURCE,
        "Measured over the last part of the flow, with the first correction to the power law taken off. The interval "
        "says how far the curve still is from a power law, not how noisy it is: the flow has no noise.",
        *shortcomings(flow=flow),
    ]
    return Chapter("geometry", "How fast the geometry collapses", text, exhibits, _rate_listing(record), notes)


def _rate_listing(record: FlowRecord) -> Listing:
    rates = collapse_rates(record, first_log_time=RATES_FROM * float(record.log_times[-1]))
    rows = [
        [
            NAMES[name],
            number(PREDICTED_RATES[name]),
            f"{rate.exponent:.3f}".replace("-", "−"),
            f"{rate.low:.3f} to {rate.high:.3f}".replace("-", "−"),
            "Ji et al. 2022; derived" if PREDICTED_RATES[name] == -1 else "derived",
        ]
        for name, rate in rates.items()
    ]
    return Listing(["measure", "predicted", "measured", "95% interval", "prediction from"], rows)


def _law_chapter(record: FlowRecord) -> Chapter:
    times = record.log_times.tolist()
    one = Series("1", [times[0], times[-1]], [1.0, 1.0], is_reference=True)
    loss = [value if time > 1 else math.nan for time, value in zip(times, record.loss_law.tolist(), strict=True)]
    norm = [value if time > 1 else math.nan for time, value in zip(times, record.norm_law.tolist(), strict=True)]
    exhibit = Exhibit(
        "law-ratios",
        "Loss, norm and balance over what theory predicts",
        [
            Series("loss: 4γ L t log t", times, loss),
            Series("norm: γ (|W|² + |H|²) / log t", times, norm),
            Series("balance: |W|² / |H|²", times, record.norm_ratio.tolist()),
            Series("margin / best", times, record.margin_ratio.tolist()),
            one,
        ],
        x_title=LOG_TIME,
        y_title="measured / predicted",
        log_x=True,
        y_range=(0, 2),
        is_wide=True,
    )
    text = (
        "Look for all lines to end at 1: the loss falls as 1 / (4γ t log t), the squared norm grows as log t / γ, "
        "classifier and features come to share it equally, and the margin becomes the best that any point has. γ is "
        f"that best normalised margin. At the end: loss {number(loss[-1])}, norm {number(norm[-1])}."
    )
    return Chapter(
        "laws", "Loss and norm", text, [exhibit], notes=["Derived; the rates up to constants as in the paper."]
    )
