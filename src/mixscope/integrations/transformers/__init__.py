"""Callbacks, collator and loss for transformers' Trainer: measure an image classifier while it is trained, and mix."""

try:
    import transformers as _transformers  # noqa: F401
except ModuleNotFoundError as error:
    message = "mixscope.integrations.transformers needs transformers: pip install 'mixscope[transformers]'"
    raise ImportError(message) from error

from mixscope.integrations.transformers.batch_mixing import MixupCollator, MixupTrainerCallback
from mixscope.integrations.transformers.soft_loss import soft_label_loss
from mixscope.integrations.transformers.trainer_measuring import MixscopeTrainerCallback

__all__ = ["MixscopeTrainerCallback", "MixupCollator", "MixupTrainerCallback", "soft_label_loss"]
