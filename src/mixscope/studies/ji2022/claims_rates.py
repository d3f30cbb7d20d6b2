"""What Ji et al. 2022 claim of the rates at which the layer-peeled flow collapses: claims 9 to 12, and with decay."""

from mixscope.records.claims import Claim
from mixscope.studies.engine.evidence_sources import DERIVED, value
from mixscope.studies.engine.study_definition import Check
from mixscope.studies.ji2022.evidence import FLOWS, end_ratio, log_ratio

FIGURE_2 = "Ji et al. 2022, caption of Figure 2 (“approximately O(1/log t)”)"
OUTSIDE = "The mean over starts lies outside."
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

_EARLY = tuple(
    Check(
        Claim(
            f"ji2022.9{letter}",
            "paper",
            f"With classifier and features centred, {words} approach collapse like 1 / log t.",
            FIGURE_2,
            "Slope of the logarithm against log log t over log t = 30 to 150, mean over starts; limits ours.",
            OUTSIDE,
            low=-1.3,
            high=-0.8,
        ),
        FLOWS,
        value("generic", f"slope/{name}"),
    )
    for letter, (name, words) in zip("abcde", CENTRED.items(), strict=True)
)
_LATE = tuple(
    Check(
        Claim(
            f"ji2022.9{letter}",
            "derived",
            f"With classifier and features centred, {words} approach collapse like 1 / log t late in the flow too, "
            "where the slope has settled.",
            f"{DERIVED}, after slopes over log t = 30 to 150 were seen to depend on the start",
            "Slope of the logarithm against log log t over log t = 150 to 3,000, mean over starts; limits ours.",
            OUTSIDE,
            low=-1.3,
            high=-0.8,
        ),
        FLOWS,
        value("generic", f"late/{name}"),
    )
    for letter, (name, words) in zip("fghij", CENTRED.items(), strict=True)
)
_UNCENTRED = tuple(
    Check(
        Claim(
            f"ji2022.10{letter}",
            "derived",
            f"Without centring, {words} approach collapse like (log t)^(−1/2): the mean classifier is frozen.",
            DERIVED,
            "Slope of the logarithm against log log t over log t = 30 to 150, mean over starts; limits ours.",
            OUTSIDE,
            low=-0.65,
            high=-0.35,
        ),
        FLOWS,
        value("generic", f"slope/{name}"),
    )
    for letter, (name, words) in zip("abc", UNCENTRED.items(), strict=True)
)
_SCATTER = (
    Check(
        Claim(
            "ji2022.11a",
            "paper",
            "Scatter within classes, as a share of the scatter between them, falls like 1 / log t.",
            FIGURE_2,
            "Slope of log (tr Σ_W / tr Σ_B) against log log t over log t = 30 to 150, mean over starts; limits ours.",
            OUTSIDE,
            low=-1.05,
            high=-0.85,
        ),
        FLOWS,
        value("generic", "slope/nc1_trace"),
    ),
    Check(
        Claim(
            "ji2022.11b",
            "derived",
            "Counted in the plane of the class means only (Papyan's tr(Σ_W Σ_B⁺) / K), scatter within classes falls "
            "much faster than 1 / log t.",
            DERIVED,
            "Slope of its logarithm against log log t over log t = 30 to 150, mean over starts; limit ours.",
            OUTSIDE,
            high=-2.5,
        ),
        FLOWS,
        value("generic", "slope/nc1_pinv"),
    ),
)
_SYMMETRIC = tuple(
    Check(
        Claim(
            f"ji2022.12{letter}",
            "derived",
            f"The slow rate comes from the start: from a typical symmetric one, {CENTRED[name]} at log t = 25 are at "
            "least 10 times nearer to collapse.",
            DERIVED,
            "log₁₀ of symmetric over generic start of the same seed, mean over seeds. An earlier form, of every start, "
            "is wrong: some linger near a saddle.",
            "The mean over seeds lies outside.",
            high=-1.0,
        ),
        FLOWS,
        log_ratio("symmetric", "generic", f"at/25/{name}"),
    )
    for letter, name in zip("abc", SYMMETRIC, strict=True)
)
_DECAY = (
    Check(
        Claim(
            "ji2022.19g",
            "derived",
            "In the layer-peeled model the mean of the classifier's rows stays where it was, to log t = 3,000.",
            DERIVED,
            "Largest |wbar(t) − wbar(0)| / |W(0)|, of every start.",
            "A start whose mean classifier moves.",
            high=1e-8,
            is_exact=True,
        ),
        FLOWS,
        value("generic", "mean_classifier_drift"),
    ),
    Check(
        Claim(
            "ji2022.19h",
            "derived",
            "In the layer-peeled model with weight decay the mean of the classifier's rows decays as exp(−decay × t).",
            DERIVED,
            "Largest distance from that law over |W(0)|, of every start.",
            "A start off the law.",
            high=1e-6,
            is_exact=True,
        ),
        FLOWS,
        value("decay", "law_residual"),
    ),
    Check(
        Claim(
            "ji2022.20d",
            "derived",
            "In the layer-peeled model weight decay makes the classifier, where it is not centred, collapse much "
            "faster.",
            DERIVED,
            "Distance between classifier and class means, not centred, at log t = 8 with decay 0.005 over without, "
            "mean over starts; limit ours.",
            OUTSIDE,
            high=0.5,
        ),
        FLOWS,
        end_ratio("nc3_duality_uncentered"),
    ),
)

RATE_CHECKS: tuple[Check, ...] = (*_EARLY, *_LATE, *_UNCENTRED, *_SCATTER, *_SYMMETRIC, *_DECAY)
