"""Claims on Liu et al. 2023 about random features that are identities: every single draw must agree."""

from mixscope.records.claims import Claim
from mixscope.studies.engine.evidence_sources import DERIVED, value
from mixscope.studies.engine.study_definition import Check
from mixscope.studies.liu2023.evidence import LEMMA
from mixscope.studies.liu2023.settings import FEATURES, OUTSIDE

SMALL_TOY = "8 examples, 64 blends, 30 features, a random start; largest difference over the path's largest length"
RECALLED_BOUND = "derived here; recalled of the paper's Theorem 5.2, not checked against it"

CHECKS = (
    Check(
        Claim(
            "liu2023.1a",
            "derived",
            "Gradient flow on random features follows the closed form at all times.",
            LEMMA,
            f"closed form against a Runge-Kutta solver at times 3, 30 and 300: {SMALL_TOY}",
            "a path that the solver does not follow",
            high=1e-8,
            is_exact=True,
        ),
        (FEATURES,),
        value("closed_form", "ode_error"),
    ),
    Check(
        Claim(
            "liu2023.1b",
            "derived",
            "Gradient descent on random features follows the closed form of the flow, with powers in place of "
            "exponentials.",
            LEMMA,
            f"closed form against 500 steps taken one by one: {SMALL_TOY}",
            "steps that end elsewhere by more than rounding",
            high=1e-12,
            is_exact=True,
        ),
        (FEATURES,),
        value("closed_form", "descent_error"),
    ),
    Check(
        Claim(
            "liu2023.1c",
            "derived",
            "The path of gradient flow on random features is a decay towards what clean labels teach, plus what the "
            "labels' noise teaches, fading in.",
            LEMMA,
            f"closed form against the two terms with matrix exponentials and pseudo-inverse: {SMALL_TOY}",
            "terms that do not add up to the path",
            high=1e-8,
            is_exact=True,
        ),
        (FEATURES,),
        value("closed_form", "lemma_error"),
    ),
    Check(
        Claim(
            "liu2023.5b",
            "control",
            "On blends with the teacher's own labels (clean labels) the test risk is lowest at the end.",
            DERIVED,
            "risk at the end less the smallest, over that at the start",
            "a rise above rounding",
            high=1e-12,
            is_exact=True,
        ),
        (FEATURES,),
        value("random_features", "clean/rise_of_first"),
    ),
    Check(
        Claim(
            "liu2023.5c",
            "control",
            "On blends with the teacher's own labels (clean labels) the distance to θ*, where they lead, never rises.",
            DERIVED,
            "largest rise between two times, over the distance at the start; a teacher in the span and one outside",
            "a rise above rounding",
            high=1e-12,
            is_exact=True,
        ),
        (FEATURES, OUTSIDE),
        lambda results, setting: results.sample(
            setting, "random_features" if setting == FEATURES else "outside_teacher", "clean/distance_rise"
        ),
    ),
    Check(
        Claim(
            "liu2023.8a",
            "derived",
            "The risk above that of θ*, where clean labels lead, stays below its bound at all times.",
            RECALLED_BOUND,
            "largest ratio of that risk to its bound over all times; starts at 0",
            "a ratio above 1",
            high=1,
            is_exact=True,
        ),
        (FEATURES, OUTSIDE),
        lambda results, setting: results.sample(
            setting, "bound_and_modes" if setting == FEATURES else "outside_bound", "bound/largest_share"
        ),
    ),
    Check(
        Claim(
            "liu2023.9a",
            "derived",
            "The squared error along an eigenvector is U-shaped if and only if what is to be learned, δ, and what the "
            "noise adds, n, have opposite signs.",
            DERIVED,
            "eigenvectors, of 100, whose shape on a fine grid of times does not agree with the signs",
            "one that does not",
            low=0,
            high=0,
            unit="eigenvectors",
            is_exact=True,
        ),
        (FEATURES,),
        value("bound_and_modes", "modes/wrong"),
    ),
    Check(
        Claim(
            "liu2023.9b",
            "derived",
            "Where the squared error along an eigenvector is U-shaped, it turns at time ln(1 + |δ|/|n|)/(ημ).",
            DERIVED,
            "largest relative error of that time against bisection on the path; δ is to be learned, n added by noise, "
            "η the learning rate, μ the eigenvalue",
            "a turn at another time",
            high=1e-6,
            is_exact=True,
        ),
        (FEATURES,),
        value("bound_and_modes", "modes/time_error"),
    ),
    Check(
        Claim(
            "liu2023.10a",
            "derived",
            "The learning rate does not change the smallest risk of gradient flow.",
            DERIVED,
            "largest relative change at a tenth and ten times the rate",
            "a smaller or larger minimum",
            high=1e-9,
            is_exact=True,
        ),
        (FEATURES,),
        value("bound_and_modes", "rate/risk_change"),
    ),
    Check(
        Claim(
            "liu2023.10b",
            "derived",
            "In gradient flow the learning rate times the time of the smallest risk is constant.",
            DERIVED,
            "largest relative change at a tenth and ten times the rate; a minimum is flat, hence the tolerance",
            "another product",
            high=1e-4,
            is_exact=True,
        ),
        (FEATURES,),
        value("bound_and_modes", "rate/time_change"),
    ),
    Check(
        Claim(
            "liu2023.11a",
            "derived",
            "Where the teacher is linear in the features, labels of blended features are right.",
            DERIVED,
            "largest error of such a label, 64 blends",
            "an error above rounding",
            high=1e-12,
            is_exact=True,
        ),
        (FEATURES,),
        value("closed_form", "feature_noise"),
    ),
    Check(
        Claim(
            "liu2023.11c",
            "derived",
            "Training on blended features ends where plain training ends.",
            DERIVED,
            "relative difference of the two final test risks",
            "another end",
            high=1e-6,
            is_exact=True,
        ),
        (FEATURES,),
        value("random_features", "feature_blends/end_difference"),
    ),
    Check(
        Claim(
            "liu2023.12a",
            "derived",
            "After a switch to plain training at time τ, what blends taught outside the examples' span stays: "
            "θ(∞) = (I-P) θ(τ) + Φ⁺y.",
            DERIVED,
            f"closed form against least squares from θ(τ), four times of the switch: {SMALL_TOY}",
            "another end",
            high=1e-8,
            is_exact=True,
        ),
        (FEATURES,),
        value("closed_form", "switch_error"),
    ),
)
