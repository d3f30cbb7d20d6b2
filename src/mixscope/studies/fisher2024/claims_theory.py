"""Claims on Fisher et al. 2024 about the unconstrained model: exact, so that every single case must agree."""

from mixscope.records.claims import Claim
from mixscope.studies.engine.evidence_sources import computed
from mixscope.studies.engine.study_definition import Check
from mixscope.studies.fisher2024.evidence import DERIVED
from mixscope.studies.fisher2024.runs import THEORY

# Noted down before this study was written: 10 classes, rows of length 1.
EVEN_BLENDS = {"penalty=0.1": 1.344, "penalty=0.01": 1.563, "penalty=0.001": 1.670, "penalty=0.0001": 1.735}
OFFSETS = {"penalty=0.1": -2.716, "penalty=0.01": -3.140, "penalty=0.001": -2.991, "penalty=0.0001": -2.952}
SMALLEST = {"penalty=1e-08": 0.0}
CASES = "3, 4 and 10 classes, rows of length 1 and 2.5, penalties from 1 to 1e-4"
STARTS = "L-BFGS over classifier and features from random starts, lopsided law of the weight"


CHECKS = (
    Check(
        Claim(
            "fisher2024.1a",
            "derived",
            "Under a simplex classifier the best feature of a blend of two classes is (K-1)/(m²K) (x1 w_i + x2 w_j) "
            "with x1 and x2 from the scalar equations derived here.",
            f"{DERIVED}; the shape of the result is as recalled of the paper's Theorem 3.1, its wording was not seen",
            f"relative distance of the closed form from Newton's minimiser: {CASES}, four weights",
            "a case in which a generic minimiser ends elsewhere",
            high=1e-6,
            is_exact=True,
        ),
        (THEORY,),
        computed("features", "newton"),
    ),
    Check(
        Claim(
            "fisher2024.1b",
            "derived",
            "The best feature of a blend within one class is (K-1)/(m²K) Δ w_i: it lies along its own classifier.",
            f"{DERIVED}; the shape of the result is as recalled of the paper's Theorem 3.1, its wording was not seen",
            f"relative distance of the closed form from Newton's minimiser, worst of four weights: {CASES}",
            "a case in which a generic minimiser ends elsewhere",
            high=1e-6,
            is_exact=True,
        ),
        (THEORY,),
        computed("features", "newton-same"),
    ),
    Check(
        Claim(
            "fisher2024.2a",
            "paper",
            "The best feature of a blend within one class does not depend on the weight.",
            "Fisher et al. 2024, as read in its reviews; the tolerance is ours",
            f"largest relative distance between Newton's minimisers of four weights, each from its own start: {CASES}",
            "minimisers that differ by more than rounding",
            high=1e-9,
            is_exact=True,
        ),
        (THEORY,),
        computed("features", "same"),
    ),
    Check(
        Claim(
            "fisher2024.3",
            "derived",
            "The logit Δ of an unblended example solves Δ exp(Δ) + (K-1) Δ = a K, with a = m²K / ((K-1) penalty).",
            DERIVED,
            f"relative residual of the equation at the Δ that is used: {CASES}",
            "a residual above 1e-8",
            high=1e-8,
            is_exact=True,
        ),
        (THEORY,),
        computed("features", "rise"),
    ),
    Check(
        Claim(
            "fisher2024.4a",
            "derived",
            "The logit x of both classes of an even blend solves x exp(x) + (K/2-1) x = a K / 4, with a = m²K / "
            "((K-1) penalty).",
            DERIVED,
            f"relative residual of the equation at the x that is used: {CASES}",
            "a residual above 1e-8",
            high=1e-8,
            is_exact=True,
        ),
        (THEORY,),
        computed("features", "middle"),
    ),
    Check(
        Claim(
            "fisher2024.4b",
            "derived",
            "An even blend lies further out than the middle of its two classes, by a factor between 1 and 2.",
            DERIVED,
            "2 x / Δ for 10 classes, rows of length 1, penalties from 0.1 to 1e-8",
            "a factor outside (1, 2)",
            low=1.0,
            high=2.0,
            is_exact=True,
        ),
        (THEORY,),
        computed("limits", "amplification"),
    ),
    Check(
        Claim(
            "fisher2024.4c",
            "derived",
            "The amplification 2 x / Δ of even blends grows as the penalty on the features falls.",
            DERIVED,
            "its increase from each penalty to the next, a tenth of it; the first from 1, where penalties are large",
            "a factor that falls",
            low=0.0,
            is_exact=True,
        ),
        (THEORY,),
        computed("limits", "growth"),
    ),
    Check(
        Claim(
            "fisher2024.4d",
            "derived",
            "The amplification 2 x / Δ of even blends is 1.344, 1.563, 1.670 and 1.735 at penalties 0.1 to 1e-4.",
            f"{DERIVED}, noted down with four digits before",
            "distance from these numbers for 10 classes, rows of length 1",
            "a distance above rounding of the last digit",
            high=5.1e-4,
            is_exact=True,
        ),
        (THEORY,),
        computed("limits", "amplification", expected=EVEN_BLENDS),
    ),
    Check(
        Claim(
            "fisher2024.4e",
            "derived",
            "The amplification 2 x / Δ of even blends is what a generic minimiser gives.",
            DERIVED,
            "relative distance from the factor between Newton's minimisers, penalties from 0.1 to 1e-5",
            "a distance above 1e-6",
            high=1e-6,
            is_exact=True,
        ),
        (THEORY,),
        computed("limits", "newton-amplification"),
    ),
    Check(
        Claim(
            "fisher2024.5a",
            "derived",
            "Across the channel, x1 - x2 tends to the log-odds of the weight as the penalty falls.",
            DERIVED,
            "largest distance at weights 0.05, 0.2 and 0.4, penalty 1e-8, 10 classes",
            "a distance that does not vanish",
            high=1e-4,
            unit="nats",
            is_exact=True,
        ),
        (THEORY,),
        computed("limits", "offset-gap", expected=SMALLEST),
    ),
    Check(
        Claim(
            "fisher2024.5b",
            "derived",
            "At weight 0.05 x1 - x2 overshoots the log-odds -2.944 on its way: -2.716, -3.140, -2.991, -2.952.",
            f"{DERIVED}, noted down with four digits before",
            "distance from these numbers at penalties 0.1 to 1e-4, 10 classes",
            "a distance above rounding of the last digit",
            high=5.1e-4,
            unit="nats",
            is_exact=True,
        ),
        (THEORY,),
        computed("limits", "offset", expected=OFFSETS),
    ),
    Check(
        Claim(
            "fisher2024.6a",
            "derived",
            "Squared error puts blends exactly on the straight line between the features of their classes.",
            DERIVED,
            f"distance of the ridge solution from the line and from its closed form over an unblended feature: {CASES}",
            "a distance above rounding",
            high=1e-9,
            is_exact=True,
        ),
        (THEORY,),
        computed("features", "line"),
    ),
    Check(
        Claim(
            "fisher2024.12a",
            "derived",
            "Where there is room for a simplex frame, the classifier of every optimum is one, without assuming so.",
            f"{DERIVED}; the paper assumes the simplex",
            f"deviation of the Gram matrix from a simplex, {STARTS}: 3 to 6 classes, at least K-1 dimensions",
            "a start that ends at another classifier",
            high=1e-5,
            is_exact=True,
        ),
        (THEORY,),
        computed("joint-optimum", "gram"),
    ),
    Check(
        Claim(
            "fisher2024.12b",
            "control",
            "Where there is no room for a simplex frame, the classifier of an optimum is none.",
            DERIVED,
            f"deviation of the Gram matrix from a simplex, {STARTS}: 4 classes in 2 dimensions",
            "a deviation near 0, so that the measure would see a simplex anywhere",
            low=0.1,
            is_exact=True,
        ),
        (THEORY,),
        computed("joint-optimum", "gram-flat"),
    ),
    Check(
        Claim(
            "fisher2024.13a",
            "derived",
            "5% below the threshold E[w² + (1-w)²] / K of the product of the penalties the classifier is not zero.",
            f"{DERIVED}; the limit on the length is ours",
            f"root mean squared length of the classifier's rows, {STARTS}",
            "a classifier that has vanished",
            low=0.01,
            is_exact=True,
        ),
        (THEORY,),
        computed("threshold", "below"),
    ),
    Check(
        Claim(
            "fisher2024.13b",
            "derived",
            "5% above the threshold E[w² + (1-w)²] / K of the product of the penalties the classifier is zero.",
            f"{DERIVED}; the limit on the length is ours",
            f"root mean squared length of the classifier's rows, {STARTS}",
            "a classifier that is left",
            high=1e-4,
            is_exact=True,
        ),
        (THEORY,),
        computed("threshold", "above"),
    ),
    Check(
        Claim(
            "fisher2024.14",
            "derived",
            "At an optimum both penalties carry the same energy: classifier penalty |W|² = feature penalty E|h|².",
            DERIVED,
            f"relative difference of the two, {STARTS}, with and without room for a simplex",
            "a difference above 1e-4",
            high=1e-4,
            is_exact=True,
        ),
        (THEORY,),
        computed("joint-optimum", "balance"),
    ),
)
