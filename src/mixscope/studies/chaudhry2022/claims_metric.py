"""What the metric of Chaudhry et al. 2022 measures: claims 1 to 5a, 12, 14, 17 and 20, all exact."""

from mixscope.records.claims import Claim
from mixscope.studies.chaudhry2022.evidence import DIGITS, SETTINGS, every_run, first_layer_defect, least_excess
from mixscope.studies.engine.evidence_sources import DERIVED, value
from mixscope.studies.engine.study_definition import Check

METRIC = "derived here from Chaudhry et al. 2022, Eq. 3"
OUTSIDE, RAMP = "The value lies outside.", "Chaudhry et al. 2022, experiments: linear to 100 over 40% of the iterations"
IDENTITY, ROUNDING = 1e-6, 1e-9  # in float32, and in float64


def _exact(
    place: str,
    statement: str,
    measured: str,
    function: str,
    key: str,
    *,
    low: float | None = None,
    high: float | None = None,
    source: str = METRIC,
) -> Check:
    """Return an exact claim on a value of one of the computations."""
    claim = Claim(
        f"chaudhry2022.{place}", "derived", statement, source, measured, OUTSIDE, low=low, high=high, is_exact=True
    )
    return Check(claim, ("theory",), value(function, key))


THEORY_CHECKS = (
    _exact(
        "1a",
        "An affine layer has no defect of linearity.",
        "Largest relative defect, without normalising, of four affine layers on blends of digits, in float32.",
        "affine-layers",
        "defect",
        high=IDENTITY,
    ),
    _exact(
        "1b",
        "For features of equal length under the identity, NonLin is 1 − √(1 − 2λ(1 − λ)(1 − cos)).",
        "Largest difference over single blends of digits scaled to length 1.",
        "affine-layers",
        "formula_error",
        high=IDENTITY,
    ),
    _exact(
        "1c",
        "NonLin of an exactly linear layer is above 0.",
        "Smallest mean NonLin of the identity and of a linear layer on centred digits, weights with alpha 0.1, 0.5, 1; "
        "limit ours, far above rounding.",
        "affine-layers",
        "least_nonlinearity",
        low=1e-3,
    ),
    _exact(
        "2a",
        "NonLin² = (1 − r)² + 2r(1 − cos φ), blend by blend: a part that only says how far apart features point, and "
        "an angle.",
        "Largest difference over blends of digits in a random network, by the definition in float64.",
        "decomposition",
        "identity_error",
        high=ROUNDING,
    ),
    _exact(
        "2b",
        "The mean NonLin measured here, computed from its two parts, is that of its definition.",
        "Difference of the two means on blends of digits in a random network.",
        "decomposition",
        "instrument_error",
        high=ROUNDING,
        source=DERIVED,
    ),
    _exact(
        "2c",
        "NonLin of no blend is below its floor 1 − r.",
        "Smallest difference over blends of digits in a random network; limit: rounding.",
        "decomposition",
        "least_excess",
        low=-ROUNDING,
    ),
    Check(
        Claim(
            "chaudhry2022.2d",
            "derived",
            "NonLin of no layer of a trained network is below its floor.",
            METRIC,
            "Smallest difference of the means over layers and epochs, run by run; limit: the digits of a record.",
            "The value of any run lies below.",
            low=-1e-6,
            is_exact=True,
        ),
        tuple(SETTINGS),
        every_run(least_excess),
    ),
    _exact(
        "3a",
        "NonLin does not change when features are multiplied by a number.",
        "Largest change under factors 0.001 and 1,000.",
        "scale-and-shift",
        "scale_error",
        high=ROUNDING,
    ),
    _exact(
        "3b",
        "A large constant vector added to the features drives NonLin to 0.",
        "NonLin with a vector 1,000 times as long as the features, over NonLin without; limit ours.",
        "scale-and-shift",
        "shift_ratio",
        high=0.01,
    ),
    _exact(
        "3c",
        "A large constant vector added to the features does not change how linear the layer is.",
        "Change of the relative defect, which is not normalised, with a vector 1,000 times as long as the features.",
        "scale-and-shift",
        "shift_defect_error",
        high=ROUNDING,
    ),
    _exact(
        "4a",
        "With weights of alpha 0.5, orthogonal features have a mean floor of 0.140.",
        "Mean over 200,000 blends.",
        "floors",
        "orthogonal_at_half",
        low=0.138,
        high=0.142,
    ),
    _exact(
        "4b",
        "The mean floor of NonLin over blends of two is its integral over Beta's law of the weights.",
        "Largest difference over alpha 0.1, 0.5 and 1, for orthogonal features and for a simplex of ten.",
        "floors",
        "largest_difference",
        high=0.002,
    ),
    Check(
        Claim(
            "chaudhry2022.5a",
            "derived",
            "Layer 0, which is affine, has no defect of linearity, however the network is trained.",
            DERIVED,
            "Largest relative defect of layer 0 along training, run by run; limit: rounding of float32 on a CPU.",
            "The value of any run lies above.",
            high=1e-5,
            is_exact=True,
        ),
        DIGITS,
        every_run(first_layer_defect),
    ),
)

