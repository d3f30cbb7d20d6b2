"""The command `theory`: four models behind the papers, each as a table in the terminal and a page."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, arg, subcommand

from mixscope._errors import UserError
from mixscope._files import check_writable
from mixscope.cli.display import make_console, print_table
from mixscope.experiment.theory_options import (
    LabelNoiseOptions,
    LayerPeeledOptions,
    MixupFeaturesOptions,
    RandomFeaturesOptions,
)

if TYPE_CHECKING:
    from mixscope.experiment.theory_page import TheoryPage

PAGES = Path("runs") / "theory"


@dataclass(frozen=True)
class MixupFeatures:
    """Where the features of blends should lie: channels, how far out and how narrow, and the joint optimum."""

    options: OmitArgPrefixes[Annotated[MixupFeaturesOptions, arg(name="")]] = field(
        default_factory=MixupFeaturesOptions
    )
    out: Path = PAGES / "mixup-features.html"
    """The page."""

    def page(self) -> "TheoryPage":
        """Return the page."""
        from mixscope.experiment.theory_mixup_features import mixup_features_page

        return mixup_features_page(self.options)


@dataclass(frozen=True)
class LayerPeeled:
    """How gradient flow collapses a classifier and free features: rates, laws, optimum, saddles, weight decay."""

    options: OmitArgPrefixes[Annotated[LayerPeeledOptions, arg(name="")]] = field(default_factory=LayerPeeledOptions)
    out: Path = PAGES / "layer-peeled.html"
    """The page."""

    def page(self) -> "TheoryPage":
        """Return the page."""
        from mixscope.experiment.theory_layer_peeled import layer_peeled_page

        return layer_peeled_page(self.options)


@dataclass(frozen=True)
class RandomFeatures:
    """When training on blends turns from help to harm: risk over all times, turning times, the bound."""

    options: OmitArgPrefixes[Annotated[RandomFeaturesOptions, arg(name="")]] = field(
        default_factory=RandomFeaturesOptions
    )
    out: Path = PAGES / "random-features.html"
    """The page."""

    def page(self) -> "TheoryPage":
        """Return the page."""
        from mixscope.experiment.theory_random_features import random_features_page

        return random_features_page(self.options)


@dataclass(frozen=True)
class LabelNoise:
    """How wrong the labels of blends are, and how low the loss on blends can go."""

    options: OmitArgPrefixes[Annotated[LabelNoiseOptions, arg(name="")]] = field(default_factory=LabelNoiseOptions)
    out: Path = PAGES / "label-noise.html"
    """The page."""

    def page(self) -> "TheoryPage":
        """Return the page."""
        from mixscope.experiment.theory_label_noise import label_noise_page

        return label_noise_page(self.options)


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
        out = self.model.out
        check_writable(out.parent)
        if out.is_dir():
            raise UserError(f"out must be a file, but {out} is a folder")
        began = time.perf_counter()
        page = self.model.page()
        from mixscope.experiment.theory_page import write_theory_page

        write_theory_page(out, page)
        console = make_console()
        for title, listing in page.tables:
            print_table(console, title, listing.columns, listing.words)
        console.print(f"computed in {time.perf_counter() - began:.1f} s", highlight=False)
        console.print(f"page: {out.resolve()}", soft_wrap=True, highlight=False)
