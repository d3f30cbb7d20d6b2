"""Claims on Ji et al. 2022 about the layer-peeled flow's loss, norm and margin: 5 to 8, 14, 15a."""

from functools import partial

from mixscope.studies.engine.claim_checks import DERIVED, Source, at_least, at_most, between, claim_check
from mixscope.studies.engine.evidence_sources import value
from mixscope.studies.ji2022.evidence import FLOWS, law_error

THEORY, PLANE = ("theory",), ("flow-in-a-plane",)
BEST = "γ is the best normalised margin."
FINITE_TIME = "Mean over normal starts. The limit is 1 from any start; how near log t = 100 is depends on its size."

claim = partial(claim_check, study="ji2022", settings=FLOWS)
exact = partial(claim, is_exact=True)

CHECKS = (
    exact(
        key="5a",
        statement="From a generic start the normalised margin rises all along once the loss is below log 2.",
        source=DERIVED.noting("; the theorem is about the smoothed margin only"),
        measured="Smallest rise of margin / best from one record to the next, of every start.",
        test=at_least(0.0, value("generic", "step/margin_ratio")),
    ),
    exact(
        key="5b",
        statement="From a generic start the smoothed margin −log L / (|W|² + |H|²) rises all along once the loss is "
        "below log 2.",
        source=Source("derived", "Lyu & Li 2019, recalled, not checked against the paper"),
        measured="Smallest rise from one record to the next, of every start.",
        test=at_least(0.0, value("generic", "step/smoothed_margin_ratio")),
    ),
    claim(
        key="5c",
        statement="At log t = 100 the flow's normalised margin is within 2% of the best.",
        measured=f"Margin / best. {FINITE_TIME}",
        test=at_least(0.98, value("generic", "at/100/margin_ratio")),
    ),
    claim(
        key="6a",
        statement="The flow's squared norm grows like log t / γ: at log t = 100 it is at most 10% above.",
        measured=f"γ (|W|² + |H|²) / log t. {BEST} {FINITE_TIME}",
        test=between(1.0, 1.1, value("generic", "at/100/norm_law")),
    ),
    claim(
        key="6b",
        statement="The flow's loss falls like 1 / (4 γ t log t): at log t = 100 it is at most 10% below.",
        measured=f"4 γ L t log t. {BEST} {FINITE_TIME}",
        test=between(0.9, 1.0, value("generic", "at/100/loss_law")),
    ),
    claim(
        key="7a",
        statement="Along the flow classifier and features come to share the norm equally: at log t = 100 their ratio "
        "is above 0.97.",
        measured=f"|W|² / |H|². {FINITE_TIME}",
        test=at_least(0.97, value("generic", "at/100/norm_ratio")),
    ),
    claim(
        key="7b",
        statement="Late enough the size of the start does not matter: at log t = 3,000 margin, norm, loss and "
        "balance are all within 2% of their limits.",
        measured="Largest distance from 1 of the four ratios of 5c, 6a, 6b and 7a, mean over starts; limit ours.",
        test=at_most(0.02, value("generic", law_error("margin_ratio", "norm_law", "loss_law", "norm_ratio"))),
    ),
    exact(
        key="8a",
        statement="The flow conserves Wᵀ W − H Hᵀ.",
        measured="Rate of change at random points over that of Wᵀ W, by automatic differentiation.",
        settings=THEORY,
        test=at_most(1e-12, value("conservation", "rate")),
    ),
    exact(
        key="8b",
        statement="Followed to log t = 3,000 the flow still conserves Wᵀ W − H Hᵀ.",
        measured="Largest drift over the size at the start. The integrator puts the quantity back at every step, so "
        "this says that it manages, not that the flow conserves it.",
        test=at_most(1e-8, value("generic", "conserved_drift")),
    ),
    exact(
        key="8c",
        statement="Plain gradient descent with step 0.1 nearly conserves Wᵀ W − H Hᵀ.",
        measured="Largest drift over the size at the start, in 30,000 steps of the summed loss; limit ours.",
        test=at_most(0.1, value("descent", "conserved_drift")),
    ),
    claim(
        key="15a",
        statement="Where there is no room for a simplex (four classes in a plane) the flow does not reach a "
        "simplex's angles: it ends at the square's, 0.444 away.",
        measured="Mean |cos + 1/3| of the class means at the end of a flow in a plane, mean over starts; limits ours.",
        is_control=True,
        settings=PLANE,
        test=between(0.44, 0.45, value("in-the-plane", "end/nc2_equiangular_means")),
    ),
    claim(
        key="14a",
        statement="A flow that starts in a plane stays there, and four classes do not collapse: three quarters of "
        "the best margin.",
        measured="Margin / best at log t = 3,000 in 6 dimensions, mean over starts.",
        is_control=True,
        settings=PLANE,
        test=between(0.748, 0.752, value("in-the-plane", "end/margin_ratio")),
    ),
    claim(
        key="14b",
        statement="A flow that starts pushed out of a plane by 0.3 leaves the saddle, and exceeds 95% of the best "
        "margin by log t = 50.",
        measured="Margin / best at log t = 50, mean over starts.",
        settings=PLANE,
        test=at_least(0.95, value("pushed-out", "at/50/margin_ratio")),
    ),
)
