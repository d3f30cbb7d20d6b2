"""Claims on Ji et al. 2022 about networks without weight decay, and what follows from it: 18 to 20."""

from functools import partial

from mixscope.studies.engine.claim_checks import DERIVED, Source, at_least, at_most, between, claim_check
from mixscope.studies.engine.evidence_sources import ratio, ratio_within, value
from mixscope.studies.ji2022.evidence import SETTINGS, decay_rate, fall, flattening

FIGURE_1 = Source("paper", "Ji et al. 2022, abstract and Figure 1 (collapse without weight decay)")
ZHAO = Source("derived", "Zhao et al. 2026 (weight decay is necessary in practical training), not Ji et al.")
NETWORKS, DOUBLE = tuple(SETTINGS), ("digits-500-double-precision",)
DECAYS = "and weight decay the mean row of a network's classifier decays as exp(−learning rate × weight decay"
WITH_MIXUP = tuple(name for name, setting in SETTINGS.items() if "mixup-no-decay" in setting.methods)
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

claim = partial(claim_check, study="ji2022", settings=NETWORKS)
exact = partial(claim, is_exact=True)

CHECKS = (
    *(
        claim(
            key=f"18{letter}",
            statement=f"Without weight decay, {words} goes on falling after the network has separated its training "
            "images.",
            source=FIGURE_1,
            measured="At the end over the first measured epoch with at least 99.9% training accuracy, mean over seeds.",
            test=at_most(1.0, ratio_within("no-decay", fall(key))),
        )
        for letter, (key, words) in zip("abcdef", METRICS.items(), strict=True)
    ),
    *(
        claim(
            key=f"18{letter}",
            statement=f"Without weight decay, {words} falls more slowly than a power of time: against log epoch, its "
            "logarithm flattens.",
            source=DERIVED.noting(", from the paper's rate 1 / log t"),
            measured="Slope over the later half of log time after separation minus the slope over the earlier, mean "
            "over seeds. A power of time has one slope throughout.",
            test=at_least(0.0, value("no-decay", flattening(key))),
        )
        for letter, (key, words) in zip("ghijkl", METRICS.items(), strict=True)
    ),
    exact(
        key="19a",
        statement="Without weight decay the mean row of a network's classifier stays where it was to 1e-6 of its "
        "length, rounding in single precision included.",
        measured="|wbar(t) − wbar(0)| / |wbar(0)| at the end, of every seed.",
        test=at_most(1e-6, value("no-decay", "nc/classifier_mean_drift")),
    ),
    exact(
        key="19b",
        statement="In double precision and without weight decay the mean row of a network's classifier does not "
        "move: what moves it in single precision is rounding.",
        measured="Largest |wbar(t) − wbar(0)| / |wbar(0)| of any step of momentum SGD, of every seed.",
        settings=DOUBLE,
        test=at_most(1e-6, value("no-decay", "drift")),
    ),
    exact(
        key="19c",
        statement=f"With plain SGD {DECAYS} × steps).",
        measured="Rate over the law's, in double precision, of every seed; limits ours.",
        settings=DOUBLE,
        test=between(0.98, 1.02, value("decay-no-momentum", "rate_ratio")),
    ),
    exact(
        key="19d",
        statement=f"With momentum SGD {DECAYS} × steps / (1 − momentum)).",
        measured="Rate over the law's, in double precision, of every seed; limits ours, the first steps lag.",
        settings=DOUBLE,
        test=between(0.98, 1.02, value("decay", "rate_ratio")),
    ),
    exact(
        key="19e",
        statement=f"To the end of a long training in single precision with momentum SGD {DECAYS} × steps / (1 − "
        "momentum)).",
        measured="Rate over the law's, of every seed; limits ours.",
        test=between(0.95, 1.05, decay_rate),
    ),
    exact(
        key="19f",
        statement="With mixup and without weight decay the mean row of a network's classifier moves by rounding "
        "alone, for which 1% of its length is allowed: mixed targets sum to 1 too.",
        measured="|wbar(t) − wbar(0)| / |wbar(0)| at the end, of every seed; the limit, ours, is wide, since how "
        "little rounding moves it is asked in 19a.",
        settings=WITH_MIXUP,
        test=at_most(0.01, value("mixup-no-decay", "nc/classifier_mean_drift")),
    ),
    *(
        claim(
            key=f"20{letter}",
            statement=f"Weight decay makes the classifier collapse much faster where it is not centred: {words}.",
            source=ZHAO,
            measured="At the end with weight decay over without, paired by seed; “much” is 2 times, ours.",
            test=at_most(0.5, ratio("decay", "no-decay", key)),
        )
        for letter, (key, words) in zip("abc", UNCENTRED.items(), strict=True)
    ),
)
