"""Report of one network in memory: its numbers, its findings in words, its page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from mixscope.base.batch_pairs import parts_of
from mixscope.base.checks import check_same_length, naming
from mixscope.base.errors import UserError
from mixscope.base.generators import named_generator
from mixscope.base.kinds import checked
from mixscope.bench.measurement import Subject, draw
from mixscope.bench.options import MeasureOptions
from mixscope.bench.probe import CHOSEN_BATCH, Batch, ChosenExamples, Probe, draw_plane_classes
from mixscope.capturing.sites import check_sites
from mixscope.measuring import linear_head
from mixscope.metrics.catalogue import find_metric
from mixscope.models.networks import find_head, model_sites
from mixscope.report import Page, examination_page, page_text, render_fragment, write_page

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class NetworkReport:
    """What `measure` found out about a network. Printed, it is text; in a notebook, findings, a table and figures.

    Attributes:
        values: Every number by its key in the metrics' catalogue (docs/metrics.md), flat, for any logger.
        pictures: What its figures are drawn from, as in `pictures.json` of a run folder.
        name: What the network is called.
        data: What is known of the examples: num_train, num_test, num_classes, class_names.
    """

    values: dict[str, float]
    pictures: dict[str, Any] = field(repr=False)
    name: str = "network"
    data: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def page(self) -> Page:
        """The page, as `mixscope.report` has pages."""
        return examination_page(self.values, self.pictures, title=f"{self.name}, measured", name=self.name, **self.data)

    def __str__(self) -> str:
        """Return what was found, the main numbers, and where the others are."""
        return f"{page_text(self.page)}\nAll {len(self.values)} numbers: .values; the page: .write_page(path)"

    def _repr_html_(self) -> str:
        return render_fragment(self.page)

    def to_frame(self) -> "DataFrame":
        """Return a pandas frame with one row per number: its value, title, unit, better end and definition, by its key.

        Raises:
            ImportError: If pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install pandas; .values has the same numbers") from error
        cards = [find_metric(key) for key in self.values]
        columns = {name: [getattr(card, name) for card in cards] for name in ("title", "unit", "better", "definition")}
        return DataFrame({"value": list(self.values.values()), **columns}, index=list(self.values))

    @checked
    def write_page(self, path: Path | str) -> None:
        """Write the page as one HTML file that loads nothing; missing folders are made."""
        write_page(self.page, Path(path))