METHOD_CHECKS = (
    _exact(
        "12a",
        "Weights of K points have a mean sum of squares (α + 1)/(Kα + 1).",
        "Standard errors that the mean of 200,000 draws is off, at worst over K = 2 to 5 and alpha 0.1, 0.5, 1.",
        "weights",
        "power_errors",
        high=4.0,
        source=DERIVED,
    ),
    _exact(
        "12b",
        "Weights of K points have a mean entropy ψ(Kα + 1) − ψ(α + 1).",
        "Standard errors that the mean of 200,000 draws is off, at worst over K = 2 to 5 and alpha 0.1, 0.5, 1.",
        "weights",
        "entropy_errors",
        high=4.0,
        source=DERIVED,
    ),
    _exact(
        "12c",
        "For K = 2 the law of the weights is Beta's.",
        "√n times Kolmogorov's distance for the smaller weight, at worst over alpha; chance passes 1.95 in 0.1%.",
        "weights",
        "beta_distance",
        high=1.95,
        source=DERIVED,
    ),
    _exact(
        "12d",
        "With the paper's alpha for SVHN, blends of four points are mixed less than those of two with that for CIFAR.",
        "Expected sum of squares of weights, K = 4 and alpha 0.1, less that for K = 2 and alpha 0.5.",
        "weights",
        "svhn_excess",
        low=0.0,
        source=DERIVED,
    ),
    _exact(
        "14a",
        "A linear classifier has a consistency loss of 0 on logits.",
        "The loss of a linear map on blends of digits; limit: rounding.",
        "trivial-zero",
        "logits",
        high=1e-10,
        source="derived here from Chaudhry et al. 2022, Eq. 2",
    ),
    _exact(
        "14b",
        "A linear classifier has a consistency loss above 0 on blended probabilities.",
        "The loss of a linear map on blends of digits; limit ours, far above rounding.",
        "trivial-zero",
        "softmax",
        low=1e-6,
        source=DERIVED,
    ),
    _exact(
        "14c",
        "A linear classifier has a consistency loss of 0 where logits are blended before the softmax.",
        "The loss of a linear map on blends of digits; limit: rounding.",
        "trivial-zero",
        "late_softmax",
        high=1e-10,
        source="derived here from the code of Verma et al. 2019b",
    ),
    _exact(
        "17a",
        "At 20% of training the consistency loss weighs 50.",
        "Largest difference from 50 over trainings of 10, 1,500 and 100,000 steps.",
        "ramp",
        "error_at_fifth",
        high=ROUNDING,
        source=RAMP,
    ),
    _exact(
        "17b",
        "From 40% of training on the consistency loss weighs 100.",
        "Largest difference from 100 over all later steps.",
        "ramp",
        "error_from_end",
        high=ROUNDING,
        source=RAMP,
    ),
    _exact(
        "20",
        "With weight 0 ICT[K] is ERM, bit by bit.",
        "Largest difference of any weight or buffer of two networks after five epochs, with either teacher.",
        "no-weight",
        "difference",
        low=0.0,
        high=0.0,
        source=DERIVED,
    ),
)
