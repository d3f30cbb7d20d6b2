"""Options of `measure` for predictions that were made elsewhere: files of logits or probabilities, and labels."""

from dataclasses import dataclass
from pathlib import Path

from mixscope.base.errors import UserError
from mixscope.bench.options import split_commas


@dataclass(frozen=True)
class PredictionFiles:
    """Predictions made elsewhere, instead of a model: all that needs no network is measured of them."""

    logits: Path | None = None
    """Logits on the test images, (N, K), one array in .npy, .npz, .pt, .pth or .safetensors; instead of MODEL."""
    probabilities: Path | None = None
    """The same after a softmax: rows that sum to 1; instead of --logits."""
    labels: Path | None = None
    """The images' classes, (N,) integers from 0; beside --logits or --probabilities."""
    class_names: tuple[str, ...] = ()
    """Names of the classes for --logits or --probabilities, as a,b,c; left out: their numbers."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", split_commas(self.class_names))
        if self.logits is not None and self.probabilities is not None:
            raise UserError("logits must stand without --probabilities: give one of them")
        if self.is_given and self.labels is None:
            raise UserError(f"{'probabilities' if self.logits is None else 'logits'} must go with --labels")
        if not self.is_given and (self.labels is not None or self.class_names):
            given = "labels" if self.labels is not None else "class-names"
            raise UserError(f"{given} must go with --logits or --probabilities")

    @property
    def is_given(self) -> bool:
        """Whether there are predictions."""
        return self.logits is not None or self.probabilities is not None

    @property
    def scores(self) -> Path:
        """The file of logits or probabilities."""
        found = self.logits or self.probabilities
        assert found is not None
        return found
