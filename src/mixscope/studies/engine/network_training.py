"""Work that trains a network as the options say, and looks at it along the way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mixscope.bench.build import Bench, build_bench
from mixscope.bench.description import describe_images
from mixscope.bench.divergence import divergence_told
from mixscope.bench.measurement import measure
from mixscope.bench.observer import SILENT
from mixscope.bench.options import TrainOptions, options_to_dict
from mixscope.bench.theory_overlay import expectation_of
from mixscope.capturing.capture import capture_batches
from mixscope.measuring import calibration_values, measure_calibration
from mixscope.metrics.overtraining.degenerate import is_constant_classifier, output_spread
from mixscope.studies.engine.instruments import INSTRUMENTS, Reading
from mixscope.studies.engine.trial import Measured, table_of
from mixscope.training.loop import NonFiniteLossError

REVISION = 1  # of what the record of a trained network means; another number makes all be done anew


@dataclass(frozen=True)
class NetworkTraining:
    """Train a network, follow its test error, and measure everything at chosen epochs.

    The tables: "curve" with the epoch, the training loss and the calibration report on the test images;
    "measured" with all of `experiment.measure`'s numbers and those of the instruments. The values: both at the end.

    Attributes:
        options: The run. `label` and `measure_every` are not looked at.
        curve_every: Epochs between looks at the test images, besides the first and the last.
        measure_at: Epochs after which everything is measured, ascending; 0 is before training. The last epoch is
            always added.
        instruments: Names of `INSTRUMENTS` that are read at those epochs too.
        is_measured: Whether the full measurement is made at all; a curve alone is much cheaper.
    """

    options: TrainOptions
    curve_every: int
    measure_at: tuple[int, ...] = ()
    instruments: tuple[str, ...] = ()
    is_measured: bool = True

    def describe(self) -> dict[str, Any]:
        """Return everything the result depends on: options that have their default are left out.

        So a new option that leaves all as it was does not ask for finished runs again. Where a default changes,
        `REVISION` must.
        """
        options = _given(options_to_dict(self.options), options_to_dict(TrainOptions()))
        for name in ("label", "measure_every"):
            options.pop(name, None)
        return {
            "kind": "network",
            "revision": REVISION,
            "options": options,
            "curve_every": self.curve_every,
            "measure_at": list(self.measure_at),
            "instruments": list(self.instruments),
            "is_measured": self.is_measured,
        }

    def run(self) -> Measured:
        """Train and measure; a loss that stops being finite and a network that collapses are results too, and named."""
        bench = build_bench(self.options, folder=Path(), tracker=None, observer=SILENT)
        instruments = {name: INSTRUMENTS[name](bench) for name in self.instruments}
        follower = _Follower(self, bench, instruments)
        follower.look(0, {})
        problem = ""
        try:
            for summary in bench.training.epochs():
                follower.look(
                    summary.epoch,
                    {
                        "train/loss": summary.loss,
                        "train/loss_floor": summary.loss_floor,
                        "learning_rate": summary.learning_rate,
                    },
                )
        except NonFiniteLossError as error:
            problem = f"diverged: {error}"
        return follower.measured(problem or collapse_of(bench))


def collapse_of(bench: Bench) -> str:
    """Say that a network gives every test image the same answer, where it does, in one sentence; "" where not."""
    batches = list(capture_batches(bench.model, bench.probe.test))
    logits = torch.cat([batch.logits for batch in batches])
    labels = torch.cat([batch.labels for batch in batches]).to(logits.device)
    accuracy, spread = float((logits.argmax(dim=1) == labels).double().mean()), output_spread(logits)
    is_collapsed = is_constant_classifier(
        accuracy=accuracy,
        num_examples=len(labels),
        largest_share=float(labels.bincount().max()) / len(labels),
        spread=spread,
    )
    if not is_collapsed:
        return ""
    return f"collapsed: accuracy {accuracy:.2f}, outputs of different images differ in direction by {spread:.2g}"


class _Follower:
    """Gathers the lines of the tables while a network trains."""

    def __init__(
        self, work: NetworkTraining, bench: Bench, instruments: Mapping[str, Callable[[int], Reading]]
    ) -> None:
        self.work, self.bench, self.instruments = work, bench, instruments
        self.num_epochs = work.options.training.epochs
        self.curve: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []
        self.pictures: dict[str, Any] = {}

    def look(self, epoch: int, seen: Mapping[str, float]) -> None:
        """Measure what is due after an epoch.

        Raises:
            NonFiniteLossError: If the network has diverged.
        """
        bench = self.bench
        with divergence_told(bench.model, bench.probe, head=bench.head, sites=bench.sites, epoch=epoch):
            self._look(epoch, seen)

    def _look(self, epoch: int, seen: Mapping[str, float]) -> None:
        is_last = epoch == self.num_epochs
        if is_last or epoch % self.work.curve_every == 0:
            report = measure_calibration(self.bench.model, self.bench.probe.test)
            self.curve.append({"epoch": epoch, **seen, **calibration_values(report)})
        if is_last or epoch in self.work.measure_at:
            self._measure(epoch, is_last=is_last)

    def measured(self, problem: str) -> Measured:
        """Return all of it."""
        tables = {"curve": table_of(self.curve)} | ({"measured": table_of(self.lines)} if self.lines else {})
        values = {**self.curve[-1], **(self.lines[-1] if self.lines else {})}
        if self.bench.training.mixing_off is not None:
            values["mixing_off_after"] = self.bench.training.mixing_off
        return Measured(
            values=values,
            tables=tables,
            pictures=self.pictures,
            problem=problem,
            data=describe_images(self.bench.data, unlabelled=self.bench.unlabelled),
        )

    def _measure(self, epoch: int, *, is_last: bool) -> None:
        bench = self.bench
        line: dict[str, Any] = {"epoch": epoch}
        if self.work.is_measured:
            measurement = measure(
                bench.model,
                bench.probe,
                head=bench.head,
                sites=bench.sites,
                expectation=expectation_of(bench.options),
                draw_pictures=is_last,
            )
            line |= measurement.values
            if is_last:
                self.pictures |= {"sites": list(bench.sites), "pairs": measurement.pictures["pairs"]}
                self.pictures["reliability"] = measurement.pictures["reliability"]
        with torch.random.fork_rng(devices=[]):
            for name, instrument in self.instruments.items():
                reading = instrument(epoch)
                line |= reading.values
                if reading.picture is not None:
                    self.pictures.setdefault(name, []).append({"epoch": epoch, **reading.picture})
        if len(line) > 1:
            self.lines.append(line)


def _given(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that differ from their defaults, group by group."""
    given: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            value = _given(value, defaults[name])
            if value:
                given[name] = value
        elif value != defaults[name]:
            given[name] = value
    return given
