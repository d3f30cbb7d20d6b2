"""Recorder of a run under way: lines of numbers and pictures, of a run of one's own and of a study's alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from mixscope.bench.build import Bench
from mixscope.bench.failures import divergence_told
from mixscope.bench.measurement import draw
from mixscope.measuring import Examination, PredictionMeter

Lines = tuple[dict[str, float], dict[str, float]]


@dataclass(frozen=True)
class Reading:
    """What an instrument gives: numbers, and for some a picture as plain JSON values."""

    values: Mapping[str, float]
    picture: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Instrument:
    """Something that is read off a network beside the bench's own measurement.

    `begin` takes what it needs of a bench before training, and what it returns reads an examination: predictions on the
    test images, blends of training images, the linearity of layers on blends by the laws `alphas` beside the probe's
    own, or nothing.
    """

    begin: Callable[[Bench], Callable[[Examination], Reading]]
    reads: Literal["", "test", "blends", "layers"] = ""
    alphas: tuple[float, ...] = ()


class Recorder:
    """Measures a network in training after the epochs it is told, each set of images in one pass an epoch.

    Instruments, by name, are read where everything is measured, and the bench's own measurement made where
    `is_measured`. `predictions` are the last ones on the test images, `pictures` what figures are drawn from: of the
    last epoch, and of every reading of an instrument.
    """

    def __init__(
        self, bench: Bench, *, instruments: Mapping[str, Instrument] | None = None, is_measured: bool = True
    ) -> None:
        self.bench, self.subject, self.is_measured = bench, bench.subject, is_measured
        self.instruments = dict(instruments or {})
        self.readers = {name: instrument.begin(bench) for name, instrument in self.instruments.items()}
        self.predictions = PredictionMeter()
        self.pictures: dict[str, Any] = {}

    def test(self, epoch: int) -> dict[str, float]:
        """Return the numbers of the predictions on the test images alone; a `NonFiniteLossError` if it has diverged."""
        with divergence_told(self.subject, epoch=epoch):
            seen = self.subject.examine(blends=False, alphas=())
            self.predictions = seen.predictions or self.predictions
            return seen.values

    def measure(self, epoch: int, *, test: bool = True, draw_pictures: bool = False) -> Lines:
        """Measure everything, read the instruments, and return the numbers of the test images, and all numbers.

        Args:
            epoch: After which it is measured.
            test: Whether the predictions on the test images are wanted, where the bench's own measurement is not made.
            draw_pictures: Whether to keep what takes longer: the pictures, and with them theory's curve fitted to the
                blends of all classes, which gives "channels/theory_residual".
        """
        with divergence_told(self.subject, epoch=epoch):
            seen = self._examine(test=test)
            self.predictions = seen.predictions or self.predictions
            tested = {key: value for key, value in seen.values.items() if key.startswith("test/")}
            values: dict[str, float] = {}
            if self.is_measured:
                values |= seen.values
            if self.is_measured and draw_pictures:
                drawn = draw(self.subject, seen)
                values, self.pictures = drawn.values, self.pictures | drawn.pictures
            with torch.random.fork_rng(devices=[]):
                for name, read in self.readers.items():
                    reading = read(seen)
                    values |= reading.values
                    if reading.picture is not None:
                        self.pictures.setdefault(name, []).append({"epoch": epoch, **reading.picture})
            return tested, values

    def _examine(self, *, test: bool) -> Examination:
        """Examine the network as far as the measurement and the instruments read it."""
        read = {instrument.reads for instrument in self.instruments.values()}
        alphas = [alpha for instrument in self.instruments.values() for alpha in instrument.alphas]
        if self.is_measured or "layers" in read:
            alphas = [self.subject.probe.linearity_alpha, *alphas]
        return self.subject.examine(
            test=test or self.is_measured or "test" in read,
            blends=self.is_measured or "blends" in read,
            alphas=tuple(dict.fromkeys(alphas)),
        )
