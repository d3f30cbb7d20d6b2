"""Command `theory`: four models behind the papers, each as a table in the terminal and a page."""

import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, arg, subcommand

from mixscope.base.files import check_out
from mixscope.cli.display import make_console, print_table, say, say_page
from mixscope.theory_pages.theory_options import (
    LabelNoiseOptions,
    LayerPeeledOptions,
    MixupFeaturesOptions,
    RandomFeaturesOptions,
)

PAGES = Path("runs") / "theory"


@dataclass(frozen=True)
class MixupFeatures:
    """Where the features of blends should lie: channels, how far out and how narrow, and the joint optimum."""

    options: OmitArgPrefixes[Annotated[MixupFeaturesOptions, arg(name="")]] = field(
        default_factory=MixupFeaturesOptions
    )
    out: Path = PAGES
    """Folder of the page, mixup-features.html."""
    name: ClassVar[str] = "mixup-features"
    maker: ClassVar[str] = "mixup_features_page"


@dataclass(frozen=True)
class LayerPeeled:
    """How gradient flow collapses a classifier and free features: rates, laws, optimum, saddles, weight decay."""

    options: OmitArgPrefixes[Annotated[LayerPeeledOptions, arg(name="")]] = field(default_factory=LayerPeeledOptions)
    out: Path = PAGES
    """Folder of the page, layer-peeled.html."""
    name: ClassVar[str] = "layer-peeled"
    maker: ClassVar[str] = "layer_peeled_page"


@dataclass(frozen=True)
class RandomFeatures:
    """When training on blends turns from help to harm: risk over all times, turning times, the bound."""

    options: OmitArgPrefixes[Annotated[RandomFeaturesOptions, arg(name="")]] = field(
        default_factory=RandomFeaturesOptions
    )
    out: Path = PAGES
    """Folder of the page, random-features.html."""
    name: ClassVar[str] = "random-features"
    maker: ClassVar[str] = "random_features_page"


@dataclass(frozen=True)
class LabelNoise:
    """How wrong the labels of blends are, and how low the loss on blends can go."""

    options: OmitArgPrefixes[Annotated[LabelNoiseOptions, arg(name="")]] = field(default_factory=LabelNoiseOptions)
    out: Path = PAGES
    """Folder of the page, label-noise.html."""
    name: ClassVar[str] = "label-noise"
    maker: ClassVar[str] = "label_noise_page"


@dataclass(frozen=True)
class Theory:
    """Compute what theory says should be seen: print a table and write a page with figures, in seconds."""

    model: OmitSubcommandPrefixes[
        OmitArgPrefixes[
            Annotated[MixupFeatures, subcommand(name="mixup-features")]
            | Annotated[LayerPeeled, subcommand(name="layer-peeled")]
            | Annotated[RandomFeatures, subcommand(name="random-features")]
            | Annotated[LabelNoise, subcommand(name="label-noise")]
        ]
    ]

    def run(self) -> None:
        """Compute, print, write."""
        file = f"{self.model.name}.html"
        check_out(self.model.out, files=[file])
        began = time.perf_counter()
        page = getattr(import_module(f"mixscope.theory_pages.{self.model.maker}"), self.model.maker)(self.model.options)
        from mixscope.report.rendering import write_page

        path = self.model.out / file
        write_page(page, path)
        console = make_console()
        for table in page.titled_tables:
            print_table(console, table.title, table.headings, table.words)
        say(console, f"computed in {time.perf_counter() - began:.1f} s")
        say_page(console, path)
