"""Instruments: functions and meters that measure features, predictions, weights and curves.

The public names, loaded when they are first used: importing this room loads no torch. docs/metrics.md defines every
number they give; `catalogue.find_metric` finds its card.
"""

from importlib import import_module
from typing import Any

_NAMES_OF = {
    "blends.blend_reports": ("ChannelReport", "NonlinearityReport"),
    "blends.channels": ("classifier_coordinates", "mixed_feature_geometry"),
    "blends.intrusion": ("IntrusionReport", "intrusion_rate", "nearest_examples"),
    "blends.linearity": ("NonlinearityMeter", "nonlinearity"),
    "bootstrap": ("Interval", "percentile_interval", "reflected_interval", "resampled_means"),
    "calibration.calibration_intervals": ("CalibrationIntervals", "calibration_intervals"),
    "calibration.prediction_meter": ("PredictionMeter", "calibration_report"),
    "calibration.calibration_report": ("CalibrationReport",),
    "calibration.scaling_report": ("ScalingReport",),
    "calibration.temperature_scaling": ("scaling_report",),
    "calibration.scores": ("ClasswiseCalibration", "ProperScores"),
    "calibration.temperature": (
        "TemperatureFit",
        "TemperatureReport",
        "calibration_after_temperature",
        "fit_temperature",
    ),
    "calibration.top_label": ("CalibrationBins", "Reliability", "equal_mass_reliability", "expected_calibration_error"),
    "cards": ("Card",),
    "catalogue": ("CATALOGUE", "find_metric"),
    "class_statistics.statistics": ("ClassMoments", "ClassStatistics"),
    "collapse.collapse_report": ("ClassGeometry", "CollapseOnTest", "CollapseReport"),
    "collapse.held_out": ("collapse_on_test",),
    "collapse.nearest_mean": ("NearestMeanCounts",),
    "collapse.neural_collapse": ("class_geometry", "neural_collapse"),
    "collapse.other_tools": ("as_galanti2021", "as_papyan2020", "as_rangamani", "as_tirer", "as_zhu2021"),
    "overtraining.curve_intervals": ("end_minus_best", "turning_epoch"),
    "overtraining.degenerate": ("chance_accuracy", "is_constant_classifier", "output_spread"),
    "overtraining.loss_slices": ("filter_normalised_direction", "loss_slice"),
    "overtraining.monitor": ("OvertrainingMonitor",),
    "overtraining.sharpness": ("SharpnessReport", "gradient_norm", "sharpness"),
    "paired_comparison": ("McNemar", "PairedComparison", "compare_predictions", "mcnemar"),
    "overtraining.turn_rules": ("FloorGapRule", "ValidationRule"),
}
_HOME_OF = {name: home for home, names in _NAMES_OF.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"mixscope.metrics.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'mixscope.metrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
