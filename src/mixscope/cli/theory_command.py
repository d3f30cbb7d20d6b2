"""Command `theory`: four models behind the papers, each as a table in the terminal and a page."""

import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Generic, TypeVar

from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, arg, subcommand

from mixscope.base.files import check_out
from mixscope.cli.display import make_console, print_table, say, say_page
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
