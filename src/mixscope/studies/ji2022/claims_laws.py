"""What follows from Ji et al. 2022 for the layer-peeled flow's loss, norm and margin: claims 5 to 8, 14, 15a."""

from mixscope.records.claims import Claim
from mixscope.studies.engine.evidence_sources import DERIVED, value
from mixscope.studies.engine.study_definition import Check
from mixscope.studies.ji2022.evidence import FLOWS, law_error

THEORY, PLANE = ("theory",), ("flow-in-a-plane",)
OUTSIDE = "The mean over starts lies outside."
BEST = "γ is the best normalised margin."
FINITE_TIME = "Mean over normal starts. The limit is 1 from any start; how near log t = 100 is depends on its size."

_LAWS = (
    Check(
        Claim(
            "ji2022.5a",
            "derived",
            "From a generic start the normalised margin rises all along once the loss is below log 2.",
            f"{DERIVED}; the theorem is about the smoothed margin only",
            "Smallest rise of margin / best from one record to the next, of every start.",
            "A start whose margin falls.",
            low=0.0,
            is_exact=True,
        ),
        FLOWS,
        value("generic", "step/margin_ratio"),
    ),
    Check(
        Claim(
            "ji2022.5b",
            "derived",
            "From a generic start the smoothed margin −log L / (|W|² + |H|²) rises all along once the loss is below "
            "log 2.",
            "Lyu & Li 2019, recalled, not checked against the paper",
            "Smallest rise from one record to the next, of every start.",
            "A start whose smoothed margin falls.",
            low=0.0,
            is_exact=True,
        ),
        FLOWS,
        value("generic", "step/smoothed_margin_ratio"),
    ),
    Check(
        Claim(
            "ji2022.5c",
            "derived",
            "At log t = 100 the flow's normalised margin is within 2% of the best.",
            DERIVED,
            f"Margin / best. {FINITE_TIME}",
            OUTSIDE,
            low=0.98,
        ),
        FLOWS,
        value("generic", "at/100/margin_ratio"),
    ),
    Check(
        Claim(
            "ji2022.6a",
            "derived",
            "The flow's squared norm grows like log t / γ: at log t = 100 it is at most 10% above.",
            DERIVED,
            f"γ (|W|² + |H|²) / log t. {BEST} {FINITE_TIME}",
            OUTSIDE,
            low=1.0,
            high=1.1,
        ),
        FLOWS,
        value("generic", "at/100/norm_law"),
    ),
    Check(
        Claim(
            "ji2022.6b",
            "derived",
            "The flow's loss falls like 1 / (4 γ t log t): at log t = 100 it is at most 10% below.",
            DERIVED,
            f"4 γ L t log t. {BEST} {FINITE_TIME}",
            OUTSIDE,
            low=0.9,
            high=1.0,
        ),
        FLOWS,
        value("generic", "at/100/loss_law"),
    ),
    Check(
        Claim(
            "ji2022.7a",
            "derived",
            "Along the flow classifier and features come to share the norm equally: at log t = 100 their ratio is "
            "above 0.97.",
            DERIVED,
            f"|W|² / |H|². {FINITE_TIME}",
            OUTSIDE,
            low=0.97,
        ),
        FLOWS,
        value("generic", "at/100/norm_ratio"),
    ),
    Check(
        Claim(
            "ji2022.7b",
            "derived",
            "Late enough the size of the start does not matter: at log t = 3,000 margin, norm, loss and balance are "
            "all within 2% of their limits.",
            DERIVED,
            "Largest distance from 1 of the four ratios of 5c, 6a, 6b and 7a, mean over starts; limit ours.",
            OUTSIDE,
            high=0.02,
        ),
        FLOWS,
        value("generic", law_error("margin_ratio", "norm_law", "loss_law", "norm_ratio")),
    ),
)

_CONSERVED = (
    Check(
        Claim(
            "ji2022.8a",
            "derived",
            "The flow conserves Wᵀ W − H Hᵀ.",
            DERIVED,
            "Rate of change at random points over that of Wᵀ W, by automatic differentiation.",
            "A rate above rounding.",
            high=1e-12,
            is_exact=True,
        ),
        THEORY,
        value("conservation", "rate"),
    ),
    Check(
        Claim(
            "ji2022.8b",
            "derived",
            "Followed to log t = 3,000 the flow still conserves Wᵀ W − H Hᵀ.",
            DERIVED,
            "Largest drift over the size at the start. The integrator puts the quantity back at every step, so this "
            "says that it manages, not that the flow conserves it.",
            "A start whose drift is larger.",
            high=1e-8,
            is_exact=True,
        ),
        FLOWS,
        value("generic", "conserved_drift"),
    ),
    Check(
        Claim(
            "ji2022.8c",
            "derived",
            "Plain gradient descent with step 0.1 nearly conserves Wᵀ W − H Hᵀ.",
            DERIVED,
            "Largest drift over the size at the start, in 30,000 steps of the summed loss; limit ours.",
            "A start whose drift is larger.",
            high=0.1,
            is_exact=True,
        ),
        FLOWS,
        value("descent", "conserved_drift"),
    ),
    Check(
        Claim(
            "ji2022.15a",
            "control",
            "Where there is no room for a simplex (four classes in a plane) the flow does not reach a simplex's "
            "angles: it ends at the square's, 0.444 away.",
            DERIVED,
            "Mean |cos + 1/3| of the class means at the end of a flow in a plane, mean over starts; limits ours.",
            OUTSIDE,
            low=0.44,
            high=0.45,
        ),
        PLANE,
        value("in-the-plane", "end/nc2_equiangular_means"),
    ),
)

_PLANE = (
    Check(
        Claim(
            "ji2022.14a",
            "control",
            "A flow that starts in a plane stays there, and four classes do not collapse: three quarters of the best "
            "margin.",
            DERIVED,
            "Margin / best at log t = 3,000 in 6 dimensions, mean over starts.",
            OUTSIDE,
            low=0.748,
            high=0.752,
        ),
        PLANE,
        value("in-the-plane", "end/margin_ratio"),
    ),
    Check(
        Claim(
            "ji2022.14b",
            "derived",
            "A flow that starts pushed out of a plane by 0.3 leaves the saddle, and exceeds 95% of the best margin by "
            "log t = 50.",
            DERIVED,
            "Margin / best at log t = 50, mean over starts.",
            OUTSIDE,
            low=0.95,
        ),
        PLANE,
        value("pushed-out", "at/50/margin_ratio"),
    ),
)
LAW_CHECKS: tuple[Check, ...] = (*_LAWS, *_CONSERVED, *_PLANE)