@checked
def measure(
    model: nn.Module,
    *,
    train: Iterable[Batch],
    test: Iterable[Batch] | None = None,
    head: str | None = None,
    sites: Sequence[str] | None = None,
    class_names: Sequence[str] = (),
    seed: int = 0,
    name: str = "network",
) -> NetworkReport:
    """Measure a network: neural collapse, accuracy, calibration, channels, and how linear its layers are on blends.

    Batches go through the network once, a choice of examples (1,000 of `train`, 256 of `test`, fewer where inputs are
    large) once more with blends of them. The model is left as it was, and so is the global random state. `print` the
    report, let a notebook show it, or see `NetworkReport`.

    Args:
        model: Takes a batch of inputs on its device, returns (B, K) logits, or an object or mapping that holds them as
            "logits".
        train: The examples it was trained on, unblended and unaugmented, every class among them: batches of inputs and
            (B,) integer labels in [0, K), a DataLoader for one, or a pair of tensors (inputs, labels).
        test: Examples it has not seen, likewise, for accuracy, calibration and linearity of layers.
        head: Module name of the linear classifier. None: "head", or what the model's own `get_classifier()` gives, or
            the one linear layer whose output is the logits of the first training examples.
        sites: Modules whose linearity is measured, "NAME" or "NAME:input", early to late. None: the model's own
            `sites`, or the input and the output of the head.
        class_names: K names for figures.
        seed: Names the choice of examples and the draws of blends: the same seed compares networks on the same ones.
        name: What the network is called on the page.

    Raises:
        ValueError: If the head is not linear or not found, a site does not exist, a class has no training example,
            labels do not fit, or features or logits are not finite.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> examples = torch.eye(3).repeat(4, 1), torch.arange(3).repeat(4)
        >>> report = measure(model, head="2", train=examples, test=examples)
        >>> report.values["nc/nc1_trace"] < 1e-12, report.values["test/error"] == 1 - report.values["test/accuracy"]
        (True, True)
    """
    head, train = _head_of(model, head, train)
    sites = model_sites(model, head) if sites is None else tuple(sites)
    check_sites(model, sites)
    num_classes, options = linear_head(model, head).out_features, MeasureOptions()
    if class_names and len(class_names) != num_classes:
        raise ValueError(f"class_names must be {num_classes} names, as the head has outputs, got {len(class_names)}")
    chosen = _choose(train, "train", options.num_pairs, named_generator(seed, "measured-pairs"))
    drawn = named_generator(seed, "held-out-pairs")
    held_out = None if test is None else _choose(test, "test", options.linearity_pairs, drawn)
    probe = Probe(
        train=chosen,
        test=held_out or (),
        pairs=chosen.later,
        pair_rows=None,
        plane=(),
        plane_classes=(),
        layer_pairs=() if held_out is None else held_out.later,
        linearity_alpha=options.linearity_alpha,
        split_seed=seed,
        num_classes=num_classes,
        class_names=tuple(class_names) or tuple(map(str, range(num_classes))),
    )
    with torch.random.fork_rng(devices=[]):  # data loaders draw from the global state
        subject = Subject(model, head, sites, probe)
        seen = subject.examine(test=test is not None, alphas=None if test is not None else ())
        classes = draw_plane_classes(num_classes, seed)
        plane = chosen.batches(classes=classes, most=options.plane_images)
        pictured = replace(probe, plane=plane, plane_classes=classes) if plane else probe
        measurement = draw(replace(subject, probe=pictured), seen)
    data = {"num_train": chosen.num_seen, "num_classes": num_classes}
    tested = {} if held_out is None else {"num_test": held_out.num_seen}
    return NetworkReport(measurement.values, measurement.pictures, name, data | tested)


def _head_of(model: nn.Module, head: str | None, train: Iterable[Batch]) -> tuple[str, Iterable[Batch]]:
    """Return the head's name, and the examples, whose first are looked at only where no name says which it is."""
    try:
        try:
            return find_head(model, head), train
        except UserError:
            if head is not None:
                raise
        train, first = _with_first_inputs(train)
        return find_head(model, inputs=first), train
    except UserError as error:
        raise ValueError(f"head: {error}".replace("--head", "head")) from error


def _with_first_inputs(examples: Iterable[Batch]) -> tuple[Iterable[Batch], Tensor | None]:
    """Return the examples, none of them used up, and two of their inputs; None where a batch has none."""
    batch: Any = examples
    if not _is_pair(examples):
        with torch.random.fork_rng(devices=[]):  # data loaders draw from the global state
            source = iter(examples)
            batch = next(source, None)
        if source is examples:
            examples = chain([] if batch is None else [batch], source)
    try:
        return examples, parts_of(batch)[0][:2]
    except ValueError:  # told where it is measured
        return examples, None


def _is_pair(examples: Any) -> bool:
    return isinstance(examples, tuple) and len(examples) == 2 and all(isinstance(part, Tensor) for part in examples)


def _choose(examples: Iterable[Batch], name: str, most: int, generator: torch.Generator) -> ChosenExamples:
    """Return batches that go by, also of a pair of tensors, and a choice of their examples."""
    if _is_pair(examples):
        inputs, labels = cast(Batch, examples)
        with naming(name):
            check_same_length(inputs=inputs, labels=labels)
        examples = list(zip(inputs.split(CHOSEN_BATCH), labels.split(CHOSEN_BATCH), strict=True))
    return ChosenExamples(examples, most=most, generator=generator)
