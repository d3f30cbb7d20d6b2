"""Claims on Liu et al. 2023 about the labels of blends: floor of the loss, drawn labels, teachers, intrusion."""

from functools import partial
from itertools import pairwise

from mixscope.studies.engine.claim_checks import DERIVED, Source, at_least, at_most, between, claim_check, exactly
from mixscope.studies.engine.evidence_sources import excess, value, value_at
from mixscope.studies.liu2023.evidence import PILOT, floor_distance, weakest_of
from mixscope.studies.liu2023.label_checks import INTRUSION_WEIGHTS
from mixscope.studies.liu2023.settings import INTRUSIONS, MIXUP, NETWORK_SETTINGS

RECALLED_FLOOR = DERIVED.noting("; alpha 1 and equal classes recalled of the paper's Lemma 3.1, not checked against it")
RATES = [f"rate/{weight:g}" for weight in INTRUSION_WEIGHTS]

claim = partial(claim_check, study="liu2023")
exact = partial(claim, is_exact=True)

CHECKS = (
    exact(
        key="2a",
        statement="The mean entropy of blended labels is (1 - Σp²)(ψ(2α+1) - ψ(α+1)).",
        source=RECALLED_FLOOR,
        measured="largest error of the formula against quadrature, seven alphas from 0.1 to 8, equal and unequal "
        "classes",
        settings=("blended-labels",),
        test=at_most(1e-10, value("blended_labels", "formula_error"), unit="nats"),
    ),
    exact(
        key="2b",
        statement="With alpha 1 and ten equal classes the mean entropy of blended labels is 0.45 nats.",
        source=RECALLED_FLOOR,
        measured="mean over 200,000 drawn labels; the range is over five standard errors to each side",
        settings=("blended-labels",),
        test=between(0.447, 0.453, value("blended_labels", "mean_entropy"), unit="nats"),
    ),
    exact(
        key="2c",
        statement="No network's training loss on blends is below the mean entropy of the labels it was trained on.",
        source=RECALLED_FLOOR,
        measured="training loss less the entropy of the very targets of the epoch, smallest over the curve's epochs; "
        "mixup",
        settings=NETWORK_SETTINGS,
        test=at_least(-1e-6, value(MIXUP, floor_distance), unit="nats"),
    ),
    exact(
        key="3a",
        statement="Labels drawn from the blend's own law differ from those drawn from its given one at least as "
        "often as the total variation says, and that is at least the largest gap of one class.",
        source=Source(
            "derived",
            "derived here; the paper's Theorem 5.1 is recalled of most probable labels, for which it fails (3c)",
        ),
        measured="pairs that violate either, of 5,000 blends of three overlapping Gaussian classes at each of three "
        "weights",
        settings=("gaussian-classes",),
        test=exactly(0, value("drawn_labels", "violations"), unit="violations"),
    ),
    exact(
        key="3b",
        statement="A blend's two labels, each with its right law, can be drawn so that they differ just as often as "
        "the total variation says.",
        source=Source("derived", "derived here (maximal coupling)"),
        measured="rate at which so drawn labels differ, from the mean total variation; largest over three weights",
        settings=("gaussian-classes",),
        test=at_most(5, value("drawn_labels", "coupled_error"), unit="standard errors"),
    ),
    claim(
        key="3c",
        statement="The most probable labels do not obey the bound of 3a: they differ less often.",
        source=Source("derived", "derived here; the limit is ours"),
        measured="share of pairs whose most probable labels agree although the total variation is above 0, or differ "
        "less often than it asks; the smallest over three weights",
        is_control=True,
        settings=("gaussian-classes",),
        test=at_least(0.8, value("drawn_labels", "argmax_failures")),
    ),
    exact(
        key="4a",
        statement="Under a ρ-strongly convex teacher a blend's label is too large by (ρ/2) w(1-w)|x-x'|² or more.",
        measured="smallest excess over that floor, 1,000 pairs, a quadratic plus a log-sum-exp",
        settings=("known-teachers",),
        test=at_least(-1e-12, value("known_teachers", "above_floor")),
    ),
    exact(
        key="4b",
        statement="Under a convex teacher the error of a blend's label is never negative: it does not average out.",
        measured="smallest error of a blend's label, 1,000 pairs, a quadratic plus a log-sum-exp",
        settings=("known-teachers",),
        test=at_least(0, value("known_teachers", "smallest")),
    ),
    exact(
        key="4c",
        statement="Under a linear teacher blended labels are right.",
        measured="largest error of a blend's label, 1,000 pairs",
        is_control=True,
        settings=("known-teachers",),
        test=at_most(1e-12, value("known_teachers", "linear")),
    ),
    claim(
        key="17a",
        statement="Even blends lie nearest to an image of a third class more often than uneven ones.",
        source=PILOT,
        measured="rate at weight 0.5 less that at 0.9; 5,000 pairs a seed of all images, the members left out of the "
        "neighbours, so that the interval covers the choice of pairs alone",
        settings=tuple(INTRUSIONS),
        test=at_least(0, value_at(INTRUSIONS, excess(RATES[0], RATES[-1]))),
    ),
    claim(
        key="17b",
        statement="The less even a blend, the less often it lies nearest to an image of a third class, at every step "
        "of the weight.",
        source=PILOT,
        measured="rate at weights 0.5, 0.6, 0.7, 0.8, each less the next one's; the weakest of the four steps",
        settings=tuple(INTRUSIONS),
        test=at_least(0, weakest_of([value_at(INTRUSIONS, excess(*pair)) for pair in pairwise(RATES)])),
    ),
)
