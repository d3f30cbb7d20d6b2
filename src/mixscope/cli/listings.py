"""Commands `report` and `data`, which run nothing: a page that compares runs, a list of the image sets."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from mixscope.base.errors import UserError
from mixscope.base.files import check_out
from mixscope.cli.display import ProgressDisplay, make_console, print_table, say_page


@dataclass(frozen=True)
class Report:
    """Compare runs on one page."""

    runs: Positional[tuple[Path, ...]]
    """Run folders, folders of run folders, or records of a study's trained networks (.json) or a folder of these."""
    only: str = "*"
    """Of a folder of a study's records: those whose names fit this pattern, for example "digits-200-*"."""
    out: Path = Path()
    """Folder of the page, report.html."""
    title: str = "Runs compared"
    """Its title."""

    def run(self) -> None:
        """Write the page."""
        from mixscope.records.store import RECORD_FILE, REPORT_FILE, Run, read_measured_run
        from mixscope.report.runs.runs_page import write_report

        if not self.runs:
            raise UserError("runs must name at least one run folder, got none")
        check_out(self.out, files=[REPORT_FILE])
        runs: list[Run] = []
        for path in self.runs:
            inside = sorted(file.parent for file in path.glob(f"*/{RECORD_FILE}"))
            is_run = (path / RECORD_FILE).exists()
            if not is_run and not inside and (path.suffix == ".json" or any(path.glob("*.json"))):
                from mixscope.studies.engine.trial_runs import read_trial_runs

                runs += read_trial_runs(path, only=self.only)
            else:
                runs += [read_measured_run(folder) for folder in ([path] if is_run or not inside else inside)]
        if (self.out / RECORD_FILE).exists() and [run.folder.resolve() for run in runs] != [self.out.resolve()]:
            raise UserError(f"out must not be the folder of a run, whose own page would be lost, got {self.out}")
        page = self.out / REPORT_FILE
        write_report(page, runs, title=self.title)
        say_page(make_console(), page)


@dataclass(frozen=True)
class Data:
    """List the image sets mixscope knows, where they are and what is missing; fetch one."""

    fetch: str | None = None
    """Download this set into the cache."""
    data_dir: Path | None = None
    """Folder with local copies; looked at before MIXSCOPE_DATA and the cache."""

    def run(self) -> None:
        """List, or fetch."""
        from mixscope.data.loading import data_status, fetch_data

        console = make_console()
        if self.fetch is not None:
            with ProgressDisplay(console) as display:
                fetch_data(self.fetch, data_dir=self.data_dir, progress=display.loading)
        rows = [
            [
                status.named.name,
                " + ".join(f"{count:,}" for count in (status.named.num_train, status.named.num_test) if count),
                str(len(status.named.class_names)),
                "x".join(map(str, status.named.image_shape)),
                str(status.found) if status.found else f"missing: {', '.join(status.missing)}",
            ]
            for status in data_status(self.data_dir)
        ]
        print_table(console, "Image sets", ["set", "images", "classes", "size", "where"], rows)
