"""Lightning callbacks: measure any LightningModule while it is fitted, and mix the batches it is fitted on."""

try:
    import lightning as _lightning  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("mixscope.integrations.lightning needs lightning: pip install 'mixscope[lightning]'") from error

from mixscope.integrations.lightning.measuring_callback import MixscopeCallback
from mixscope.integrations.lightning.mixup_callback import MixupCallback

__all__ = ["MixscopeCallback", "MixupCallback"]
