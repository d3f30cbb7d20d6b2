"""mixscope: train with mixup and its relatives, see what it does to the network, and compare it with theory.

The public names, loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixscope import measuring, theory
    from mixscope.base.simplex import project_to_classifier_plane, simplex_etf
    from mixscope.capturing.capture import Captured, capture, capture_batches
    from mixscope.measuring import Examination, examine
    from mixscope.metrics.blends.blend_reports import ChannelReport, NonlinearityReport
    from mixscope.metrics.blends.channels import mixed_feature_geometry
    from mixscope.metrics.blends.intrusion import intrusion_rate
    from mixscope.metrics.blends.linearity import NonlinearityMeter, nonlinearity
    from mixscope.metrics.calibration.calibration_intervals import calibration_intervals
    from mixscope.metrics.calibration.calibration_report import CalibrationReport
    from mixscope.metrics.calibration.classwise import ClasswiseCalibration
    from mixscope.metrics.calibration.prediction_meter import calibration_report
    from mixscope.metrics.calibration.temperature import calibration_after_temperature, fit_temperature
    from mixscope.metrics.calibration.top_label import CalibrationBins, expected_calibration_error
    from mixscope.metrics.class_statistics.moments import ClassMoments
    from mixscope.metrics.class_statistics.statistics import ClassStatistics
    from mixscope.metrics.collapse.collapse_report import CollapseOnTest, CollapseReport
    from mixscope.metrics.collapse.held_out import collapse_on_test
    from mixscope.metrics.collapse.nearest_mean import NearestMeanCounts
    from mixscope.metrics.collapse.neural_collapse import neural_collapse
    from mixscope.metrics.overtraining.curve_intervals import end_minus_best, turning_epoch
    from mixscope.metrics.overtraining.gradients import gradient_norm
    from mixscope.metrics.overtraining.loss_slices import loss_slice
    from mixscope.metrics.overtraining.monitor import OvertrainingMonitor
    from mixscope.metrics.overtraining.sharpness import sharpness
    from mixscope.metrics.overtraining.turn_rules import FloorGapRule, ValidationRule
    from mixscope.mixing.cutmix import CutMix
    from mixscope.mixing.fixed_weights import FixedWeights
    from mixscope.mixing.loss_floor import loss_floor_gap, mixup_loss_floor, soft_target_entropy
    from mixscope.mixing.manifold import ManifoldMixup
    from mixscope.mixing.mixture import Mixture, blend, blend_targets, soft_cross_entropy
    from mixscope.mixing.mixup import Mixup, NoMixing

__version__ = "0.1.0"

_HOMES = {
    "mixscope.capturing.capture": ("Captured", "capture", "capture_batches"),
    "mixscope.mixing.loss_floor": ("loss_floor_gap", "mixup_loss_floor", "soft_target_entropy"),
    "mixscope.measuring": ("Examination", "examine"),
    "mixscope.metrics.calibration.top_label": ("CalibrationBins", "expected_calibration_error"),
    "mixscope.metrics.calibration.calibration_intervals": ("calibration_intervals",),
    "mixscope.metrics.calibration.calibration_report": ("CalibrationReport",),
    "mixscope.metrics.calibration.prediction_meter": ("calibration_report",),
    "mixscope.metrics.blends.blend_reports": ("ChannelReport", "NonlinearityReport"),
    "mixscope.metrics.blends.channels": ("mixed_feature_geometry",),
    "mixscope.metrics.calibration.classwise": ("ClasswiseCalibration",),
    "mixscope.metrics.collapse.neural_collapse": ("neural_collapse",),
    "mixscope.metrics.collapse.collapse_report": ("CollapseOnTest", "CollapseReport"),
    "mixscope.metrics.overtraining.curve_intervals": ("end_minus_best", "turning_epoch"),
    "mixscope.metrics.overtraining.gradients": ("gradient_norm",),
    "mixscope.metrics.collapse.held_out": ("collapse_on_test",),
    "mixscope.metrics.blends.intrusion": ("intrusion_rate",),
    "mixscope.metrics.overtraining.loss_slices": ("loss_slice",),
    "mixscope.metrics.blends.linearity": ("NonlinearityMeter", "nonlinearity"),
    "mixscope.metrics.class_statistics.moments": ("ClassMoments",),
    "mixscope.metrics.overtraining.monitor": ("OvertrainingMonitor",),
    "mixscope.metrics.collapse.nearest_mean": ("NearestMeanCounts",),
    "mixscope.metrics.overtraining.sharpness": ("sharpness",),
    "mixscope.metrics.class_statistics.statistics": ("ClassStatistics",),
    "mixscope.metrics.calibration.temperature": ("calibration_after_temperature", "fit_temperature"),
    "mixscope.metrics.overtraining.turn_rules": ("FloorGapRule", "ValidationRule"),
    "mixscope.mixing.fixed_weights": ("FixedWeights",),
    "mixscope.mixing.manifold": ("ManifoldMixup",),
    "mixscope.mixing.mixup": ("Mixup", "NoMixing"),
    "mixscope.mixing.cutmix": ("CutMix",),
    "mixscope.mixing.mixture": ("Mixture", "blend", "blend_targets", "soft_cross_entropy"),
    "mixscope.base.simplex": ("project_to_classifier_plane", "simplex_etf"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = ("measuring", "theory")

__all__ = [
    "CalibrationBins",
    "CalibrationReport",
    "Captured",
    "ChannelReport",
    "ClassMoments",
    "ClassStatistics",
    "ClasswiseCalibration",
    "CollapseOnTest",
    "CollapseReport",
    "CutMix",
    "Examination",
    "FixedWeights",
    "FloorGapRule",
    "ManifoldMixup",
    "Mixture",
    "Mixup",
    "NearestMeanCounts",
    "NoMixing",
    "NonlinearityMeter",
    "NonlinearityReport",
    "OvertrainingMonitor",
    "ValidationRule",
    "blend",
    "blend_targets",
    "calibration_after_temperature",
    "calibration_intervals",
    "calibration_report",
    "capture",
    "capture_batches",
    "collapse_on_test",
    "end_minus_best",
    "examine",
    "expected_calibration_error",
    "fit_temperature",
    "gradient_norm",
    "intrusion_rate",
    "loss_floor_gap",
    "loss_slice",
    "measuring",
    "mixed_feature_geometry",
    "mixup_loss_floor",
    "neural_collapse",
    "nonlinearity",
    "project_to_classifier_plane",
    "sharpness",
    "simplex_etf",
    "soft_cross_entropy",
    "soft_target_entropy",
    "theory",
    "turning_epoch",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    if name in _ROOMS:
        return import_module(f"mixscope.{name}")
    raise AttributeError(f"module 'mixscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
