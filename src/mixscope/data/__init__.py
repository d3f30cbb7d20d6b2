"""Data sets: named, from a path or from the hub; checked, cached, and cut into batches on the device."""

from mixscope.data.batches import Augmentation, EvaluationBatches, TrainingBatches
from mixscope.data.image_data import ImageData
from mixscope.data.loading import SetStatus, data_status, fetch_data, load_data
from mixscope.data.splits import balanced_subset, stratified_split

__all__ = [
    "Augmentation",
    "EvaluationBatches",
    "ImageData",
    "SetStatus",
    "TrainingBatches",
    "balanced_subset",
    "data_status",
    "fetch_data",
    "load_data",
    "stratified_split",
]
