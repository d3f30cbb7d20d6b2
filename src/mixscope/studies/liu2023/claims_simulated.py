"""Claims on Liu et al. 2023 about simulations over draws: when risks turn, by how much, and what a switch repairs."""

from mixscope.records.claims import Claim
from mixscope.studies.engine.evidence_sources import DERIVED, quotient, ratio_within, value
from mixscope.studies.engine.study_definition import Check
from mixscope.studies.liu2023.evidence import PILOT, SUMMARY, size_step, weakest_of
from mixscope.studies.liu2023.settings import FEATURES, OUTSIDE
from mixscope.studies.liu2023.simulations import SIZES

SHARE_WORDS = (
    "the binomial interval and 100 draws were chosen after the first runs, for 20 draws cannot show a share of 0.9"
)
TOY = "a teacher in the span of 100 tanh features, 20 examples, their 400 blends; one value a draw of everything"
SIZE_STEPS = range(len(SIZES) - 1)

CHECKS = (
    Check(
        Claim(
            "liu2023.5a",
            "paper",
            "In a teacher-student simulation the test risk under mixup falls and then rises.",
            SUMMARY,
            f"share of draws whose risk ends over 5% above its smallest: {TOY}; {SHARE_WORDS}",
            "a U in fewer than nine draws of ten",
            low=0.9,
            is_share=True,
        ),
        (FEATURES,),
        value("random_features", "mixup/is_u_shaped"),
    ),
    Check(
        Claim(
            "liu2023.5d",
            "control",
            "A test risk that turns does not prove label noise: under a teacher outside the features' span it turns "
            "with clean labels too.",
            "derived here; the limit is ours",
            "share of draws whose risk under clean labels on the blends ends over 5% above its smallest; "
            f"{SHARE_WORDS} (5a)",
            "a U in at most half of the draws",
            low=0.5,
            is_share=True,
        ),
        (OUTSIDE,),
        value("outside_teacher", "clean/is_u_shaped"),
    ),
    Check(
        Claim(
            "liu2023.6",
            "control",
            "In the teacher-student simulation the test risk of plain training does not turn.",
            SUMMARY,
            f"test risk at the end over the smallest, mean over draws: {TOY}",
            "a mean rise by more than 5%",
            high=1.05,
        ),
        (FEATURES,),
        ratio_within("random_features", quotient("plain/end", "plain/smallest")),
    ),
    Check(
        Claim(
            "liu2023.7a",
            "derived",
            "In the teacher-student simulation the test risk under mixup turns later with more examples.",
            PILOT,
            "logarithm of the ratio of the turning times at successive sizes 15, 20, 30, 50, 80, same draw; of the "
            "four steps the weakest, so that all hold if it does",
            "a step down",
            low=0,
        ),
        (FEATURES,),
        weakest_of([size_step("best_time", place, sign=1) for place in SIZE_STEPS], "sizes"),
    ),
    Check(
        Claim(
            "liu2023.7b",
            "paper",
            "In the teacher-student simulation the test risk under mixup rises more with fewer examples.",
            "Liu et al. 2023, abstract (there of data sets); the limit is ours",
            "logarithm of the ratio of the risks' rises (end over smallest) at successive sizes, the smaller over the "
            "larger, same draw; the weakest of the four steps",
            "a step up",
            low=0,
        ),
        (FEATURES,),
        weakest_of([size_step("rise", place, sign=-1) for place in SIZE_STEPS], "sizes"),
    ),
    Check(
        Claim(
            "liu2023.8b",
            "derived",
            "The bound on the risk cannot tell when to stop: it is smallest long before the risk is.",
            PILOT,
            "time at which the bound is smallest over that at which the risk is",
            "a twentieth or more",
            high=0.05,
        ),
        (FEATURES, OUTSIDE),
        lambda results, setting: results.sample(
            setting, "bound_and_modes" if setting == FEATURES else "outside_bound", "bound/time_share"
        ),
    ),
    Check(
        Claim(
            "liu2023.11b",
            "derived",
            "Training on blended features follows plain training within 1% all the way.",
            PILOT,
            "largest relative difference of the two test risks over all times",
            "a mean difference above 1%",
            high=0.01,
        ),
        (FEATURES,),
        value("random_features", "feature_blends/difference"),
    ),
    Check(
        Claim(
            "liu2023.12b",
            "derived",
            "Switched from mixup to plain training at the best time, training ends no worse than either.",
            DERIVED,
            "smallest final risk over all times of the switch, over the smaller of the final risks of plain "
            "training and mixup; a switch at 0 is plain training, so it is never worse than that",
            "a mean ratio above 1",
            high=1,
        ),
        (FEATURES,),
        ratio_within("random_features", quotient("switched/smallest", "plain/end", "mixup/end")),
    ),
    Check(
        Claim(
            "liu2023.12c",
            "derived",
            "Switched from mixup to plain training too late, training ends above plain training throughout.",
            DERIVED,
            "final risk when the switch comes after mixup has converged, over that of plain training",
            "a mean ratio below 1",
            low=1,
        ),
        (FEATURES,),
        ratio_within("random_features", quotient("switched/end", "plain/end")),
    ),
    Check(
        Claim(
            "liu2023.12d",
            "derived",
            "Switched from mixup to plain training too late, training still ends below mixup without a switch.",
            PILOT,
            "final risk when the switch comes after mixup has converged, over that of mixup",
            "a mean ratio above 1",
            high=1,
        ),
        (FEATURES,),
        ratio_within("random_features", quotient("switched/end", "mixup/end")),
    ),
)
