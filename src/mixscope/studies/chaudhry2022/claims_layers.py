"""Which layers mixing makes linear: claims 5b to 11, 18 and 19 of the study of Chaudhry et al. 2022."""

from mixscope.records.claims import Claim, Group
from mixscope.studies.chaudhry2022.evidence import PILOT, SETTINGS, floor_share, same_order, worst_ratio
from mixscope.studies.engine.evidence_sources import DERIVED, Evidence
from mixscope.studies.engine.instruments import LINEARITY_ALPHAS
from mixscope.studies.engine.study_definition import Check

PAPER = "Chaudhry et al. 2022, experiments (text on the figures of NonLin)"
ALL = tuple(SETTINGS)
AFFINE = tuple(name for name, setting in SETTINGS.items() if setting.model != "convnet")  # batch norm, ReLU in layer 0
FEWEST = ("digits-50", "fashion-mnist-250", "cifar10-250", "svhn-250")
ABOVE, BELOW = "The mean ratio is at most 1.", "The mean ratio is at least 1."
AT_END = "at the end of training, on blends of two test images, seed by seed"


def _claim(
    number: str,
    group: Group,
    statement: str,
    source: str,
    measured: str,
    evidence: Evidence,
    *,
    low: float | None = None,
    high: float | None = None,
    settings: tuple[str, ...] = ALL,
    refuted_by: str = "",
) -> Check:
    refuted = refuted_by or (ABOVE if high is None else BELOW)
    return Check(
        Claim(f"chaudhry2022.{number}", group, statement, source, measured, refuted, low=low, high=high),
        settings,
        evidence,
    )


MIXUP_CHECKS = (
    _claim(
        "5b",
        "derived",
        "What sets mixup and ERM apart in layer 0 is the floor: how far apart features point, not linearity.",
        DERIVED,
        f"Difference of the floors over the difference of NonLin, {AT_END}.",
        floor_share("mixup", "erm", 0),
        low=0.9,
        settings=AFFINE,
        refuted_by="The mean share is below 90%.",
    ),
    *(
        _claim(
            f"6{letter}",
            "paper",
            f"Layer {layer} is less linear under mixup than under ERM.",
            PAPER,
            f"NonLin under mixup over NonLin under ERM, {AT_END}.",
            worst_ratio("mixup", "erm", (layer,), pick=min),
            low=1.0,
        )
        for letter, layer in (("a", 2), ("b", 3), ("c", 4))
    ),
    _claim(
        "7a",
        "derived",
        "Layers 2 to 4 are less linear under mixup than under ERM by the angle alone, without the floor.",
        PILOT,
        f"Angle under mixup over angle under ERM, the smallest of the three ratios, {AT_END}.",
        worst_ratio("mixup", "erm", (2, 3, 4), pick=min, name="angle_degrees"),
        low=1.0,
    ),
    _claim(
        "7b",
        "derived",
        "Layers 2 to 4 are less linear under mixup than under ERM by the relative defect, which is not normalised.",
        PILOT,
        f"Relative defect under mixup over that under ERM, the smallest of the three ratios, {AT_END}.",
        worst_ratio("mixup", "erm", (2, 3, 4), pick=min, name="relative_defect"),
        low=1.0,
    ),
    _claim(
        "8a",
        "paper",
        "Layer 0 is more linear under mixup than under ERM.",
        PAPER,
        f"NonLin under mixup over NonLin under ERM, {AT_END}.",
        worst_ratio("mixup", "erm", (0,), pick=max),
        high=1.0,
    ),
    _claim(
        "8b",
        "paper",
        "Layer 5, the logits, is more linear under mixup than under ERM.",
        PAPER,
        f"NonLin under mixup over NonLin under ERM, {AT_END}.",
        worst_ratio("mixup", "erm", (5,), pick=max),
        high=1.0,
    ),
    _claim(
        "8c",
        "paper",
        "Layer 0 is slightly more linear under mixup than under ICT[2].",
        PAPER,
        f"NonLin under mixup over NonLin under ICT[2] (Eq. 2), {AT_END}.",
        worst_ratio("mixup", "ict2", (0,), pick=max),
        high=1.0,
    ),
)

