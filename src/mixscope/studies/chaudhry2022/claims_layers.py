"""Claims on Chaudhry et al. 2022 about which layers mixing makes linear: 5b to 11, 18 and 19."""

from functools import partial

from mixscope.studies.chaudhry2022.evidence import PILOT, floor_share, same_order, worst_ratio
from mixscope.studies.chaudhry2022.runs import SETTINGS
from mixscope.studies.engine.claim_checks import DERIVED, Source, at_least, at_most, between, claim_check
from mixscope.studies.engine.instruments import LINEARITY_ALPHAS

PAPER = Source("paper", "Chaudhry et al. 2022, experiments (text on the figures of NonLin)")
ALL = tuple(SETTINGS)
AFFINE = tuple(
    name for name, setting in SETTINGS.items() if setting.options.model != "convnet"
)  # batch norm, ReLU in layer 0
FEWEST = ("digits-50", "fashion-mnist-250", "cifar10-250", "svhn-250")
AT_END = "at the end of training, on blends of two test images, seed by seed"


claim = partial(claim_check, study="chaudhry2022", source=PAPER, settings=ALL)

CHECKS = (
    claim(
        key="5b",
        statement="What sets mixup and ERM apart in layer 0 is the floor: how far apart features point, not linearity.",
        source=DERIVED,
        measured=f"Difference of the floors over the difference of NonLin, {AT_END}.",
        settings=AFFINE,
        test=at_least(0.9, floor_share("mixup", "erm", 0)),
    ),
    *(
        claim(
            key=f"6{letter}",
            statement=f"Layer {layer} is less linear under mixup than under ERM.",
            measured=f"NonLin under mixup over NonLin under ERM, {AT_END}.",
            test=at_least(1.0, worst_ratio("mixup", "erm", (layer,), pick=min)),
        )
        for letter, layer in (("a", 2), ("b", 3), ("c", 4))
    ),
    claim(
        key="7a",
        statement="Layers 2 to 4 are less linear under mixup than under ERM by the angle alone, without the floor.",
        source=PILOT,
        measured=f"Angle under mixup over angle under ERM, the smallest of the three ratios, {AT_END}.",
        test=at_least(1.0, worst_ratio("mixup", "erm", (2, 3, 4), pick=min, name="angle_degrees")),
    ),
    claim(
        key="7b",
        statement="Layers 2 to 4 are less linear under mixup than under ERM by the relative defect, which is not "
        "normalised.",
        source=PILOT,
        measured=f"Relative defect under mixup over that under ERM, the smallest of the three ratios, {AT_END}.",
        test=at_least(1.0, worst_ratio("mixup", "erm", (2, 3, 4), pick=min, name="relative_defect")),
    ),
    claim(
        key="8a",
        statement="Layer 0 is more linear under mixup than under ERM.",
        measured=f"NonLin under mixup over NonLin under ERM, {AT_END}.",
        test=at_most(1.0, worst_ratio("mixup", "erm", (0,), pick=max)),
    ),
    claim(
        key="8b",
        statement="Layer 5, the logits, is more linear under mixup than under ERM.",
        measured=f"NonLin under mixup over NonLin under ERM, {AT_END}.",
        test=at_most(1.0, worst_ratio("mixup", "erm", (5,), pick=max)),
    ),
    claim(
        key="8c",
        statement="Layer 0 is slightly more linear under mixup than under ICT[2].",
        measured=f"NonLin under mixup over NonLin under ICT[2] (Eq. 2), {AT_END}.",
        test=at_most(1.0, worst_ratio("mixup", "ict2", (0,), pick=max)),
    ),
    claim(
        key="9a",
        statement="Layers 0 to 4 are more linear under ICT[2] than under ERM.",
        measured=f"NonLin under ICT[2] (Eq. 2) over NonLin under ERM, the largest of the five ratios, {AT_END}.",
        test=at_most(1.0, worst_ratio("ict2", "erm", range(5), pick=max)),
    ),
    claim(
        key="9b",
        statement="The logits under ICT[2] have less than 1% of the defect of linearity that they have under ERM.",
        source=PILOT,
        measured=f"Relative defect of layer 5 under ICT[2] (Eq. 2) over that under ERM, {AT_END}.",
        test=at_most(0.01, worst_ratio("ict2", "erm", (5,), pick=max, name="relative_defect")),
    ),
    claim(
        key="9c",
        statement="Layer 5, the logits, is more linear under ICT[2] than under ERM.",
        measured=f"NonLin under ICT[2] (Eq. 2) over NonLin under ERM, {AT_END}.",
        test=at_most(1.0, worst_ratio("ict2", "erm", (5,), pick=max)),
    ),
    claim(
        key="9d",
        statement="Layers 1 to 5 are more linear under ICT[2] than under mixup.",
        measured=f"NonLin under ICT[2] (Eq. 2) over NonLin under mixup, the largest of the five ratios, {AT_END}.",
        test=at_most(1.0, worst_ratio("ict2", "mixup", range(1, 6), pick=max)),
    ),
    claim(
        key="10",
        statement="NonLin hardly sees how linear ICT[2] makes the logits: it is within 10% of ERM's.",
        source=PILOT,
        measured=f"NonLin of layer 5 under ICT[2] (Eq. 2) over NonLin under ERM, {AT_END}.",
        test=between(0.9, 1.1, worst_ratio("ict2", "erm", (5,), pick=max)),
    ),
    claim(
        key="11a",
        statement="Layers 1 to 4 have a smaller defect of linearity under ICT[4] than under ICT[2].",
        source=PILOT,
        measured="Relative defect under ICT[4] over that under ICT[2] (Eq. 2), the largest of the four ratios, "
        f"{AT_END}.",
        test=at_most(1.0, worst_ratio("ict4", "ict2", range(1, 5), pick=max, name="relative_defect")),
    ),
    claim(
        key="11b",
        statement="All layers are more linear under ICT[4] than under ICT[2].",
        measured=f"NonLin under ICT[4] over NonLin under ICT[2] (Eq. 2), the largest of the six ratios, {AT_END}.",
        test=at_most(1.0, worst_ratio("ict4", "ict2", range(6), pick=max)),
    ),
    claim(
        key="11c",
        statement="With a moving average as the teacher, compared by its probabilities, all layers are more linear "
        "under ICT[4] than under ICT[2].",
        measured=f"NonLin under ICT[4] over NonLin under ICT[2], the largest of the six ratios, {AT_END}.",
        settings=tuple(name for name in ALL if name != "fashion-mnist-250"),
        test=at_most(1.0, worst_ratio("ict4-ema", "ict2-ema", range(6), pick=max)),
    ),
    claim(
        key="18a",
        statement="The order of methods by NonLin does not depend on the law of the pairs' weights.",
        source=DERIVED,
        measured="Share of pairs of methods (ERM, mixup, ICT[2] by Eq. 2 and with a moving average) and layers 1 to "
        "5 that have the same order with alpha 0.1, 0.5 and 1; limit ours.",
        settings=FEWEST,
        test=at_least(0.9, same_order(("erm", "mixup", "ict2", "ict2-ema"), range(1, 6))),
    ),
    claim(
        key="18b",
        statement="Layers 2 to 4 are less linear under mixup than under ERM whatever the law of the pairs' weights.",
        source=DERIVED,
        measured="NonLin under mixup over NonLin under ERM, the smallest over layers and alpha 0.1, 0.5 and 1, "
        f"{AT_END}.",
        settings=FEWEST,
        test=at_least(1.0, worst_ratio("mixup", "erm", (2, 3, 4), pick=min, alphas=LINEARITY_ALPHAS)),
    ),
    claim(
        key="18c",
        statement="Layers 1 to 4 are more linear under ICT[2] than under ERM whatever the law of the pairs' weights.",
        source=DERIVED,
        measured="NonLin under ICT[2] (Eq. 2) over NonLin under ERM, the largest over layers and alpha 0.1, 0.5, 1, "
        f"{AT_END}.",
        settings=FEWEST,
        test=at_most(1.0, worst_ratio("ict2", "erm", range(1, 5), pick=max, alphas=LINEARITY_ALPHAS)),
    ),
    claim(
        key="19b",
        statement="With a moving average as the teacher, compared by its probabilities, layers 1 to 5 are less "
        "linear under ICT[2] than under ERM.",
        source=PILOT,
        measured=f"NonLin under that ICT[2] over NonLin under ERM, the smallest of the five ratios, {AT_END}.",
        test=at_least(1.0, worst_ratio("ict2-ema", "erm", range(1, 6), pick=min)),
    ),
)
