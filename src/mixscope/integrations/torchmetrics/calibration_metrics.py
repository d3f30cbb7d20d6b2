"""Calibration as torchmetrics: bins (low, high] in constant memory, and which way confidence is off."""

from typing import Any, ClassVar

from torch import Tensor

from mixscope.base.kinds import checked
from mixscope.integrations.torchmetrics.streaming_metric import InstrumentMetric, ordinary_tensors
from mixscope.measuring.pictures import reliability_columns
from mixscope.metrics.calibration.top_label import NUM_BINS, CalibrationBins
from mixscope.report.figures.matplotlib_drawing import draw_with_matplotlib
from mixscope.report.logged_figures import figures_of

RESULTS = {"ece": "expected_calibration_error", "mce": "maximum_calibration_error"}  # of `CalibrationBins`, by field
RESULTS |= {name: name for name in ("signed_gap", "mean_confidence", "accuracy")}


class BinnedCalibration(InstrumentMetric[CalibrationBins]):
    """What the calibration metrics share. Those with the same bins are fed once in a `MetricCollection`."""

    result: ClassVar[str]  # the property of `CalibrationBins` that is the value

    @checked
    def __init__(self, num_bins: int = NUM_BINS) -> None:
        """Start with no examples; `num_bins` as of `CalibrationBins`."""
        self.num_bins = num_bins
        super().__init__()

    def make_empty(self) -> CalibrationBins:
        """Return bins that have seen nothing."""
        return CalibrationBins(self.num_bins)

    def make_of(self, state: dict[str, Tensor]) -> CalibrationBins:
        """Return the bins with these sums."""
        return CalibrationBins.from_state(state)

    @checked
    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch of (B, K) probabilities, never logits, and (B,) labels; errors as of `CalibrationBins.update`.

        On a GPU a batch that is refused is left out, and `compute` raises.
        """
        with ordinary_tensors():
            self.instrument.update(probabilities, labels)

    def compute(self) -> Any:
        """Return a float64 scalar, of `CalibrationSummary` several by name; a ValueError where no example was seen."""
        return self.scalar(getattr(self.instrument, self.result))

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the reliability diagram of the examples seen, of all processes, or values given as torchmetrics does.

        Args:
            val: What `compute` or `forward` returned, or a list of such: drawn as numbers. None: the diagram.
            ax: Axes of matplotlib, which get accuracy against confidence alone. None: a figure with the counts below.

        Returns:
            Figure and axes, as every metric of torchmetrics does.

        Raises:
            ImportError: If matplotlib is not installed.
            ValueError: If there is nothing to draw, as no example was seen.
        """
        if val is not None:
            return self._plot(val, ax)
        with self.sync_context(should_sync=self._to_sync, should_unsync=self._should_unsync):
            bins = self.instrument
            gap = bins.signed_gap  # raises where nothing was seen
            picture = {"ece": bins.expected_calibration_error, "signed_gap": gap}
            drawn = figures_of({"reliability": reliability_columns(bins.reliability) | picture})
        (diagram,) = drawn.values()
        figure = draw_with_matplotlib(diagram.plot, title=diagram.title, into=ax)
        return figure, figure.axes[0] if ax is None else ax


class CalibrationError(BinnedCalibration):
    """Top-label expected calibration error with equal-width bins (Guo et al. 2017), in [0, 1]; 0 is best.

    Example:
        >>> import torch
        >>> metric = CalibrationError(num_bins=2)
        >>> metric.update(torch.tensor([[0.75, 0.25], [1.0, 0.0]]), torch.tensor([0, 1]))
        >>> float(metric.compute())
        0.375
    """

    higher_is_better = False
    result = "expected_calibration_error"


class SignedCalibrationGap(BinnedCalibration):
    """Mean confidence minus accuracy, in [-1, 1]; 0 is best, negative under-confident, positive over-confident.

    Example:
        >>> import torch
        >>> metric = SignedCalibrationGap()
        >>> metric.update(torch.tensor([[0.75, 0.25], [1.0, 0.0]]), torch.tensor([0, 0]))
        >>> float(metric.compute())
        -0.125
    """

    higher_is_better = None
    result = "signed_gap"


class CalibrationSummary(BinnedCalibration):
    """A dict of what the bins know, by field names of `CalibrationReport`.

    Example:
        >>> import torch
        >>> metric = CalibrationSummary()
        >>> metric.update(torch.tensor([[0.75, 0.25], [1.0, 0.0]]), torch.tensor([0, 0]))
        >>> {name: float(value) for name, value in metric.compute().items()}
        {'ece': 0.125, 'mce': 0.25, 'signed_gap': -0.125, 'mean_confidence': 0.875, 'accuracy': 1.0}
    """

    higher_is_better = None

    def compute(self) -> dict[str, Tensor]:
        """Return float64 scalars by name."""
        return {name: self.scalar(getattr(self.instrument, result)) for name, result in RESULTS.items()}
