"""Training of a network as the work of a study's run: as the options say, measured along the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mixscope.bench.build import build_bench
from mixscope.bench.description import describe_images
from mixscope.bench.observer import SILENT
from mixscope.bench.options import TrainOptions, options_to_dict
from mixscope.bench.recorder import Recorder
from mixscope.measuring import PredictionMeter
from mixscope.metrics.overtraining.degenerate import is_constant_classifier, output_spread
from mixscope.studies.engine.instruments import INSTRUMENTS
from mixscope.studies.engine.trial import Measured, table_of
from mixscope.training.objective import NonFiniteLossError

REVISION = 1  # of what the record of a trained network means; another number makes all be done anew


@dataclass(frozen=True)
class NetworkTraining:
    """Train a network, follow its test error, and measure everything at chosen epochs.

    The tables: "curve" with the epoch, the training loss and the calibration report on the test images;
    "measured" with all of the bench's numbers and those of the instruments. The values: both at the end.

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
        instruments = {name: INSTRUMENTS[name] for name in self.instruments}
        recorder = Recorder(bench, instruments=instruments, is_measured=self.is_measured)
        rows: dict[str, list[dict[str, Any]]] = {"curve": [], "measured": []}
        problem = ""
        try:
            self._record(recorder, 0, {}, rows)
            for summary in bench.training.epochs():
                trained = {"train/loss": summary.loss, "train/loss_floor": summary.loss_floor}
                trained["learning_rate"] = summary.learning_rate
                self._record(recorder, summary.epoch, trained, rows)
        except NonFiniteLossError as error:
            if not rows["curve"]:
                raise
            problem = f"diverged: {error}"
        tables = {name: lines for name, lines in rows.items() if lines}
        values = {key: value for lines in tables.values() for key, value in lines[-1].items()}
        if bench.training.mixing_off is not None:
            values["mixing_off_after"] = bench.training.mixing_off
        return Measured(
            values=values,
            tables={name: table_of(lines) for name, lines in tables.items()},
            pictures=recorder.pictures | ({"sites": list(bench.sites)} if "pairs" in recorder.pictures else {}),
            problem=problem or _collapse_problem(recorder.predictions),
            data=describe_images(bench.data, unlabelled=bench.unlabelled),
        )

    def _record(
        self, recorder: Recorder, epoch: int, trained: Mapping[str, float], rows: Mapping[str, list[dict[str, Any]]]
    ) -> None:
        """Measure what is due after an epoch, and add it to the rows of the tables.

        Raises:
            NonFiniteLossError: If the network has diverged.
        """
        is_last = epoch == self.options.training.epochs
        on_curve = is_last or epoch % self.curve_every == 0
        tested: dict[str, float] = {}
        if is_last or epoch in self.measure_at:
            tested, values = recorder.measure(epoch, test=on_curve, draw_pictures=is_last)
            if values:
                rows["measured"].append({"epoch": epoch, **values})
        elif on_curve:
            tested = recorder.test(epoch)
        if on_curve:
            rows["curve"].append({"epoch": epoch, **trained, **tested})


def _collapse_problem(predictions: PredictionMeter) -> str:
    """Say that a network gives every test image the same answer, where it does, in one sentence; "" where not."""
    logits, labels = torch.cat(predictions.logits), torch.cat(predictions.labels)
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
