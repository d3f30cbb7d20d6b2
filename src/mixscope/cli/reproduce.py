"""Command `reproduce`: run a study at a scale, judge its claims, write its pages."""

import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from rich.console import Console
from tyro.conf import Positional

from mixscope.base.errors import UserError
from mixscope.base.files import check_out
from mixscope.base.folder_lock import hold_folder
from mixscope.base.ranges import Range, check_ranges
from mixscope.cli.display import make_console, print_table, say, say_page
from mixscope.studies.names import STUDY_KEYS, Scale, StudyKey

if TYPE_CHECKING:
    from mixscope.report.verdicts.verdict_sections import StudySummary
    from mixscope.studies.engine.runner import Progress
    from mixscope.studies.engine.trial import Trial


@dataclass(frozen=True)
class Reproduce:
    """Check what papers found: run a study, judge every claim, and write a page on it.

    Runs that are finished are not done again: after Ctrl-C the same command goes on. An overview of all studies that is
    already in the folder is written anew from the records that are there.
    """

    study: Positional[StudyKey | Literal["all"]]
    """A paper, beyond (mixup with automatic switch-off against all else), or all of them."""
    scale: Scale = "smoke"
    """smoke: exact claims only, a minute; small: two CPU cores, up to 45 minutes a study; medium: a GPU, up to 30;
    paper: the published setting as far as it is known."""
    seeds: Annotated[int | None, Range(1, 1000)] = None
    """Seeds of every method; left out: the scale's own."""
    out: Path | None = None
    """Folder of the records and pages; left out: runs/reproduce-SCALE."""
    jobs: Annotated[int | None, Range(1, 1024)] = None
    """Runs side by side, each with one thread; left out: one for each core it may use, and 1 where there is a GPU."""
    data_dir: Path | None = None
    """Folder with local copies of the image sets; looked at before MIXSCOPE_DATA and the cache."""

    def __post_init__(self) -> None:
        check_ranges(self)

    def run(self) -> None:
        """Run what is not done yet, judge, write."""
        folder, console = self.out or Path("runs") / f"reproduce-{self.scale}", make_console()
        from mixscope.studies.engine import publish

        pages = [f"{key}.{suffix}" for key in self._chosen() for suffix in ("html", "md")]
        check_out(folder, files=[*pages, publish.OVERVIEW_FILE, publish.VERDICTS_FILE])
        with hold_folder(folder, inside=[publish.RECORDS], note=partial(say, console)):
            self._run_in(folder, console)

    def _chosen(self) -> tuple[StudyKey, ...]:
        return STUDY_KEYS if self.study == "all" else (self.study,)

    def _run_in(self, folder: Path, console: Console) -> None:
        """Run what is not done yet, judge, write, in a folder that is held."""
        from mixscope.data.named_sets import FIRST_VARIABLE, existing_folder
        from mixscope.studies.engine import publish
        from mixscope.studies.engine.results import read_results
        from mixscope.studies.engine.runner import pending
        from mixscope.studies.engine.study_definition import check_study
        from mixscope.studies.names import load_study

        if self.data_dir is not None:  # the processes that train inherit it
            os.environ[FIRST_VARIABLE] = str(existing_folder(self.data_dir, name="data-dir").absolute())
        records, chosen = folder / publish.RECORDS, self._chosen()
        has_overview = self.study == "all" or (folder / publish.OVERVIEW_FILE).is_file()
        studies = [load_study(key) for key in (STUDY_KEYS if has_overview else chosen)]
        trials = {study.key: check_study(study, study.trials(self.scale, self.seeds)) for study in studies}
        everything = [trial for part in trials.values() for trial in part]
        if pending(everything, records):
            read_results(everything, records)  # a damaged record is told before anything is run
        errors = self._run_trials([trial for key in chosen for trial in trials[key]], records, console)
        summaries = []
        for study in studies:
            results = read_results(trials[study.key], records)
            not_run = publish.scales_not_run(folder, self.scale)
            summaries.append(publish.summarise(study, results, scale=self.scale, seeds=self.seeds, not_run=not_run))
            if study.key not in chosen:
                continue
            page = publish.write_study(study, results, summaries[-1], folder)
            _print_verdicts(console, summaries[-1])
            say_page(console, page)
        if has_overview:
            page = publish.write_overview(summaries, folder, command=publish.command_of("all", self.scale, self.seeds))
            say(console, f"overview: {page.resolve()}")
        if self.scale == "smoke":
            say(console, "smoke judges exact claims only; --scale small judges all of them")
        if errors:
            num = f"{len(errors)} run{'' if len(errors) == 1 else 's'}"
            raise UserError(f"{num} could not be done, so claims are undecided: {'; '.join(dict.fromkeys(errors))}")

    def _run_trials(self, trials: list["Trial"], folder: Path, console: Console) -> list[str]:
        """Run what has no record; return why runs could not be done, one reason for each."""
        import torch

        from mixscope.studies.engine.runner import pending, run_pending

        waiting = pending(trials, folder)
        num_all = len({trial.digest for trial in trials})
        jobs = self.jobs or (1 if torch.cuda.is_available() else max(1, min(_num_cores(), len(waiting))))
        say(console, f"{num_all} runs, {num_all - len(waiting)} of them done; {jobs} at a time")
        errors: list[str] = []
        began, done = time.perf_counter(), 0

        def tell(progress: "Progress") -> None:
            nonlocal done
            done = progress.num_done
            if progress.error:
                errors.append(progress.error)
            words = "could not be done" if progress.error else f"{progress.wall_seconds:.0f} s"
            minutes = (time.perf_counter() - began) / 60
            say(console, f"{done}/{progress.num_trials}  {progress.trial.name}  {words}  ({minutes:.1f} min)")

        try:
            run_pending(waiting, folder, num_jobs=jobs, tell=tell)
        except KeyboardInterrupt:
            words = f"interrupted with {done} of {len(waiting)} runs done; the same command goes on"
            raise KeyboardInterrupt(words) from None
        return errors


def _num_cores() -> int:
    """Return the cores this process may use: in a container or a cluster's job fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _print_verdicts(console: Console, summary: "StudySummary") -> None:
    from mixscope.report.verdicts.verdict_sections import basis_words, count_words, expected_words, measured_words

    rows = [
        [
            each.claim.key,
            each.setting,
            expected_words(each.claim),
            measured_words(each),
            basis_words(each),
            each.verdict,
        ]
        for each in summary.judgements
    ]
    columns = ["claim", "setting", "expected", "measured", "basis", "verdict"]
    print_table(console, f"{summary.title}: {count_words(summary.judgements)}", columns, rows)
