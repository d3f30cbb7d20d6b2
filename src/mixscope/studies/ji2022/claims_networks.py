"""What Ji et al. 2022 claim of networks without weight decay, and what follows from it: claims 18 to 20."""

from mixscope.records.claims import Claim
from mixscope.studies.engine.evidence_sources import DERIVED, ratio, ratio_within, value
from mixscope.studies.engine.study_definition import Check
from mixscope.studies.ji2022.evidence import SETTINGS, decay_rate, fall, flattening

FIGURE_1 = "Ji et al. 2022, abstract and Figure 1 (collapse without weight decay)"
ZHAO = "Zhao et al. 2026 (weight decay is necessary in practical training), not Ji et al."
NETWORKS, DOUBLE = tuple(SETTINGS), ("digits-500-double-precision",)
DECAYS = "and weight decay the mean row of a network's classifier decays as exp(−learning rate × weight decay"
WITH_MIXUP = tuple(name for name, setting in SETTINGS.items() if "mixup-no-decay" in setting.methods)
MEAN_OUTSIDE = "The mean over seeds lies outside."
METRICS = {
    "nc/nc1_trace": "scatter within classes over scatter between them",
    "nc/nc2_equinorm_means": "the spread of the class means' lengths",
    "nc/nc2_equinorm_weights": "the spread of the centred classifier rows' lengths",
    "nc/nc2_equiangular_means": "the class means' distance from equal angles",
    "nc/nc2_equiangular_weights": "the centred classifier rows' distance from equal angles",
    "nc/nc3_duality": "the distance between centred classifier and class means",
}
UNCENTRED = {
    "nc/nc2_equinorm_weights_uncentered": "spread of the classifier rows' lengths",
    "nc/nc2_equiangular_weights_uncentered": "classifier rows' distance from equal angles",
    "nc/nc0_row_sum": "length of the sum of the classifier's rows, over that of the classifier",
}

_FALLS = tuple(
    Check(
        Claim(
            f"ji2022.18{letter}",
            "paper",
            f"Without weight decay, {words} goes on falling after the network has separated its training images.",
            FIGURE_1,
            "At the end over the first measured epoch with at least 99.9% training accuracy, mean over seeds.",
            MEAN_OUTSIDE,
            high=1.0,
        ),
        NETWORKS,
        ratio_within("no-decay", fall(key)),
    )
    for letter, (key, words) in zip("abcdef", METRICS.items(), strict=True)
)
_FLATTENS = tuple(
    Check(
        Claim(
            f"ji2022.18{letter}",
            "derived",
            f"Without weight decay, {words} falls more slowly than a power of time: against log epoch, its logarithm "
            "flattens.",
            f"{DERIVED}, from the paper's rate 1 / log t",
            "Slope over the later half of log time after separation minus the slope over the earlier, mean over seeds. "
            "A power of time has one slope throughout.",
            MEAN_OUTSIDE,
            low=0.0,
        ),
        NETWORKS,
        value("no-decay", flattening(key)),
    )
    for letter, (key, words) in zip("ghijkl", METRICS.items(), strict=True)
)
_MEAN = (
    Check(
        Claim(
            "ji2022.19a",
            "derived",
            "Without weight decay the mean row of a network's classifier stays where it was to 1e-6 of its length, "
            "rounding in single precision included.",
            DERIVED,
            "|wbar(t) − wbar(0)| / |wbar(0)| at the end, of every seed.",
            "A seed whose mean classifier moves further.",
            high=1e-6,
            is_exact=True,
        ),
        NETWORKS,
        value("no-decay", "nc/classifier_mean_drift"),
    ),
    Check(
        Claim(
            "ji2022.19b",
            "derived",
            "In double precision and without weight decay the mean row of a network's classifier does not move: what "
            "moves it in single precision is rounding.",
            DERIVED,
            "Largest |wbar(t) − wbar(0)| / |wbar(0)| of any step of momentum SGD, of every seed.",
            "A seed whose mean classifier moves further.",
            high=1e-6,
            is_exact=True,
        ),
        DOUBLE,
        value("no-decay", "drift"),
    ),
    Check(
        Claim(
            "ji2022.19c",
            "derived",
            f"With plain SGD {DECAYS} × steps).",
            DERIVED,
            "Rate over the law's, in double precision, of every seed; limits ours.",
            "A seed off the law.",
            low=0.98,
            high=1.02,
            is_exact=True,
        ),
        DOUBLE,
        value("decay-no-momentum", "rate_ratio"),
    ),
    Check(
        Claim(
            "ji2022.19d",
            "derived",
            f"With momentum SGD {DECAYS} × steps / (1 − momentum)).",
            DERIVED,
            "Rate over the law's, in double precision, of every seed; limits ours, the first steps lag.",
            "A seed off the law.",
            low=0.98,
            high=1.02,
            is_exact=True,
        ),
        DOUBLE,
        value("decay", "rate_ratio"),
    ),
    Check(
        Claim(
            "ji2022.19e",
            "derived",
            f"To the end of a long training in single precision with momentum SGD {DECAYS} × steps / (1 − momentum)).",
            DERIVED,
            "Rate over the law's, of every seed; limits ours.",
            "A seed off the law.",
            low=0.95,
            high=1.05,
            is_exact=True,
        ),
        NETWORKS,
        decay_rate,
    ),
    Check(
        Claim(
            "ji2022.19f",
            "derived",
            "With mixup and without weight decay the mean row of a network's classifier moves by rounding alone, for "
            "which 1% of its length is allowed: mixed targets sum to 1 too.",
            DERIVED,
            "|wbar(t) − wbar(0)| / |wbar(0)| at the end, of every seed; the limit, ours, is wide, since how little "
            "rounding moves it is asked in 19a.",
            "A seed whose mean classifier moves further.",
            high=0.01,
            is_exact=True,
        ),
        WITH_MIXUP,
        value("mixup-no-decay", "nc/classifier_mean_drift"),
    ),
)
_DECAY = tuple(
    Check(
        Claim(
            f"ji2022.20{letter}",
            "derived",
            f"Weight decay makes the classifier collapse much faster where it is not centred: {words}.",
            ZHAO,
            "At the end with weight decay over without, paired by seed; “much” is 2 times, ours.",
            MEAN_OUTSIDE,
            high=0.5,
        ),
        NETWORKS,
        ratio("decay", "no-decay", key),
    )
    for letter, (key, words) in zip("abc", UNCENTRED.items(), strict=True)
)

NETWORK_CHECKS: tuple[Check, ...] = (*_FALLS, *_FLATTENS, *_MEAN, *_DECAY)
