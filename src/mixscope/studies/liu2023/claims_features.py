"""Claims on Liu et al. 2023 about random features that are identities: every single draw must agree."""

from functools import partial

from mixscope.studies.engine.claim_checks import DERIVED, at_most, claim_check, exactly
from mixscope.studies.engine.evidence_sources import value, value_at
from mixscope.studies.liu2023.evidence import LEMMA
from mixscope.studies.liu2023.settings import BOUNDS, FEATURES, OUTSIDE, TOYS

SMALL_TOY = "8 examples, 64 blends, 30 features, a random start; largest difference over the path's largest length"
RECALLED_BOUND = DERIVED.noting("; recalled of the paper's Theorem 5.2, not checked against it")

claim = partial(claim_check, study="liu2023", settings=(FEATURES,), is_exact=True)

CHECKS = (
    claim(
        key="1a",
        statement="Gradient flow on random features follows the closed form at all times.",
        source=LEMMA,
        measured=f"closed form against a Runge-Kutta solver at times 3, 30 and 300: {SMALL_TOY}",
        test=at_most(1e-8, value("closed_form", "ode_error")),
    ),
    claim(
        key="1b",
        statement="Gradient descent on random features follows the closed form of the flow, with powers in place of "
        "exponentials.",
        source=LEMMA,
        measured=f"closed form against 500 steps taken one by one: {SMALL_TOY}",
        test=at_most(1e-12, value("closed_form", "descent_error")),
    ),
    claim(
        key="1c",
        statement="The path of gradient flow on random features is a decay towards what clean labels teach, plus "
        "what the labels' noise teaches, fading in.",
        source=LEMMA,
        measured=f"closed form against the two terms with matrix exponentials and pseudo-inverse: {SMALL_TOY}",
        test=at_most(1e-8, value("closed_form", "lemma_error")),
    ),
    claim(
        key="5b",
        statement="On blends with the teacher's own labels (clean labels) the test risk is lowest at the end.",
        measured="risk at the end less the smallest, over that at the start",
        is_control=True,
        test=at_most(1e-12, value("random_features", "clean/rise_of_first")),
    ),
    claim(
        key="5c",
        statement="On blends with the teacher's own labels (clean labels) the distance to θ*, where they lead, never "
        "rises.",
        measured="largest rise between two times, over the distance at the start; a teacher in the span and one "
        "outside",
        is_control=True,
        settings=(FEATURES, OUTSIDE),
        test=at_most(1e-12, value_at(TOYS, "clean/distance_rise")),
    ),
    claim(
        key="8a",
        statement="The risk above that of θ*, where clean labels lead, stays below its bound at all times.",
        source=RECALLED_BOUND,
        measured="largest ratio of that risk to its bound over all times; starts at 0",
        settings=(FEATURES, OUTSIDE),
        test=at_most(1, value_at(BOUNDS, "bound/largest_share")),
    ),
    claim(
        key="9a",
        statement="The squared error along an eigenvector is U-shaped if and only if what is to be learned, δ, and "
        "what the noise adds, n, have opposite signs.",
        measured="eigenvectors, of 100, whose shape on a fine grid of times does not agree with the signs",
        test=exactly(0, value("bound_and_modes", "modes/wrong"), unit="eigenvectors"),
    ),
    claim(
        key="9b",
        statement="Where the squared error along an eigenvector is U-shaped, it turns at time ln(1 + |δ|/|n|)/(ημ).",
        measured="largest relative error of that time against bisection on the path; δ is to be learned, n added by "
        "noise, η the learning rate, μ the eigenvalue",
        test=at_most(1e-6, value("bound_and_modes", "modes/time_error")),
    ),
    claim(
        key="10a",
        statement="The learning rate does not change the smallest risk of gradient flow.",
        measured="largest relative change at a tenth and ten times the rate",
        test=at_most(1e-9, value("bound_and_modes", "rate/risk_change")),
    ),
    claim(
        key="10b",
        statement="In gradient flow the learning rate times the time of the smallest risk is constant.",
        measured="largest relative change at a tenth and ten times the rate; a minimum is flat, hence the tolerance",
        test=at_most(1e-4, value("bound_and_modes", "rate/time_change")),
    ),
    claim(
        key="11a",
        statement="Where the teacher is linear in the features, labels of blended features are right.",
        measured="largest error of such a label, 64 blends",
        test=at_most(1e-12, value("closed_form", "feature_noise")),
    ),
    claim(
        key="11c",
        statement="Training on blended features ends where plain training ends.",
        measured="relative difference of the two final test risks",
        test=at_most(1e-6, value("random_features", "feature_blends/end_difference")),
    ),
    claim(
        key="12a",
        statement="After a switch to plain training at time τ, what blends taught outside the examples' span stays: "
        "θ(∞) = (I-P) θ(τ) + Φ⁺y.",
        measured=f"closed form against least squares from θ(τ), four times of the switch: {SMALL_TOY}",
        test=at_most(1e-8, value("closed_form", "switch_error")),
    ),
)
