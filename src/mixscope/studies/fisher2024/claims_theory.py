"""Claims on Fisher et al. 2024 about the unconstrained model: exact, so that every single case must agree."""

from functools import partial

from mixscope.studies.engine.claim_checks import Source, at_least, at_most, between, claim_check
from mixscope.studies.engine.evidence_sources import computed
from mixscope.studies.fisher2024.evidence import DERIVED
from mixscope.studies.fisher2024.runs import THEORY

# Noted down before this study was written: 10 classes, rows of length 1.
EVEN_BLENDS = {"penalty=0.1": 1.344, "penalty=0.01": 1.563, "penalty=0.001": 1.670, "penalty=0.0001": 1.735}
OFFSETS = {"penalty=0.1": -2.716, "penalty=0.01": -3.140, "penalty=0.001": -2.991, "penalty=0.0001": -2.952}
SMALLEST = {"penalty=1e-08": 0.0}
CASES = "3, 4 and 10 classes, rows of length 1 and 2.5, penalties from 1 to 1e-4"
STARTS = "L-BFGS over classifier and features from random starts, lopsided law of the weight"


claim = partial(claim_check, study="fisher2024", source=DERIVED, settings=(THEORY,), is_exact=True)

CHECKS = (
    claim(
        key="1a",
        statement="Under a simplex classifier the best feature of a blend of two classes is (K-1)/(m²K) (x1 w_i + x2 "
        "w_j) with x1 and x2 from the scalar equations derived here.",
        source=DERIVED.noting(
            "; the shape of the result is as recalled of the paper's Theorem 3.1, its wording was not seen"
        ),
        measured=f"relative distance of the closed form from Newton's minimiser: {CASES}, four weights",
        test=at_most(1e-6, computed("features", "newton")),
    ),
    claim(
        key="1b",
        statement="The best feature of a blend within one class is (K-1)/(m²K) Δ w_i: it lies along its own "
        "classifier.",
        source=DERIVED.noting(
            "; the shape of the result is as recalled of the paper's Theorem 3.1, its wording was not seen"
        ),
        measured=f"relative distance of the closed form from Newton's minimiser, worst of four weights: {CASES}",
        test=at_most(1e-6, computed("features", "newton-same")),
    ),
    claim(
        key="2a",
        statement="The best feature of a blend within one class does not depend on the weight.",
        source=Source("paper", "Fisher et al. 2024, as read in its reviews; the tolerance is ours"),
        measured="largest relative distance between Newton's minimisers of four weights, each from its own start: "
        f"{CASES}",
        test=at_most(1e-9, computed("features", "same")),
    ),
    claim(
        key="3",
        statement="The logit Δ of an unblended example solves Δ exp(Δ) + (K-1) Δ = a K, with a = m²K / ((K-1) "
        "penalty).",
        measured=f"relative residual of the equation at the Δ that is used: {CASES}",
        test=at_most(1e-8, computed("features", "rise")),
    ),
    claim(
        key="4a",
        statement="The logit x of both classes of an even blend solves x exp(x) + (K/2-1) x = a K / 4, with a = m²K "
        "/ ((K-1) penalty).",
        measured=f"relative residual of the equation at the x that is used: {CASES}",
        test=at_most(1e-8, computed("features", "middle")),
    ),
    claim(
        key="4b",
        statement="An even blend lies further out than the middle of its two classes, by a factor between 1 and 2.",
        measured="2 x / Δ for 10 classes, rows of length 1, penalties from 0.1 to 1e-8",
        test=between(1.0, 2.0, computed("limits", "amplification")),
    ),
    claim(
        key="4c",
        statement="The amplification 2 x / Δ of even blends grows as the penalty on the features falls.",
        measured="its increase from each penalty to the next, a tenth of it; the first from 1, where penalties are "
        "large",
        test=at_least(0.0, computed("limits", "growth")),
    ),
    claim(
        key="4d",
        statement="The amplification 2 x / Δ of even blends is 1.344, 1.563, 1.670 and 1.735 at penalties 0.1 to 1e-4.",
        source=DERIVED.noting(", noted down with four digits before"),
        measured="distance from these numbers for 10 classes, rows of length 1",
        test=at_most(5.1e-4, computed("limits", "amplification", expected=EVEN_BLENDS)),
    ),
    claim(
        key="4e",
        statement="The amplification 2 x / Δ of even blends is what a generic minimiser gives.",
        measured="relative distance from the factor between Newton's minimisers, penalties from 0.1 to 1e-5",
        test=at_most(1e-6, computed("limits", "newton-amplification")),
    ),
    claim(
        key="5a",
        statement="Across the channel, x1 - x2 tends to the log-odds of the weight as the penalty falls.",
        measured="largest distance at weights 0.05, 0.2 and 0.4, penalty 1e-8, 10 classes",
        test=at_most(1e-4, computed("limits", "offset-gap", expected=SMALLEST), unit="nats"),
    ),
    claim(
        key="5b",
        statement="At weight 0.05 x1 - x2 overshoots the log-odds -2.944 on its way: -2.716, -3.140, -2.991, -2.952.",
        source=DERIVED.noting(", noted down with four digits before"),
        measured="distance from these numbers at penalties 0.1 to 1e-4, 10 classes",
        test=at_most(5.1e-4, computed("limits", "offset", expected=OFFSETS), unit="nats"),
    ),
    claim(
        key="6a",
        statement="Squared error puts blends exactly on the straight line between the features of their classes.",
        measured="distance of the ridge solution from the line and from its closed form over an unblended feature: "
        f"{CASES}",
        test=at_most(1e-9, computed("features", "line")),
    ),
    claim(
        key="12a",
        statement="Where there is room for a simplex frame, the classifier of every optimum is one, without assuming "
        "so.",
        source=DERIVED.noting("; the paper assumes the simplex"),
        measured=f"deviation of the Gram matrix from a simplex, {STARTS}: 3 to 6 classes, at least K-1 dimensions",
        test=at_most(1e-5, computed("joint-optimum", "gram")),
    ),
    claim(
        key="12b",
        statement="Where there is no room for a simplex frame, the classifier of an optimum is none.",
        measured=f"deviation of the Gram matrix from a simplex, {STARTS}: 4 classes in 2 dimensions",
        is_control=True,
        test=at_least(0.1, computed("joint-optimum", "gram-flat")),
    ),
    claim(
        key="13a",
        statement="5% below the threshold E[w² + (1-w)²] / K of the product of the penalties the classifier is not "
        "zero.",
        source=DERIVED.noting("; the limit on the length is ours"),
        measured=f"root mean squared length of the classifier's rows, {STARTS}",
        test=at_least(0.01, computed("threshold", "below")),
    ),
    claim(
        key="13b",
        statement="5% above the threshold E[w² + (1-w)²] / K of the product of the penalties the classifier is zero.",
        source=DERIVED.noting("; the limit on the length is ours"),
        measured=f"root mean squared length of the classifier's rows, {STARTS}",
        test=at_most(1e-4, computed("threshold", "above")),
    ),
    claim(
        key="14",
        statement="At an optimum both penalties carry the same energy: classifier penalty |W|² = feature penalty "
        "E|h|².",
        measured=f"relative difference of the two, {STARTS}, with and without room for a simplex",
        test=at_most(1e-4, computed("joint-optimum", "balance")),
    ),
)
