"""Beyond the papers: does mixup with an automatic switch-off give the best of mixup and of plain training?"""

import math
from collections.abc import Sequence

from mixscope.records.judging import Judgement
from mixscope.report.document import Chapter, Exhibit, Listing, Series
from mixscope.studies.engine.results import Number, Results, column
from mixscope.studies.engine.seed_figures import exhibit_name, mean_text, points_series
from mixscope.studies.engine.study_definition import Study
from mixscope.studies.liu2023.settings import AUTO, ERM, MIXUP
from mixscope.studies.when_to_mix.claims_switch import CHECKS, FIXED, MEASURES, RIVALS, is_switched
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


def _chapters(results: Results) -> list[Chapter]:
    settings = [setting for setting in SETTINGS if results.of(setting, AUTO)]
    chapters = [_table(results, settings), _switch_figures(results, settings)]
    return [chapter for chapter in chapters if chapter.exhibits or (chapter.listing and chapter.listing.rows)]


def _table(results: Results, settings: list[str]) -> Chapter:
    rows = []
    for setting in settings:
        for method in results.methods(setting):
            if not results.of(setting, method):
                continue
            cells = [
                mean_text(results.sample(setting, method, measure).values.values()) for _, _, measure, _ in MEASURES
            ]
            epochs = list(results.sample(setting, method, "mixing_off_after").values.values())
            known = [epoch for epoch in epochs if math.isfinite(epoch)]
            off = f"{min(known):g} to {max(known):g}" if known and method == AUTO else ""
            rows.append([f"{setting}, {method}", str(len(epochs)), *cells, off])
    columns = ["runs", "seeds", "test error, %", "ECE, %", "NLL, nats", "mixing stopped after"]
    text = (
        "All at the end of training. Look within a set whether the automatic switch is as good as the better of ERM "
        "and mixup in every column, and how far the best fixed switch, which had to be known beforehand, is below it."
    )
    notes = [f"Means over seeds with Student's 95% intervals. Methods: {ERM} is plain training; off-N stops after N."]
    return Chapter("methods", "Error, calibration and loss", text, listing=Listing(columns, rows), notes=notes)


def _switch_figures(results: Results, settings: list[str]) -> Chapter:
    exhibits = []
    for setting in settings:
        fixed = {method: float(method.rpartition("-")[2]) for method in FIXED if results.of(setting, method)}
        places = {ERM: 1.0} | fixed | {MIXUP: _last_epoch(results, setting)}
        for _, words, measure, unit in MEASURES:
            lines = [
                points_series(results, setting, places, measure, name="ERM, fixed switches, mixup", colour=0),
                _auto_points(results, setting, measure),
            ]
            exhibits.append(
                Exhibit(
                    exhibit_name(setting, words),
                    f"{setting}: {words}",
                    [line for line in lines if line.x],
                    x_title="epochs with mixing (ERM at 1)",
                    y_title="%" if unit == "percentage points" else unit,
                    log_x=True,
                )
            )
    text = (
        "The line goes from plain training (far left, no epoch) through fixed switches to mixup throughout; points are "
        "the runs with the automatic switch, where it came. The best of both would be points at the lowest part of the "
        "line, in error, calibration and loss alike."
    )
    return Chapter("switches", "By the number of epochs with mixing", text, [item for item in exhibits if item.series])


def _last_epoch(results: Results, setting: str) -> float:
    return max(column(outcome, "curve", "epoch")[-1] for outcome in results.of(setting, AUTO).values())


def _auto_points(results: Results, setting: str, measure: str | Number) -> Series:
    epochs = results.sample(setting, AUTO, "mixing_off_after").values
    heights = results.sample(setting, AUTO, measure).values
    known = [seed for seed, epoch in epochs.items() if math.isfinite(epoch) and epoch > 0]
    return Series("automatic switch", [epochs[s] for s in known], [heights[s] for s in known], is_marked=True, colour=1)


STUDY = Study(
    key="beyond",
    title="Mixup that switches itself off",
    citation="A question of our own, after Liu et al. 2023: does the switch-off of the over-training monitor give the "
    "best of mixup and of plain training?",
    checks=CHECKS,
    trials=beyond_trials,
    chapters=_chapters,
    answer=answer,
    deviations=(
        "The automatic rule goes by the training loss above its floor alone; its setting was chosen "
        "before these runs, but on digits and with this same network (benchmarks/results/switch_off.json): only the "
        "image sets are new to it.",
        "The best fixed switch is chosen on the test images, in hindsight, which favours it.",
        "Images, networks and epochs are those of the study of Liu et al. 2023 here, not of the paper.",
    ),
)
