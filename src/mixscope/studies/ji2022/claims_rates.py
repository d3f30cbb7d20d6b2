"""Claims on Ji et al. 2022 about the rates at which the layer-peeled flow collapses: 9 to 12, and with decay."""

from functools import partial

from mixscope.studies.engine.claim_checks import DERIVED, Source, at_most, between, claim_check
from mixscope.studies.engine.evidence_sources import value
from mixscope.studies.ji2022.evidence import FLOWS, end_ratio, log_ratio

FIGURE_2 = Source("paper", "Ji et al. 2022, caption of Figure 2 (“approximately O(1/log t)”)")
CENTRED = {
    "nc2_equinorm_means": "lengths of class means",
    "nc2_equinorm_weights": "lengths of classifier rows",
    "nc2_equiangular_means": "angles of class means",
    "nc2_equiangular_weights": "angles of classifier rows",
    "nc3_duality": "distances between classifier and class means",
}
UNCENTRED = {
    "nc2_equinorm_weights_uncentered": "lengths of classifier rows",
    "nc2_equiangular_weights_uncentered": "angles of classifier rows",
    "nc3_duality_uncentered": "distances between classifier and class means",
}
SYMMETRIC = ("nc2_equinorm_means", "nc2_equiangular_means", "nc3_duality")

claim = partial(claim_check, study="ji2022", settings=FLOWS)

CHECKS = (
    *(
        claim(
            key=f"9{letter}",
            statement=f"With classifier and features centred, {words} approach collapse like 1 / log t.",
            source=FIGURE_2,
            measured="Slope of the logarithm against log log t over log t = 30 to 150, mean over starts; limits ours.",
            test=between(-1.3, -0.8, value("generic", f"slope/{name}")),
        )
        for letter, (name, words) in zip("abcde", CENTRED.items(), strict=True)
    ),
    *(
        claim(
            key=f"9{letter}",
            statement=f"With classifier and features centred, {words} approach collapse like 1 / log t late in the "
            "flow too, where the slope has settled.",
            source=DERIVED.noting(", after slopes over log t = 30 to 150 were seen to depend on the start"),
            measured="Slope of the logarithm against log log t over log t = 150 to 3,000, mean over starts; limits "
            "ours.",
            test=between(-1.3, -0.8, value("generic", f"late/{name}")),
        )
        for letter, (name, words) in zip("fghij", CENTRED.items(), strict=True)
    ),
    *(
        claim(
            key=f"10{letter}",
            statement=f"Without centring, {words} approach collapse like (log t)^(−1/2): the mean classifier is "
            "frozen.",
            measured="Slope of the logarithm against log log t over log t = 30 to 150, mean over starts; limits ours.",
            test=between(-0.65, -0.35, value("generic", f"slope/{name}")),
        )
        for letter, (name, words) in zip("abc", UNCENTRED.items(), strict=True)
    ),
    claim(
        key="11a",
        statement="Scatter within classes, as a share of the scatter between them, falls like 1 / log t.",
        source=FIGURE_2,
        measured="Slope of log (tr Σ_W / tr Σ_B) against log log t over log t = 30 to 150, mean over starts; limits "
        "ours.",
        test=between(-1.05, -0.85, value("generic", "slope/nc1_trace")),
    ),
    claim(
        key="11b",
        statement="Counted in the plane of the class means only (Papyan's tr(Σ_W Σ_B⁺) / K), scatter within classes "
        "falls much faster than 1 / log t.",
        measured="Slope of its logarithm against log log t over log t = 30 to 150, mean over starts; limit ours.",
        test=at_most(-2.5, value("generic", "slope/nc1_pinv")),
    ),
    *(
        claim(
            key=f"12{letter}",
            statement=f"The slow rate comes from the start: from a typical symmetric one, {CENTRED[name]} at log t = "
            "25 are at least 10 times nearer to collapse.",
            measured="log₁₀ of symmetric over generic start of the same seed, mean over seeds. An earlier form, of "
            "every start, is wrong: some linger near a saddle.",
            test=at_most(-1.0, log_ratio("symmetric", "generic", f"at/25/{name}")),
        )
        for letter, name in zip("abc", SYMMETRIC, strict=True)
    ),
    claim(
        key="19g",
        statement="In the layer-peeled model the mean of the classifier's rows stays where it was, to log t = 3,000.",
        measured="Largest |wbar(t) − wbar(0)| / |W(0)|, of every start.",
        is_exact=True,
        test=at_most(1e-8, value("generic", "mean_classifier_drift")),
    ),
    claim(
        key="19h",
        statement="In the layer-peeled model with weight decay the mean of the classifier's rows decays as "
        "exp(−decay × t).",
        measured="Largest distance from that law over |W(0)|, of every start.",
        is_exact=True,
        test=at_most(1e-6, value("decay", "law_residual")),
    ),
    claim(
        key="20d",
        statement="In the layer-peeled model weight decay makes the classifier, where it is not centred, collapse "
        "much faster.",
        measured="Distance between classifier and class means, not centred, at log t = 8 with decay 0.005 over "
        "without, mean over starts; limit ours.",
        test=at_most(0.5, end_ratio("nc3_duality_uncentered")),
    ),
)
