"""What Ji et al. 2022 claim of the layer-peeled model's optima and stationary points: claims 1 to 4 and 13 to 17."""

from mixscope.records.claims import Claim
from mixscope.studies.engine.evidence_sources import DERIVED, computed, value
from mixscope.studies.engine.study_definition import Check

RECALLED = "Ji et al. 2022, recalled, not checked against the paper"
ABSTRACT = "Ji et al. 2022, abstract"
THEORY = ("theory",)
OPTIMUM = "Where |W|² + |H|² is least for a margin of 1,"
LAST_DIGIT = 1e-5  # relative: a record keeps six significant digits

LANDSCAPE_CHECKS: tuple[Check, ...] = (
    Check(
        Claim(
            "ji2022.1",
            "derived",
            "The least |W|² / 2 + |H|² / 2 that keeps every example a margin of 1 away from every class is √n (K − 1).",
            f"{DERIVED}; that the optimum is collapse: {RECALLED}",
            "Relative error of the closed form against sequential quadratic programming, on six problems.",
            "A problem on which the solver ends elsewhere.",
            high=1e-6,
            is_exact=True,
        ),
        THEORY,
        computed("separation", "value"),
    ),
    Check(
        Claim(
            "ji2022.2a",
            "derived",
            f"{OPTIMUM} classifier and features have the same norm.",
            DERIVED,
            "| |W|² / |H|² − 1 | where the solver ends.",
            "A problem on which they differ.",
            high=1e-5,
            is_exact=True,
        ),
        THEORY,
        computed("separation", "balance"),
    ),
    Check(
        Claim(
            "ji2022.2b",
            "recalled",
            f"{OPTIMUM} every feature lies on its class's classifier row: no scatter within classes, and duality.",
            RECALLED,
            "Largest entry of h − w_y / √n where the solver ends.",
            "A problem whose solution does not collapse.",
            high=1e-5,
            is_exact=True,
        ),
        THEORY,
        computed("separation", "duality"),
    ),
    Check(
        Claim(
            "ji2022.2c",
            "recalled",
            f"{OPTIMUM} the classifier's rows form a simplex: equal lengths and equal angles.",
            RECALLED,
            "Largest entry of W Wᵀ minus that of the simplex, where the solver ends.",
            "A problem whose solution is no simplex.",
            high=1e-5,
            is_exact=True,
        ),
        THEORY,
        computed("separation", "gram"),
    ),
    Check(
        Claim(
            "ji2022.3",
            "derived",
            "No point has a smallest margin above (|W|² + |H|²) / (2 √n (K − 1)).",
            DERIVED,
            "Largest margin over the bound, minus 1, of random points and points pushed off the optimum.",
            "A point above the bound by more than rounding.",
            high=1e-12,
            is_exact=True,
        ),
        THEORY,
        value("bounds", "margin_excess"),
    ),
    Check(
        Claim(
            "ji2022.4a",
            "derived",
            "At every norm no point has a loss below n K log(1 + (K − 1) exp(−γ (|W|² + |H|²))), γ = 1 / (2 √n (K − "
            "1)).",
            DERIVED,
            "Least log loss minus its bound, of random points and points pushed off the optimum.",
            "A point below the bound by more than rounding.",
            low=-1e-10,
            is_exact=True,
        ),
        THEORY,
        value("bounds", "loss_excess"),
    ),
    Check(
        Claim(
            "ji2022.4b",
            "derived",
            "Neural collapse reaches the lower bound of 4a on the loss.",
            DERIVED,
            "Largest relative distance of the loss from the bound at collapsed points of many norms.",
            "A collapsed point off the bound.",
            high=1e-10,
            is_exact=True,
        ),
        THEORY,
        value("bounds", "loss_at_optimum"),
    ),
    Check(
        Claim(
            "ji2022.13a",
            "derived",
            "Four classes at the corners of a square satisfy all first-order conditions, though they are no simplex.",
            DERIVED,
            "Residual of the KKT conditions, n = 1, 2, 5.",
            "A residual above rounding.",
            high=1e-10,
            is_exact=True,
        ),
        THEORY,
        computed("square", "residual"),
    ),
    Check(
        Claim(
            "ji2022.13b",
            "derived",
            "For a margin of 1, |W|² / 2 + |H|² / 2 of the square of four classes is 4 √n, where the optimum has 3 √n.",
            DERIVED,
            "Value over 4 √n, n = 1, 2, 5, to the six digits of a record.",
            "Any other value.",
            low=1 - LAST_DIGIT,
            high=1 + LAST_DIGIT,
            is_exact=True,
        ),
        THEORY,
        computed("square", "value"),
    ),
    Check(
        Claim(
            "ji2022.13c",
            "derived",
            "The square of four classes is a saddle: with room outside its plane, curvature along the way out is 2 − "
            "2 σ₁ = −2.",
            DERIVED,
            "Quadratic form along a direction of squared length 2, n = 1, 2, 5, to the six digits of a record.",
            "Any other value.",
            low=-2 * (1 + LAST_DIGIT),
            high=-2 * (1 - LAST_DIGIT),
            is_exact=True,
        ),
        THEORY,
        computed("square", "curvature"),
    ),
    Check(
        Claim(
            "ji2022.15b",
            "control",
            "No four directions in a plane come near to a simplex's angles.",
            DERIVED,
            "Least mean |cos + 1/3| over a grid of 2 degrees, which is off by at most 0.035; limit ours.",
            "An arrangement below the limit.",
            low=0.25,
            is_exact=True,
        ),
        THEORY,
        value("planar-angles", "angle"),
    ),
    Check(
        Claim(
            "ji2022.15c",
            "control",
            "The loss of four classes in a plane does not reach the bound that collapse reaches.",
            DERIVED,
            "Least log loss minus its bound after minimisation from random starts, K = 4, D = 2; limit ours.",
            "A start that comes nearer.",
            low=0.1,
            is_exact=True,
        ),
        THEORY,
        computed("minima-in-a-plane", "least"),
    ),
    Check(
        Claim(
            "ji2022.16a",
            "paper",
            "Stationary points on the sphere that are no collapse have a direction of strictly negative curvature.",
            f"{ABSTRACT} (all critical points but the collapsed minimisers are strict saddles)",
            "Least eigenvalue of the Riemannian Hessian over λ, at the best planar points of 4 to 6 classes set into "
            "D ≥ K dimensions; limit ours.",
            "A least eigenvalue above the limit.",
            high=-0.01,
            is_exact=True,
        ),
        THEORY,
        computed("stationary", "eigenvalue"),
    ),
    Check(
        Claim(
            "ji2022.16b",
            "derived",
            "At stationary points on the sphere that are no collapse, the Hessian's least eigenvalue is at most λ − "
            "σ₁: σ₁ is the largest singular value of −dL/dZ, λ the multiplier of the norm.",
            DERIVED,
            "Eigenvalue minus (λ − σ₁), over λ. An earlier form, 2 λ − 2 σ₁, is wrong: that is the quadratic form "
            "along a direction of squared length 2.",
            "An eigenvalue above it.",
            high=1e-6,
            is_exact=True,
        ),
        THEORY,
        computed("stationary", "excess"),
    ),
    Check(
        Claim(
            "ji2022.16c",
            "derived",
            "The points on the sphere by which 16a and 16b are judged are stationary.",
            DERIVED,
            "Tangential gradient over gradient.",
            "A point that is not stationary.",
            high=1e-6,
            is_exact=True,
        ),
        THEORY,
        computed("stationary", "residual"),
    ),
    Check(
        Claim(
            "ji2022.17",
            "paper",
            "The landscape is benign: minimisation on the sphere from random starts always ends at collapse.",
            ABSTRACT,
            "Largest |log loss − bound| of all starts, five sizes with D ≥ K − 1, three norms each.",
            "A start that ends elsewhere.",
            high=1e-8,
            is_exact=True,
        ),
        THEORY,
        computed("minima", "worst"),
    ),
)
