"""mixscope: train with mixup and its relatives, see what it does to the network, and compare it with theory.

The public names, loaded when they are first used, `measure` first. The instruments stand in `mixscope.metrics`, figures
from records in `mixscope.figures`, the models behind the papers in `mixscope.theory`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixscope import figures, measuring, metrics, theory
    from mixscope.bench.network_report import NetworkReport, measure
    from mixscope.capturing.capture import Captured, capture
    from mixscope.metrics.blends.blend_reports import ChannelReport, NonlinearityReport
    from mixscope.metrics.calibration.calibration_report import CalibrationReport
    from mixscope.metrics.calibration.temperature import TemperatureReport
    from mixscope.metrics.collapse.collapse_report import CollapseReport
    from mixscope.metrics.overtraining.monitor import OvertrainingMonitor
    from mixscope.mixing.cutmix import CutMix
    from mixscope.mixing.loss_floor import loss_floor_gap, mixup_loss_floor, soft_target_entropy
    from mixscope.mixing.manifold import ManifoldMixup
    from mixscope.mixing.mixture import Mixture, blend, blend_targets, soft_cross_entropy
    from mixscope.mixing.mixup import FixedWeights, Mixup, NoMixing
    from mixscope.stats.intervals import Interval

__version__ = "0.1.0"

_NAMES_OF = {
    "bench.network_report": ("measure", "NetworkReport"),
    "mixing.mixup": ("Mixup", "NoMixing", "FixedWeights"),
    "mixing.cutmix": ("CutMix",),
    "mixing.manifold": ("ManifoldMixup",),
    "mixing.mixture": ("Mixture", "blend", "blend_targets", "soft_cross_entropy"),
    "mixing.loss_floor": ("soft_target_entropy", "mixup_loss_floor", "loss_floor_gap"),
    "metrics.overtraining.monitor": ("OvertrainingMonitor",),
    "capturing.capture": ("capture", "Captured"),
    "metrics.collapse.collapse_report": ("CollapseReport",),
    "metrics.calibration.calibration_report": ("CalibrationReport",),
    "metrics.calibration.temperature": ("TemperatureReport",),
    "metrics.blends.blend_reports": ("ChannelReport", "NonlinearityReport"),
    "stats.intervals": ("Interval",),
}
_HOME_OF = {name: f"mixscope.{home}" for home, names in _NAMES_OF.items() for name in names}
_ROOMS = ("metrics", "figures", "theory", "measuring")

__all__ = [*_HOME_OF, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    if name in _ROOMS:
        return import_module(f"mixscope.{name}")
    raise AttributeError(f"module 'mixscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
