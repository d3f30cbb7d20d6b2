"""Claims on mixup that switches itself off: against mixup, plain training and fixed switches."""

from functools import partial
from itertools import chain

from mixscope.records.claims import Sample, paired
from mixscope.studies.engine.claim_checks import Source, at_least, at_most, claim_check
from mixscope.studies.engine.evidence_sources import Evidence, difference, percent, value
from mixscope.studies.engine.results import Number, Results, column, read_number
from mixscope.studies.engine.trial import Outcome
from mixscope.studies.liu2023.evidence import LOSS, best_error, last_error
from mixscope.studies.liu2023.settings import AUTO, ERM, MIXUP, SWITCHES, switched
from mixscope.studies.when_to_mix.runs import EXTRA_SWITCHES, SETTINGS

OWN = Source("derived", "a question of our own, limits ours")
BEFORE = OWN.noting("; written before its own runs, while some of those of liu2023 were done")
WITH_FIXED = tuple(setting for setting in SETTINGS if setting in {*EXTRA_SWITCHES, "digits-200"})
FIXED = tuple(switched(epoch) for epoch in sorted({*SWITCHES, *chain.from_iterable(EXTRA_SWITCHES.values())}))
NEAR = (0.5, 1.0, 0.05)  # of the measures: close to the best fixed switch
POINTS = "percentage points"
MEASURES: tuple[tuple[str, str, str | Number, str], ...] = (
    ("1", "test error", last_error, POINTS),
    ("2", "calibration error (ECE)", percent("test/ece"), POINTS),
    ("3", "test cross-entropy (NLL)", LOSS, "nats"),
)  # at the end
RIVALS = (("a", MIXUP, "mixup throughout"), ("b", ERM, "plain training"))


def is_switched(outcome: Outcome) -> float:
    """Return 1 if mixing was switched off before the last epoch, 0 if it went on to the end."""
    return float(read_number(outcome, "mixing_off_after") < column(outcome, "curve", "epoch")[-1])


def best_fixed(results: Results, setting: str) -> str | None:
    """Return the fixed switch with the lowest mean test error at the end, chosen in hindsight; None without any."""
    means = {}
    for method in FIXED:
        errors = list(results.sample(setting, method, last_error).values.values())
        if errors:
            means[method] = sum(errors) / len(errors)
    return min(means, key=lambda method: means[method], default=None)


def above_best_fixed(measure: str | Number) -> Evidence:
    """Return the evidence of a measure with the automatic switch less that with the best fixed one, seed by seed."""

    def evidence(results: Results, setting: str) -> Sample:
        method = best_fixed(results, setting)
        return Sample({}) if method is None else results.difference(setting, AUTO, method, measure)

    return evidence


def above_oracle(results: Results, setting: str) -> Sample:
    """Return the test error with the automatic switch less that of mixup stopped at its best look."""
    return paired(results.sample(setting, AUTO, last_error), results.sample(setting, MIXUP, best_error))


claim = partial(claim_check, study="beyond", source=BEFORE, settings=SETTINGS)

CHECKS = (
    *(
        claim(
            key=f"{number}{letter}",
            statement=f"Mixup that switches itself off ends with a lower {words} than {rival_words}.",
            measured=f"{words} at the end, automatic switch less {rival_words}",
            test=at_most(0, difference(AUTO, rival, measure), unit=unit),
        )
        for number, words, measure, unit in MEASURES
        for letter, rival, rival_words in RIVALS
    ),
    *(
        claim(
            key=f"4{letter}",
            statement=f"Its {words} ends close to that of the best fixed switch, chosen in hindsight.",
            source=BEFORE if letter == "a" else OWN.noting("; asked after the runs"),
            measured=f"{words} at the end, automatic switch less the fixed one with the lowest mean test error",
            settings=WITH_FIXED,
            test=at_most(near, above_best_fixed(measure), unit=unit),
        )
        for letter, near, (_, words, measure, unit) in zip("abc", NEAR, MEASURES, strict=True)
    ),
    claim(
        key="5",
        statement="It ends no worse than mixup stopped at the best epoch, which only the test images can tell.",
        measured="test error at the end, automatic switch less the lowest of all looks of mixup",
        test=at_most(0, above_oracle, unit=POINTS),
    ),
    claim(
        key="6",
        statement="The switch comes before training ends.",
        source=BEFORE.noting("; the limit was 0.9 then, which six runs cannot show"),
        measured="share of runs in which mixing was switched off before the last epoch",
        is_share=True,
        is_control=True,
        test=at_least(0.5, value(AUTO, is_switched)),
    ),
)
