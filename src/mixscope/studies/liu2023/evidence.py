"""Numbers of the study of Liu et al. 2023 that are made of several: what curves did, and how steps compare."""

import math
from collections.abc import Sequence
from dataclasses import replace

from mixscope.records.claims import Sample, paired
from mixscope.stats.curves import TurningPoint, turning_point
from mixscope.stats.intervals import student_interval
from mixscope.studies.engine.claim_checks import DERIVED, Source
from mixscope.studies.engine.evidence_sources import PERCENT, Evidence, percent, value
from mixscope.studies.engine.results import Number, Results, column
from mixscope.studies.engine.trial import Outcome

ABSTRACT = Source("paper", "Liu et al. 2023, abstract; the limit is ours")
SUMMARY = Source("paper", "Liu et al. 2023, as a summary by others has it; the limit is ours")
LEMMA = DERIVED.noting("; recalled of the paper's Lemma 5.1, not checked against it")
PILOT = Source("derived", "predicted here from a pilot on other seeds; the limit is ours")
WINDOW = 3  # looks at the test images that are averaged, whatever the curve's length
ERROR, LOSS = "test/error", "test/loss"


def between(method: str, first: str, second: str, number: Number) -> Evidence:
    """Return the evidence of one method's number on the first setting less that on the second, seed by seed.

    Seeds are independent across settings: any way to pair them gives the variance of a difference.
    """
    return lambda results, _: paired(results.sample(first, method, number), results.sample(second, method, number))


def weakest_of(steps: Sequence[Evidence]) -> Evidence:
    """Return that one of several differences whose interval reaches lowest: if it lies above 0, all do."""

    def evidence(results: Results, setting: str) -> Sample:
        return min((replace(step(results, setting), is_paired=True) for step in steps), key=_lower_end)

    return evidence


def _lower_end(sample: Sample) -> float:
    """Return where the 95% interval of the mean begins; -inf of none and of NaN, which must not pass for high."""
    values = list(sample.values.values())
    if not values or not all(map(math.isfinite, values)):
        return -math.inf
    return student_interval(values)[0] if len(values) > 1 else values[0]


def looks(outcome: Outcome, key: str, *, until: int | None = None) -> tuple[list[float], list[float]]:
    """Return the epochs after the start up to one, None being the last, and a column of the curve at them."""
    pairs = zip(column(outcome, "curve", "epoch"), column(outcome, "curve", key), strict=True)
    kept = [(epoch, height) for epoch, height in pairs if epoch > 0 and (until is None or epoch <= until)]
    return [epoch for epoch, _ in kept], [height for _, height in kept]


def _turn(outcome: Outcome, key: str, until: int | None = None) -> TurningPoint | None:
    """Return where a curve is lowest and how it ends; None without a look after the start."""
    _, heights = looks(outcome, key, until=until)
    return turning_point([heights], window=WINDOW) if heights else None


def decay(outcome: Outcome, *, until: int | None = None) -> float:
    """Return how far the test error ends above its lowest, in percentage points, as if training had ended there."""
    turn = _turn(outcome, ERROR, until)
    return math.nan if turn is None else PERCENT * turn.rises[0]


def loss_rise(outcome: Outcome) -> float:
    """Return the test loss at the end over its lowest."""
    turn = _turn(outcome, LOSS)
    return math.nan if turn is None else turn.ends[0] / turn.lows[0]


def best_error(outcome: Outcome) -> float:
    """Return the lowest test error of all looks, in percent: chosen on the test images, as some reports do."""
    return PERCENT * min(looks(outcome, ERROR)[1], default=math.nan)


last_error = percent(ERROR)  # at the end


def floor_distance(outcome: Outcome) -> float:
    """Return how near the training loss came to the entropy of its very targets, in nats."""
    loss, floor = (column(outcome, "curve", key) for key in ("train/loss", "train/loss_floor"))
    return min((a - b for a, b in zip(loss, floor, strict=True) if not math.isnan(a)), default=math.nan)


def sharpness_rise(outcome: Outcome) -> float:
    """Return the sharpness at the end over that at the measured epoch nearest to the lowest test error."""
    epochs, sharpness = (column(outcome, "measured", key) for key in ("epoch", "train/sharpness"))
    turn = _turn(outcome, ERROR)
    if not epochs or turn is None:
        return math.nan
    best = looks(outcome, ERROR)[0][turn.place]
    nearest = min(range(len(epochs)), key=lambda place: abs(epochs[place] - best))
    return sharpness[-1] / sharpness[nearest]


def size_step(key: str, place: int, *, sign: float) -> Evidence:
    """Return the evidence of the logarithm of a simulated number over that of the size before, the row `place`.

    `sign` is 1 where the number should grow, -1 where it should fall.
    """

    def step(outcome: Outcome) -> float:
        pair = column(outcome, "settings", key)[place : place + 2]
        if len(pair) < 2 or not min(pair) > 0:
            return math.nan
        ratio = pair[1] / pair[0]
        return sign * (-math.inf if ratio == 0 else math.log(ratio))  # 0 where the smaller size's is infinite

    return value("sizes", step)
