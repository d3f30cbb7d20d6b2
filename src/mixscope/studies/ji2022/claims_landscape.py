"""Claims on Ji et al. 2022 about the layer-peeled model's optima and stationary points: 1 to 4 and 13 to 17."""

from functools import partial

from mixscope.studies.engine.claim_checks import DERIVED, Source, at_least, at_most, between, claim_check
from mixscope.studies.engine.evidence_sources import computed, value

RECALLED = Source("recalled", "Ji et al. 2022, recalled, not checked against the paper")
ABSTRACT = Source("paper", "Ji et al. 2022, abstract")
THEORY = ("theory",)
OPTIMUM = "Where |W|² + |H|² is least for a margin of 1,"
LAST_DIGIT = 1e-5  # relative: a record keeps six significant digits

claim = partial(claim_check, study="ji2022", settings=THEORY, is_exact=True)

CHECKS = (
    claim(
        key="1",
        statement="The least |W|² / 2 + |H|² / 2 that keeps every example a margin of 1 away from every class is √n "
        "(K − 1).",
        source=DERIVED.noting(f"; that the optimum is collapse: {RECALLED.words}"),
        measured="Relative error of the closed form against sequential quadratic programming, on six problems.",
        test=at_most(1e-6, computed("separation", "value")),
    ),
    claim(
        key="2a",
        statement=f"{OPTIMUM} classifier and features have the same norm.",
        measured="| |W|² / |H|² − 1 | where the solver ends.",
        test=at_most(1e-5, computed("separation", "balance")),
    ),
    claim(
        key="2b",
        statement=f"{OPTIMUM} every feature lies on its class's classifier row: no scatter within classes, and "
        "duality.",
        source=RECALLED,
        measured="Largest entry of h − w_y / √n where the solver ends.",
        test=at_most(1e-5, computed("separation", "duality")),
    ),
    claim(
        key="2c",
        statement=f"{OPTIMUM} the classifier's rows form a simplex: equal lengths and equal angles.",
        source=RECALLED,
        measured="Largest entry of W Wᵀ minus that of the simplex, where the solver ends.",
        test=at_most(1e-5, computed("separation", "gram")),
    ),
    claim(
        key="3",
        statement="No point has a smallest margin above (|W|² + |H|²) / (2 √n (K − 1)).",
        measured="Largest margin over the bound, minus 1, of random points and points pushed off the optimum.",
        test=at_most(1e-12, value("bounds", "margin_excess")),
    ),
    claim(
        key="4a",
        statement="At every norm no point has a loss below n K log(1 + (K − 1) exp(−γ (|W|² + |H|²))), γ = 1 / (2 √n "
        "(K − 1)).",
        measured="Least log loss minus its bound, of random points and points pushed off the optimum.",
        test=at_least(-1e-10, value("bounds", "loss_excess")),
    ),
    claim(
        key="4b",
        statement="Neural collapse reaches the lower bound of 4a on the loss.",
        measured="Largest relative distance of the loss from the bound at collapsed points of many norms.",
        test=at_most(1e-10, value("bounds", "loss_at_optimum")),
    ),
    claim(
        key="13a",
        statement="Four classes at the corners of a square satisfy all first-order conditions, though they are no "
        "simplex.",
        measured="Residual of the KKT conditions, n = 1, 2, 5.",
        test=at_most(1e-10, computed("square", "residual")),
    ),
    claim(
        key="13b",
        statement="For a margin of 1, |W|² / 2 + |H|² / 2 of the square of four classes is 4 √n, where the optimum "
        "has 3 √n.",
        measured="Value over 4 √n, n = 1, 2, 5, to the six digits of a record.",
        test=between(1 - LAST_DIGIT, 1 + LAST_DIGIT, computed("square", "value")),
    ),
    claim(
        key="13c",
        statement="The square of four classes is a saddle: with room outside its plane, curvature along the way out "
        "is 2 − 2 σ₁ = −2.",
        measured="Quadratic form along a direction of squared length 2, n = 1, 2, 5, to the six digits of a record.",
        test=between(-2 * (1 + LAST_DIGIT), -2 * (1 - LAST_DIGIT), computed("square", "curvature")),
    ),
    claim(
        key="15b",
        statement="No four directions in a plane come near to a simplex's angles.",
        measured="Least mean |cos + 1/3| over a grid of 2 degrees, which is off by at most 0.035; limit ours.",
        is_control=True,
        test=at_least(0.25, value("planar-angles", "angle")),
    ),
    claim(
        key="15c",
        statement="The loss of four classes in a plane does not reach the bound that collapse reaches.",
        measured="Least log loss minus its bound after minimisation from random starts, K = 4, D = 2; limit ours.",
        is_control=True,
        test=at_least(0.1, computed("minima-in-a-plane", "least")),
    ),
    claim(
        key="16a",
        statement="Stationary points on the sphere that are no collapse have a direction of strictly negative "
        "curvature.",
        source=ABSTRACT.noting(" (all critical points but the collapsed minimisers are strict saddles)"),
        measured="Least eigenvalue of the Riemannian Hessian over λ, at the best planar points of 4 to 6 classes set "
        "into D ≥ K dimensions; limit ours.",
        test=at_most(-0.01, computed("stationary", "eigenvalue")),
    ),
    claim(
        key="16b",
        statement="At stationary points on the sphere that are no collapse, the Hessian's least eigenvalue is at "
        "most λ − σ₁: σ₁ is the largest singular value of −dL/dZ, λ the multiplier of the norm.",
        measured="Eigenvalue minus (λ − σ₁), over λ. An earlier form, 2 λ − 2 σ₁, is wrong: that is the quadratic "
        "form along a direction of squared length 2.",
        test=at_most(1e-6, computed("stationary", "excess")),
    ),
    claim(
        key="16c",
        statement="The points on the sphere by which 16a and 16b are judged are stationary.",
        measured="Tangential gradient over gradient.",
        test=at_most(1e-6, computed("stationary", "residual")),
    ),
    claim(
        key="17",
        statement="The landscape is benign: minimisation on the sphere from random starts always ends at collapse.",
        source=ABSTRACT,
        measured="Largest |log loss − bound| of all starts, five sizes with D ≥ K − 1, three norms each.",
        test=at_most(1e-8, computed("minima", "worst")),
    ),
)
