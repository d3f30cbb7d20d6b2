"""Measure any model in your own training: run it over batches once and feed the instruments what it makes of them.

Batches are pairs of inputs and integer labels, moved to the model's device; the model is put into evaluation mode for
each of them and is as it was in between. Nothing is averaged over batches: every number is that of all examples.
"""

from mixscope.measuring.blends import BlendedFeatures, capture_blends, measure_channels, measure_linearity
from mixscope.measuring.last_layer import Look, linear_head, look_at, measure_collapse
from mixscope.measuring.network import (
    NetworkMeasurement,
    calibration_values,
    examine_network,
    linearity_values,
    measure_network,
)
from mixscope.measuring.prediction_meter import PredictionMeter, measure_calibration

__all__ = [
    "BlendedFeatures",
    "Look",
    "NetworkMeasurement",
    "PredictionMeter",
    "calibration_values",
    "capture_blends",
    "examine_network",
    "linear_head",
    "linearity_values",
    "look_at",
    "measure_calibration",
    "measure_channels",
    "measure_collapse",
    "measure_linearity",
    "measure_network",
]
