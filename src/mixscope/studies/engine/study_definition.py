"""Studies: claims first, then runs at each scale, figures, deviations; and how one is judged."""

import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from mixscope.records.judging import Judgement, judge
from mixscope.report.page import Section
from mixscope.studies.engine.claim_checks import Check
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.trial import Trial
from mixscope.studies.names import Scale


@dataclass(frozen=True)
class Study:
    """One paper, or a question of our own.

    Attributes:
        key: As on the command line.
        title: A few words.
        citation: Authors, title, venue.
        checks: Every claim that can be judged.
        trials: The runs of a scale, given the number of seeds; None is the scale's own.
        sections: Figures and tables.
        deviations: Where the runs depart from the paper's, one sentence each.
        unknown: Settings of the paper that are not known, one phrase each.
        answer: Turns results and verdicts into sentences that answer the study's question, where it asks one.
    """

    key: str
    title: str
    citation: str
    checks: tuple[Check, ...]
    trials: Callable[[Scale, int | None], list[Trial]]
    sections: Callable[[Results], list[Section]]
    deviations: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    answer: Callable[[Results, Sequence[Judgement]], str] = lambda results, judgements: ""


def study_words(package: str) -> dict[str, Any]:
    """Return the title, citation, deviations and unknown settings of a study: what stands in its study.toml."""
    words = tomllib.loads((files(package) / "study.toml").read_text(encoding="utf-8"))
    return {name: tuple(text) if isinstance(text, list) else text for name, text in words.items()}


def judge_study(study: Study, results: Results, *, scale: Scale) -> list[Judgement]:
    """Judge every claim on every setting that was run.

    The smoke scale judges exact claims only: its runs are too short and too few for statistics.
    """
    settings = {trial.setting for trial in results.trials}
    return [
        judge(
            check.claim,
            check.evidence(results, setting),
            setting=setting,
            is_statistics_judged=scale != "smoke",
        )
        for check in study.checks
        for setting in check.settings
        if setting in settings
    ]


def check_study(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials of a study, each name and each claim's key being its own.

    Raises:
        ValueError: If two trials share a name, or two claims a key.
    """
    keys = [check.claim.key for check in study.checks]
    for what, names in (("trials", [trial.name for trial in trials]), ("claims", keys)):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ValueError(f"{what} of {study.key} must have names of their own, got twice: {twice}")
    return list(trials)
