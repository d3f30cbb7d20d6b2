"""Examination of any network in your own training: batches go through it once, and every number is read off that pass.

Batches are pairs of inputs and integer labels, moved to the model's device; the model is put into evaluation mode for
each of them and is as it was in between. Nothing is averaged over batches: every number is that of all examples.
"""

from mixscope.measuring.blended_features import BlendedFeatures, BlendLaw, capture_blends, measure_linearity
from mixscope.measuring.examination import LAYER_MIXING, PAIR_MIXING, Examination, examine
from mixscope.measuring.last_layer import LastLayer, linear_head, measure_last_layer, weight_and_bias
from mixscope.metrics.calibration.prediction_meter import PredictionMeter

__all__ = [
    "LAYER_MIXING",
    "PAIR_MIXING",
    "BlendLaw",
    "BlendedFeatures",
    "Examination",
    "LastLayer",
    "PredictionMeter",
    "capture_blends",
    "examine",
    "linear_head",
    "measure_last_layer",
    "measure_linearity",
    "weight_and_bias",
]
