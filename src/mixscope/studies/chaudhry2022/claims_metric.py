"""Claims about what the metric of Chaudhry et al. 2022 measures: 1 to 5a, 12, 14, 17 and 20, all exact."""

from functools import partial

from mixscope.studies.chaudhry2022.evidence import DIGITS, every_run, first_layer_defect, least_excess
from mixscope.studies.chaudhry2022.runs import SETTINGS
from mixscope.studies.engine.claim_checks import DERIVED, Source, at_least, at_most, between, claim_check, exactly
from mixscope.studies.engine.evidence_sources import value

METRIC = DERIVED.noting(" from Chaudhry et al. 2022, Eq. 3")
RAMP = Source("derived", "Chaudhry et al. 2022, experiments: linear to 100 over 40% of the iterations")
IDENTITY, ROUNDING = 1e-6, 1e-9  # in float32, and in float64


claim = partial(claim_check, study="chaudhry2022", source=METRIC, settings=("theory",), is_exact=True)

CHECKS = (
    claim(
        key="1a",
        statement="An affine layer has no defect of linearity.",
        measured="Largest relative defect, without normalising, of four affine layers on blends of digits, in float32.",
        test=at_most(IDENTITY, value("affine-layers", "defect")),
    ),
    claim(
        key="1b",
        statement="For features of equal length under the identity, NonLin is 1 − √(1 − 2λ(1 − λ)(1 − cos)).",
        measured="Largest difference over single blends of digits scaled to length 1.",
        test=at_most(IDENTITY, value("affine-layers", "formula_error")),
    ),
    claim(
        key="1c",
        statement="NonLin of an exactly linear layer is above 0.",
        measured="Smallest mean NonLin of the identity and of a linear layer on centred digits, weights with alpha "
        "0.1, 0.5, 1; limit ours, far above rounding.",
        test=at_least(1e-3, value("affine-layers", "least_nonlinearity")),
    ),
    claim(
        key="2a",
        statement="NonLin² = (1 − r)² + 2r(1 − cos φ), blend by blend: a part that only says how far apart features "
        "point, and an angle.",
        measured="Largest difference over blends of digits in a random network, by the definition in float64.",
        test=at_most(ROUNDING, value("decomposition", "identity_error")),
    ),
    claim(
        key="2b",
        statement="The mean NonLin measured here, computed from its two parts, is that of its definition.",
        source=DERIVED,
        measured="Difference of the two means on blends of digits in a random network.",
        test=at_most(ROUNDING, value("decomposition", "instrument_error")),
    ),
    claim(
        key="2c",
        statement="NonLin of no blend is below its floor 1 − r.",
        measured="Smallest difference over blends of digits in a random network; limit: rounding.",
        test=at_least(-ROUNDING, value("decomposition", "least_excess")),
    ),
    claim(
        key="2d",
        statement="NonLin of no layer of a trained network is below its floor.",
        measured="Smallest difference of the means over layers and epochs, run by run; limit: the digits of a record.",
        settings=tuple(SETTINGS),
        test=at_least(-1e-6, every_run(least_excess)),
    ),
    claim(
        key="3a",
        statement="NonLin does not change when features are multiplied by a number.",
        measured="Largest change under factors 0.001 and 1,000.",
        test=at_most(ROUNDING, value("scale-and-shift", "scale_error")),
    ),
    claim(
        key="3b",
        statement="A large constant vector added to the features drives NonLin to 0.",
        measured="NonLin with a vector 1,000 times as long as the features, over NonLin without; limit ours.",
        test=at_most(0.01, value("scale-and-shift", "shift_ratio")),
    ),
    claim(
        key="3c",
        statement="A large constant vector added to the features does not change how linear the layer is.",
        measured="Change of the relative defect, which is not normalised, with a vector 1,000 times as long as the "
        "features.",
        test=at_most(ROUNDING, value("scale-and-shift", "shift_defect_error")),
    ),
    claim(
        key="4a",
        statement="With weights of alpha 0.5, orthogonal features have a mean floor of 0.140.",
        measured="Mean over 200,000 blends.",
        test=between(0.138, 0.142, value("floors", "orthogonal_at_half")),
    ),
    claim(
        key="4b",
        statement="The mean floor of NonLin over blends of two is its integral over Beta's law of the weights.",
        measured="Largest difference over alpha 0.1, 0.5 and 1, for orthogonal features and for a simplex of ten.",
        test=at_most(0.002, value("floors", "largest_difference")),
    ),
    claim(
        key="5a",
        statement="Layer 0, which is affine, has no defect of linearity, however the network is trained.",
        source=DERIVED,
        measured="Largest relative defect of layer 0 along training, run by run; limit: rounding of float32 on a CPU.",
        settings=DIGITS,
        test=at_most(1e-5, every_run(first_layer_defect)),
    ),
    claim(
        key="12a",
        statement="Weights of K points have a mean sum of squares (α + 1)/(Kα + 1).",
        source=DERIVED,
        measured="Standard errors that the mean of 200,000 draws is off, at worst over K = 2 to 5 and alpha 0.1, "
        "0.5, 1.",
        test=at_most(4.0, value("weights", "power_errors")),
    ),
    claim(
        key="12b",
        statement="Weights of K points have a mean entropy ψ(Kα + 1) − ψ(α + 1).",
        source=DERIVED,
        measured="Standard errors that the mean of 200,000 draws is off, at worst over K = 2 to 5 and alpha 0.1, "
        "0.5, 1.",
        test=at_most(4.0, value("weights", "entropy_errors")),
    ),
    claim(
        key="12c",
        statement="For K = 2 the law of the weights is Beta's.",
        source=DERIVED,
        measured="√n times Kolmogorov's distance for the smaller weight, at worst over alpha; chance passes 1.95 in "
        "0.1%.",
        test=at_most(1.95, value("weights", "beta_distance")),
    ),
    claim(
        key="12d",
        statement="With the paper's alpha for SVHN, blends of four points are mixed less than those of two with that "
        "for CIFAR.",
        source=DERIVED,
        measured="Expected sum of squares of weights, K = 4 and alpha 0.1, less that for K = 2 and alpha 0.5.",
        test=at_least(0.0, value("weights", "svhn_excess")),
    ),
    claim(
        key="14a",
        statement="A linear classifier has a consistency loss of 0 on logits.",
        source=DERIVED.noting(" from Chaudhry et al. 2022, Eq. 2"),
        measured="The loss of a linear map on blends of digits; limit: rounding.",
        test=at_most(1e-10, value("trivial-zero", "logits")),
    ),
    claim(
        key="14b",
        statement="A linear classifier has a consistency loss above 0 on blended probabilities.",
        source=DERIVED,
        measured="The loss of a linear map on blends of digits; limit ours, far above rounding.",
        test=at_least(1e-6, value("trivial-zero", "softmax")),
    ),
    claim(
        key="14c",
        statement="A linear classifier has a consistency loss of 0 where logits are blended before the softmax.",
        source=DERIVED.noting(" from the code of Verma et al. 2019b"),
        measured="The loss of a linear map on blends of digits; limit: rounding.",
        test=at_most(1e-10, value("trivial-zero", "late_softmax")),
    ),
    claim(
        key="17a",
        statement="At 20% of training the consistency loss weighs 50.",
        source=RAMP,
        measured="Largest difference from 50 over trainings of 10, 1,500 and 100,000 steps.",
        test=at_most(ROUNDING, value("ramp", "error_at_fifth")),
    ),
    claim(
        key="17b",
        statement="From 40% of training on the consistency loss weighs 100.",
        source=RAMP,
        measured="Largest difference from 100 over all later steps.",
        test=at_most(ROUNDING, value("ramp", "error_from_end")),
    ),
    claim(
        key="20",
        statement="With weight 0 ICT[K] is ERM, bit by bit.",
        source=DERIVED,
        measured="Largest difference of any weight or buffer of two networks after five epochs, with either teacher.",
        test=exactly(0.0, value("no-weight", "difference")),
    ),
)
