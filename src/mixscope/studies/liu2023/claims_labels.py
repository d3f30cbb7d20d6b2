"""Claims on Liu et al. 2023 about the labels of blends: floor of the loss, drawn labels, teachers, intrusion."""

from itertools import pairwise

from mixscope.records.claims import Claim
from mixscope.studies.engine.evidence_sources import DERIVED, excess, value
from mixscope.studies.engine.study_definition import Check
from mixscope.studies.liu2023.evidence import PILOT, floor_distance, weakest_of
from mixscope.studies.liu2023.label_checks import INTRUSION_WEIGHTS
from mixscope.studies.liu2023.settings import MIXUP, NETWORK_SETTINGS

RECALLED_FLOOR = "derived here; alpha 1 and equal classes recalled of the paper's Lemma 3.1, not checked against it"
RATES = [f"rate/{weight:g}" for weight in INTRUSION_WEIGHTS]

CHECKS = (
    Check(
        Claim(
            "liu2023.2a",
            "derived",
            "The mean entropy of blended labels is (1 - Σp²)(ψ(2α+1) - ψ(α+1)).",
            RECALLED_FLOOR,
            "largest error of the formula against quadrature, seven alphas from 0.1 to 8, equal and unequal classes",
            "a mean entropy that differs by more than the quadrature's error",
            high=1e-10,
            unit="nats",
            is_exact=True,
        ),
        ("blended-labels",),
        value("blended_labels", "formula_error"),
    ),
    Check(
        Claim(
            "liu2023.2b",
            "derived",
            "With alpha 1 and ten equal classes the mean entropy of blended labels is 0.45 nats.",
            RECALLED_FLOOR,
            "mean over 200,000 drawn labels; the range is over five standard errors to each side",
            "a mean outside the range",
            low=0.447,
            high=0.453,
            unit="nats",
            is_exact=True,
        ),
        ("blended-labels",),
        value("blended_labels", "mean_entropy"),
    ),
    Check(
        Claim(
            "liu2023.2c",
            "derived",
            "No network's training loss on blends is below the mean entropy of the labels it was trained on.",
            RECALLED_FLOOR,
            "training loss less the entropy of the very targets of the epoch, smallest over the curve's epochs; mixup",
            "a loss below its floor by more than single precision",
            low=-1e-6,
            unit="nats",
            is_exact=True,
        ),
        NETWORK_SETTINGS,
        value(MIXUP, floor_distance),
    ),
    Check(
        Claim(
            "liu2023.3a",
            "derived",
            "Labels drawn from the blend's own law differ from those drawn from its given one at least as often as the "
            "total variation says, and that is at least the largest gap of one class.",
            "derived here; the paper's Theorem 5.1 is recalled of most probable labels, for which it fails (3c)",
            "pairs that violate either, of 5,000 blends of three overlapping Gaussian classes at each of three weights",
            "one violation",
            low=0,
            high=0,
            unit="violations",
            is_exact=True,
        ),
        ("gaussian-classes",),
        value("drawn_labels", "violations"),
    ),
    Check(
        Claim(
            "liu2023.3b",
            "derived",
            "A blend's two labels, each with its right law, can be drawn so that they differ just as often as the "
            "total variation says.",
            "derived here (maximal coupling)",
            "rate at which so drawn labels differ, from the mean total variation; largest over three weights",
            "a rate more than five standard errors off",
            high=5,
            unit="standard errors",
            is_exact=True,
        ),
        ("gaussian-classes",),
        value("drawn_labels", "coupled_error"),
    ),
    Check(
        Claim(
            "liu2023.3c",
            "control",
            "The most probable labels do not obey the bound of 3a: they differ less often.",
            "derived here; the limit is ours",
            "share of pairs whose most probable labels agree although the total variation is above 0, or differ less "
            "often than it asks; the smallest over three weights",
            "a share of 80% or less",
            low=0.8,
        ),
        ("gaussian-classes",),
        value("drawn_labels", "argmax_failures"),
    ),
    Check(
        Claim(
            "liu2023.4a",
            "derived",
            "Under a ρ-strongly convex teacher a blend's label is too large by (ρ/2) w(1-w)|x-x'|² or more.",
            DERIVED,
            "smallest excess over that floor, 1,000 pairs, a quadratic plus a log-sum-exp",
            "an excess below 0 by more than rounding",
            low=-1e-12,
            is_exact=True,
        ),
        ("known-teachers",),
        value("known_teachers", "above_floor"),
    ),
    Check(
        Claim(
            "liu2023.4b",
            "derived",
            "Under a convex teacher the error of a blend's label is never negative: it does not average out.",
            DERIVED,
            "smallest error of a blend's label, 1,000 pairs, a quadratic plus a log-sum-exp",
            "a label that is too small",
            low=0,
            is_exact=True,
        ),
        ("known-teachers",),
        value("known_teachers", "smallest"),
    ),
    Check(
        Claim(
            "liu2023.4c",
            "control",
            "Under a linear teacher blended labels are right.",
            DERIVED,
            "largest error of a blend's label, 1,000 pairs",
            "an error above rounding",
            high=1e-12,
            is_exact=True,
        ),
        ("known-teachers",),
        value("known_teachers", "linear"),
    ),
    Check(
        Claim(
            "liu2023.17a",
            "derived",
            "Even blends lie nearest to an image of a third class more often than uneven ones.",
            PILOT,
            "rate at weight 0.5 less that at 0.9; 5,000 pairs a seed of all images, the members left out of the "
            "neighbours, so that the interval covers the choice of pairs alone",
            "a rate that does not fall",
            low=0,
        ),
        ("digits-all", "iris"),
        lambda results, setting: results.sample(
            setting, f"{setting.split('-')[0]}_intrusion", excess(RATES[0], RATES[-1])
        ),
    ),
    Check(
        Claim(
            "liu2023.17b",
            "derived",
            "The less even a blend, the less often it lies nearest to an image of a third class, at every step of the "
            "weight.",
            PILOT,
            "rate at weights 0.5, 0.6, 0.7, 0.8, each less the next one's; the weakest of the four steps",
            "a step up",
            low=0,
        ),
        ("digits-all", "iris"),
        lambda results, setting: weakest_of(
            [excess(first, second) for first, second in pairwise(RATES)],
            f"{setting.split('-')[0]}_intrusion",
        )(results, setting),
    ),
)
