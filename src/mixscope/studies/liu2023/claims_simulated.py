"""Claims on Liu et al. 2023 about simulations over draws: when risks turn, by how much, and what a switch repairs."""

from functools import partial

from mixscope.studies.engine.claim_checks import DERIVED, Source, at_least, at_most, claim_check
from mixscope.studies.engine.evidence_sources import quotient, ratio_within, value, value_at
from mixscope.studies.liu2023.evidence import PILOT, SUMMARY, size_step, weakest_of
from mixscope.studies.liu2023.risk_simulations import SIZES
from mixscope.studies.liu2023.settings import BOUNDS, FEATURES, OUTSIDE

SHARE_WORDS = (
    "the binomial interval and 100 draws were chosen after the first runs, for 20 draws cannot show a share of 0.9"
)
TOY = "a teacher in the span of 100 tanh features, 20 examples, their 400 blends; one value a draw of everything"
SIZE_STEPS = range(len(SIZES) - 1)

claim = partial(claim_check, study="liu2023", source=PILOT, settings=(FEATURES,))

CHECKS = (
    claim(
        key="5a",
        statement="In a teacher-student simulation the test risk under mixup falls and then rises.",
        source=SUMMARY,
        measured=f"share of draws whose risk ends over 5% above its smallest: {TOY}; {SHARE_WORDS}",
        is_share=True,
        test=at_least(0.9, value("random_features", "mixup/is_u_shaped")),
    ),
    claim(
        key="5d",
        statement="A test risk that turns does not prove label noise: under a teacher outside the features' span it "
        "turns with clean labels too.",
        source=Source("derived", "derived here; the limit is ours"),
        measured="share of draws whose risk under clean labels on the blends ends over 5% above its smallest; "
        f"{SHARE_WORDS} (5a)",
        is_share=True,
        is_control=True,
        settings=(OUTSIDE,),
        test=at_least(0.5, value("outside_teacher", "clean/is_u_shaped")),
    ),
    claim(
        key="6",
        statement="In the teacher-student simulation the test risk of plain training does not turn.",
        source=SUMMARY,
        measured=f"test risk at the end over the smallest, mean over draws: {TOY}",
        is_control=True,
        test=at_most(1.05, ratio_within("random_features", quotient("plain/end", "plain/smallest"))),
    ),
    claim(
        key="7a",
        statement="In the teacher-student simulation the test risk under mixup turns later with more examples.",
        measured="logarithm of the ratio of the turning times at successive sizes 15, 20, 30, 50, 80, same draw; of "
        "the four steps the weakest, so that all hold if it does",
        test=at_least(0, weakest_of([size_step("best_time", place, sign=1) for place in SIZE_STEPS])),
    ),
    claim(
        key="7b",
        statement="In the teacher-student simulation the test risk under mixup rises more with fewer examples.",
        source=Source("paper", "Liu et al. 2023, abstract (there of data sets); the limit is ours"),
        measured="logarithm of the ratio of the risks' rises (end over smallest) at successive sizes, the smaller "
        "over the larger, same draw; the weakest of the four steps",
        test=at_least(0, weakest_of([size_step("rise", place, sign=-1) for place in SIZE_STEPS])),
    ),
    claim(
        key="8b",
        statement="The bound on the risk cannot tell when to stop: it is smallest long before the risk is.",
        measured="time at which the bound is smallest over that at which the risk is",
        settings=(FEATURES, OUTSIDE),
        test=at_most(0.05, value_at(BOUNDS, "bound/time_share")),
    ),
    claim(
        key="11b",
        statement="Training on blended features follows plain training within 1% all the way.",
        measured="largest relative difference of the two test risks over all times",
        test=at_most(0.01, value("random_features", "feature_blends/difference")),
    ),
    claim(
        key="12b",
        statement="Switched from mixup to plain training at the best time, training ends no worse than either.",
        source=DERIVED,
        measured="smallest final risk over all times of the switch, over the smaller of the final risks of plain "
        "training and mixup; a switch at 0 is plain training, so it is never worse than that",
        test=at_most(1, ratio_within("random_features", quotient("switched/smallest", "plain/end", "mixup/end"))),
    ),
    claim(
        key="12c",
        statement="Switched from mixup to plain training too late, training ends above plain training throughout.",
        source=DERIVED,
        measured="final risk when the switch comes after mixup has converged, over that of plain training",
        test=at_least(1, ratio_within("random_features", quotient("switched/end", "plain/end"))),
    ),
    claim(
        key="12d",
        statement="Switched from mixup to plain training too late, training still ends below mixup without a switch.",
        measured="final risk when the switch comes after mixup has converged, over that of mixup",
        test=at_most(1, ratio_within("random_features", quotient("switched/end", "mixup/end"))),
    ),
)
