"""The instruments as torchmetrics: metrics of constant size in float64 that reset, merge, sync, pickle and clone.

What torchmetrics promises holds: `forward` gives the value of one batch and keeps all of them, `compute` gives that
over all batches and processes, metrics save with `persistent(True)` and share their states in a `MetricCollection`. Two
things are added: a call that raises changes nothing, and states stay in float64 whatever the module around them is cast
to. The settings of `torchmetrics.Metric` are attributes: `metric.dist_sync_on_step = True`, `metric.process_group`.
"""

try:
    import torchmetrics as _torchmetrics  # noqa: F401
except ModuleNotFoundError as error:
    needs = "mixscope.integrations.torchmetrics needs torchmetrics: pip install 'mixscope[torchmetrics]'"
    raise ImportError(needs) from error

from mixscope.integrations.torchmetrics.calibration_metrics import (
    CalibrationError,
    CalibrationSummary,
    SignedCalibrationGap,
)
from mixscope.integrations.torchmetrics.collapse_metrics import NearestClassMean, NeuralCollapse

__all__ = ["CalibrationError", "CalibrationSummary", "NearestClassMean", "NeuralCollapse", "SignedCalibrationGap"]
