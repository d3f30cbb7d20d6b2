"""mixscope: train with mixup and its relatives, see what it does to the network, and compare it with theory.

The public names, loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixscope.capturing import Captured, capture
    from mixscope.metrics.calibration import CalibrationBins, expected_calibration_error
    from mixscope.metrics.channels import ChannelReport, mixed_feature_geometry
    from mixscope.metrics.collapse import CollapseReport, neural_collapse
    from mixscope.metrics.linearity import NonlinearityReport, nonlinearity
    from mixscope.metrics.statistics import ClassStatistics
    from mixscope.mixing.hidden import ManifoldMixup
    from mixscope.mixing.pixel import Mixup, NoMixing
    from mixscope.mixing.region import CutMix
    from mixscope.mixture import Mixture, blend, blend_targets, soft_cross_entropy
    from mixscope.simplex import project_to_classifier_plane, simplex_etf

__version__ = "0.1.0"

_HOMES = {
    "mixscope.capturing": ("Captured", "capture"),
    "mixscope.metrics.calibration": ("CalibrationBins", "expected_calibration_error"),
    "mixscope.metrics.channels": ("ChannelReport", "mixed_feature_geometry"),
    "mixscope.metrics.collapse": ("CollapseReport", "neural_collapse"),
    "mixscope.metrics.linearity": ("NonlinearityReport", "nonlinearity"),
    "mixscope.metrics.statistics": ("ClassStatistics",),
    "mixscope.mixing.hidden": ("ManifoldMixup",),
    "mixscope.mixing.pixel": ("Mixup", "NoMixing"),
    "mixscope.mixing.region": ("CutMix",),
    "mixscope.mixture": ("Mixture", "blend", "blend_targets", "soft_cross_entropy"),
    "mixscope.simplex": ("project_to_classifier_plane", "simplex_etf"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CalibrationBins",
    "Captured",
    "ChannelReport",
    "ClassStatistics",
    "CollapseReport",
    "CutMix",
    "ManifoldMixup",
    "Mixture",
    "Mixup",
    "NoMixing",
    "NonlinearityReport",
    "blend",
    "blend_targets",
    "capture",
    "expected_calibration_error",
    "mixed_feature_geometry",
    "neural_collapse",
    "nonlinearity",
    "project_to_classifier_plane",
    "simplex_etf",
    "soft_cross_entropy",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'mixscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
