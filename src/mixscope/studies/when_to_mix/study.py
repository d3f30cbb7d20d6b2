"""Beyond the papers: does mixup with an automatic switch-off give the best of mixup and of plain training?"""

from collections.abc import Sequence

from mixscope.records.judging import Judgement
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.study_definition import Study, study_words
from mixscope.studies.liu2023.settings import AUTO
from mixscope.studies.when_to_mix.claims_switch import CHECKS, MEASURES, RIVALS, is_switched
from mixscope.studies.when_to_mix.exhibits import sections
from mixscope.studies.when_to_mix.runs import SETTINGS, beyond_trials


def answer(results: Results, judgements: Sequence[Judgement]) -> str:
    """Return on which sets the switch-off was better than both rivals at the end, and on which it never came."""
    settings = [setting for setting in SETTINGS if results.of(setting, AUTO)]
    never = [setting for setting in settings if not any(results.sample(setting, AUTO, is_switched).values.values())]
    held = {(one.claim.key, one.setting) for one in judgements if one.verdict == "held"}
    sentences = []
    for number, words, _, _ in MEASURES:
        keys = [f"beyond.{number}{letter}" for letter, _, _ in RIVALS]
        better = [setting for setting in settings if all((key, setting) in held for key in keys)]
        sentences.append(f"in {words} on {len(better)} of {len(settings)} sets ({', '.join(better) or 'none'})")
    text = f"Better than both mixup throughout and plain training: {'; '.join(sentences)}."
    return f"{text} On {' and '.join(never)} mixing never stopped: it was mixup itself." if never else text


STUDY = Study(
    key="beyond",
    checks=CHECKS,
    trials=beyond_trials,
    sections=sections,
    answer=answer,
    **study_words("mixscope.studies.when_to_mix"),
)
