"""Beyond the papers: does mixup with an automatic switch-off give the best of mixup and of plain training?"""

import math
from collections.abc import Sequence
from itertools import chain

from mixscope.records.claims import Claim, Judgement
from mixscope.records.samples import Sample, paired
from mixscope.report.document import Chapter, Exhibit, Listing, Series
from mixscope.studies.engine.evidence_sources import Evidence, difference, percent, value
from mixscope.studies.engine.results import Number, Results, column, read_number
from mixscope.studies.engine.seed_figures import exhibit_name, mean_text, points_series
from mixscope.studies.engine.study_definition import Check, Study
from mixscope.studies.engine.trial import Outcome
from mixscope.studies.liu2023.evidence import LOSS, best_error, last_error
from mixscope.studies.liu2023.settings import AUTO, ERM, MIXUP, SWITCHES, switched
from mixscope.studies.when_to_mix.runs import EXTRA_SWITCHES, SETTINGS, beyond_trials

OURS = "a question of our own, limits ours; written before its own runs, while some of those of liu2023 were done"
WITH_FIXED = tuple(setting for setting in SETTINGS if setting in {*EXTRA_SWITCHES, "digits-200"})
FIXED = tuple(switched(epoch) for epoch in sorted({*SWITCHES, *chain.from_iterable(EXTRA_SWITCHES.values())}))
NEAR = (0.5, 1.0, 0.05)  # percentage points of error and calibration, nats: close to the best fixed switch


last_ece = percent("test/ece")  # expected calibration error at the end


def is_switched(outcome: Outcome) -> float:
    """Return 1 if mixing was switched off before the last epoch, 0 if it went on to the end."""
    return float(read_number(outcome, "mixing_off_after") < column(outcome, "curve", "epoch")[-1])


MEASURES: tuple[tuple[str, str, str | Number, str], ...] = (
    ("1", "test error", last_error, "percentage points"),
    ("2", "calibration error (ECE)", last_ece, "percentage points"),
    ("3", "test cross-entropy (NLL)", LOSS, "nats"),
)
RIVALS = (("a", MIXUP, "mixup throughout"), ("b", ERM, "plain training"))


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


CHECKS = (
    *(
        Check(
            Claim(
                f"beyond.{number}{letter}",
                "derived",
                f"Mixup that switches itself off ends with a lower {words} than {rival_words}.",
                OURS,
                f"{words} at the end, automatic switch less {rival_words}",
                "a mean difference above 0",
                high=0,
                unit=unit,
            ),
            SETTINGS,
            difference(AUTO, rival, measure),
        )
        for number, words, measure, unit in MEASURES
        for letter, rival, rival_words in RIVALS
    ),
    *(
        Check(
            Claim(
                f"beyond.4{letter}",
                "derived",
                f"Its {words} ends close to that of the best fixed switch, chosen in hindsight.",
                OURS if letter == "a" else "a question of our own, limits ours; asked after the runs",
                f"{words} at the end, automatic switch less the fixed one with the lowest mean test error",
                f"a mean difference above {near:g} {unit}",
                high=near,
                unit=unit,
            ),
            WITH_FIXED,
            above_best_fixed(measure),
        )
        for letter, near, (_, words, measure, unit) in zip("abc", NEAR, MEASURES, strict=True)
    ),
    Check(
        Claim(
            "beyond.5",
            "derived",
            "It ends no worse than mixup stopped at the best epoch, which only the test images can tell.",
            OURS,
            "test error at the end, automatic switch less the lowest of all looks of mixup",
            "a mean difference above 0",
            high=0,
            unit="percentage points",
        ),
        SETTINGS,
        above_oracle,
    ),
    Check(
        Claim(
            "beyond.6",
            "control",
            "The switch comes before training ends.",
            f"{OURS}; the limit was 0.9 then, which six runs cannot show",
            "share of runs in which mixing was switched off before the last epoch",
            "a share of at most a half",
            low=0.5,
            is_share=True,
        ),
        SETTINGS,
        value(AUTO, is_switched),
    ),
)


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
