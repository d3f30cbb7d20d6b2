"""Commands that train nothing: `theory` and `report`, which write a page, and `data`, a list of the image sets."""

import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Generic, TypeVar

from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, arg, subcommand

from mixscope.base.errors import UserError
from mixscope.base.files import check_out
from mixscope.cli.display import ProgressDisplay, make_console, print_table, say, say_page, say_text
from mixscope.theory_pages.theory_options import (
    LabelNoiseOptions,
    LayerPeeledOptions,
    MixupFeaturesOptions,
    RandomFeaturesOptions,
)

Options = TypeVar("Options", MixupFeaturesOptions, LayerPeeledOptions, RandomFeaturesOptions, LabelNoiseOptions)
PAGES = {  # name of the model on the command line, and of the module and function that make its page
    MixupFeaturesOptions: ("mixup-features", "mixup_features_page"),
    LayerPeeledOptions: ("layer-peeled", "layer_peeled_page"),
    RandomFeaturesOptions: ("random-features", "random_features_page"),
    LabelNoiseOptions: ("label-noise", "label_noise_page"),
}


@dataclass(frozen=True)
class Model(Generic[Options]):
    """A model and where its page goes."""

    options: OmitArgPrefixes[Annotated[Options, arg(name="")]]
    out: Path = Path("runs") / "theory"
    """Folder of the page, which is named after the model."""


@dataclass(frozen=True)
class Theory:
    """Compute what theory says should be seen: print a table and write a page with figures, in seconds."""

    model: OmitSubcommandPrefixes[
        OmitArgPrefixes[
            Annotated[
                Model[MixupFeaturesOptions], subcommand("mixup-features", description=MixupFeaturesOptions.__doc__)
            ]
            | Annotated[Model[LayerPeeledOptions], subcommand("layer-peeled", description=LayerPeeledOptions.__doc__)]
            | Annotated[
                Model[RandomFeaturesOptions], subcommand("random-features", description=RandomFeaturesOptions.__doc__)
            ]
            | Annotated[Model[LabelNoiseOptions], subcommand("label-noise", description=LabelNoiseOptions.__doc__)]
        ]
    ]

    def run(self) -> None:
        """Compute, print, write."""
        name, maker = PAGES[type(self.model.options)]
        path = self.model.out / f"{name}.html"
        check_out(self.model.out, files=[path.name])
        began = time.perf_counter()
        page = getattr(import_module(f"mixscope.theory_pages.{maker}"), maker)(self.model.options)
        from mixscope.report.rendering import write_page

        write_page(page, path)
        console = make_console()
        for table in page.titled_tables:
            print_table(console, table.title, table.headings, table.words)
        say(console, f"computed in {time.perf_counter() - began:.1f} s")
        say_page(console, path)


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
        from mixscope.records.store import PREDICTIONS_FILE, RECORD_FILE, REPORT_FILE, Run, read_measured_run
        from mixscope.report.rendering import write_page
        from mixscope.report.runs.page_text import WIDTH, page_text
        from mixscope.report.runs.paired_findings import ComparedPair
        from mixscope.report.runs.runs_page import runs_page

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
        pairs: list[ComparedPair] = []
        if sum((run.folder / PREDICTIONS_FILE).exists() for run in runs) > 1:
            from mixscope.bench.paired_checkpoints import compare_checkpoints

            pairs = compare_checkpoints(runs)
        console, shown = make_console(), runs_page(runs, title=self.title, pairs=pairs)
        write_page(shown, page)
        say_text(console, page_text(shown, width=min(WIDTH, console.width)))
        say_page(console, page)


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