ICT_CHECKS = (
    _claim(
        "9a",
        "paper",
        "Layers 0 to 4 are more linear under ICT[2] than under ERM.",
        PAPER,
        f"NonLin under ICT[2] (Eq. 2) over NonLin under ERM, the largest of the five ratios, {AT_END}.",
        worst_ratio("ict2", "erm", range(5), pick=max),
        high=1.0,
    ),
    _claim(
        "9b",
        "derived",
        "The logits under ICT[2] have less than 1% of the defect of linearity that they have under ERM.",
        PILOT,
        f"Relative defect of layer 5 under ICT[2] (Eq. 2) over that under ERM, {AT_END}.",
        worst_ratio("ict2", "erm", (5,), pick=max, name="relative_defect"),
        high=0.01,
        refuted_by="The mean ratio is above 0.01.",
    ),
    _claim(
        "9c",
        "paper",
        "Layer 5, the logits, is more linear under ICT[2] than under ERM.",
        PAPER,
        f"NonLin under ICT[2] (Eq. 2) over NonLin under ERM, {AT_END}.",
        worst_ratio("ict2", "erm", (5,), pick=max),
        high=1.0,
    ),
    _claim(
        "9d",
        "paper",
        "Layers 1 to 5 are more linear under ICT[2] than under mixup.",
        PAPER,
        f"NonLin under ICT[2] (Eq. 2) over NonLin under mixup, the largest of the five ratios, {AT_END}.",
        worst_ratio("ict2", "mixup", range(1, 6), pick=max),
        high=1.0,
    ),
    _claim(
        "10",
        "derived",
        "NonLin hardly sees how linear ICT[2] makes the logits: it is within 10% of ERM's.",
        PILOT,
        f"NonLin of layer 5 under ICT[2] (Eq. 2) over NonLin under ERM, {AT_END}.",
        worst_ratio("ict2", "erm", (5,), pick=max),
        low=0.9,
        high=1.1,
        refuted_by="The mean ratio is off by more than 10%.",
    ),
    _claim(
        "11a",
        "derived",
        "Layers 1 to 4 have a smaller defect of linearity under ICT[4] than under ICT[2].",
        PILOT,
        f"Relative defect under ICT[4] over that under ICT[2] (Eq. 2), the largest of the four ratios, {AT_END}.",
        worst_ratio("ict4", "ict2", range(1, 5), pick=max, name="relative_defect"),
        high=1.0,
    ),
    _claim(
        "11b",
        "paper",
        "All layers are more linear under ICT[4] than under ICT[2].",
        PAPER,
        f"NonLin under ICT[4] over NonLin under ICT[2] (Eq. 2), the largest of the six ratios, {AT_END}.",
        worst_ratio("ict4", "ict2", range(6), pick=max),
        high=1.0,
    ),
    _claim(
        "11c",
        "paper",
        "With a moving average as the teacher, compared by its probabilities, all layers are more linear under ICT[4] "
        "than under ICT[2].",
        PAPER,
        f"NonLin under ICT[4] over NonLin under ICT[2], the largest of the six ratios, {AT_END}.",
        worst_ratio("ict4-ema", "ict2-ema", range(6), pick=max),
        high=1.0,
        settings=tuple(name for name in ALL if name != "fashion-mnist-250"),
    ),
    _claim(
        "18a",
        "derived",
        "The order of methods by NonLin does not depend on the law of the pairs' weights.",
        DERIVED,
        "Share of pairs of methods (ERM, mixup, ICT[2] by Eq. 2 and with a moving average) and layers 1 to 5 that have "
        "the same order with alpha 0.1, 0.5 and 1; limit ours.",
        same_order(("erm", "mixup", "ict2", "ict2-ema"), range(1, 6)),
        low=0.9,
        settings=FEWEST,
        refuted_by="The mean share is below 90%.",
    ),
    _claim(
        "18b",
        "derived",
        "Layers 2 to 4 are less linear under mixup than under ERM whatever the law of the pairs' weights.",
        DERIVED,
        f"NonLin under mixup over NonLin under ERM, the smallest over layers and alpha 0.1, 0.5 and 1, {AT_END}.",
        worst_ratio("mixup", "erm", (2, 3, 4), pick=min, alphas=LINEARITY_ALPHAS),
        low=1.0,
        settings=FEWEST,
    ),
    _claim(
        "18c",
        "derived",
        "Layers 1 to 4 are more linear under ICT[2] than under ERM whatever the law of the pairs' weights.",
        DERIVED,
        f"NonLin under ICT[2] (Eq. 2) over NonLin under ERM, the largest over layers and alpha 0.1, 0.5, 1, {AT_END}.",
        worst_ratio("ict2", "erm", range(1, 5), pick=max, alphas=LINEARITY_ALPHAS),
        high=1.0,
        settings=FEWEST,
    ),
    _claim(
        "19b",
        "derived",
        "With a moving average as the teacher, compared by its probabilities, layers 1 to 5 are less linear under "
        "ICT[2] than under ERM.",
        PILOT,
        f"NonLin under that ICT[2] over NonLin under ERM, the smallest of the five ratios, {AT_END}.",
        worst_ratio("ict2-ema", "erm", range(1, 6), pick=min),
        low=1.0,
    ),
)

LAYER_CHECKS = (*MIXUP_CHECKS, *ICT_CHECKS)
