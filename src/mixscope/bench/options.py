"""Every option of a run, as frozen dataclasses: the command line is made from them and `run.json` keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mixscope.base.errors import UserError
from mixscope.base.ranges import ALPHAS, COUNTS, EPOCHS, SEEDS, Range, check_ranges
from mixscope.base.text import utf8_text
from mixscope.bench.data_options import DataOptions as DataOptions
from mixscope.mixing.schemes import SCHEMES
from mixscope.records.form import shown
from mixscope.training.recipe import Recipe

Device = Literal["auto", "cpu", "cuda", "mps"]
if TYPE_CHECKING:
    SchemeName = str
else:
    SchemeName = Literal[tuple(SCHEMES)]
EXAMPLES = Range(2, 10**5)  # blends or images that are measured on: all are kept on the device
POINTS = 100  # images in one blend at most
LABEL_LENGTH = 100


def split_commas(names: tuple[str, ...]) -> tuple[str, ...]:
    """Take "a,b c" from the command line as a, b and c: no module's name holds a comma."""
    return tuple(part.strip() for name in names for part in name.split(",") if part.strip())


@dataclass(frozen=True)
class AugmentationOptions:
    """What is changed at random in training images."""

    crop_padding: Annotated[int, Range(0, 256)] = 0
    """Pad by this many pixels and crop at random (4 is usual for CIFAR)."""
    flip: bool = False
    """Mirror left and right at random."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class MixingOptions:
    """What is mixed."""

    mixing: SchemeName = "mixup"
    """none is plain training (ERM); label-mixup blends labels alone."""
    alpha: Annotated[float | None, ALPHAS] = None
    """Concentration of the weights' law; left out: 1, and 2 for manifold-mixup."""
    num_points: Annotated[int, Range(2, POINTS)] = 2
    """mixup: how many images make one blend."""
    per_example: bool = False
    """mixup: one weight per image instead of one per batch."""
    mixing_sites: tuple[str, ...] = ()
    """manifold-mixup: modules to choose from, or input, as a,b,c; left out: the input and the network's first two."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mixing_sites", split_commas(self.mixing_sites))
        check_ranges(self)
        for item in fields(self)[1:]:
            takers = [name for name, row in SCHEMES.items() if item.name in row.options]
            if self.mixing not in takers and getattr(self, item.name) != item.default:
                option = item.name.replace("_", "-")
                raise UserError(f"{option} must go with mixing {', '.join(takers)}, got mixing {self.mixing}")


@dataclass(frozen=True)
class ConsistencyOptions:
    """Unsupervised mixing (ICT): what is asked of training images without their labels."""

    consistency_points: Annotated[int, Range(0, POINTS, excludes=(1,))] = 0
    """How many unlabelled images make one blend whose output is compared; 0: none. The papers add it to mixing none."""
    consistency_alpha: Annotated[float, ALPHAS] = 0.5
    """Concentration of its weights' law; Chaudhry et al. 2022: 0.5 on CIFAR, 0.1 on SVHN."""
    consistency_teacher: Literal["same", "same-detached", "ema"] = "same"
    """Whose outputs blends are compared with: the network itself, itself without gradient, or its moving average."""
    consistency_space: Literal["logits", "softmax", "late-softmax"] = "logits"
    """What is compared: logits, probabilities, or the softmax of blended logits (the code of Verma et al. 2019b)."""
    consistency_weight: Annotated[float, Range(0, 1e9)] = 100.0
    """Weight of this loss after the ramp."""
    consistency_ramp: Annotated[float, Range(0, 1)] = 0.4
    """Share of training over which the weight rises from 0."""
    consistency_decay: Annotated[float, Range(0, 1, excludes=(1,))] = 0.999
    """ema: decay of the moving average."""
    consistency_batch: Annotated[int | None, COUNTS] = None
    """Unlabelled images a step; left out: batch-size."""
    unlabelled: Annotated[int | None, COUNTS] = None
    """Use this many unlabelled images, the same number of each class; left out: all training images."""
    unlabelled_disjoint: bool = False
    """Leave the labelled images (subset) out of the unlabelled ones."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.consistency_points == 0:
            for item in fields(self):
                if getattr(self, item.name) != item.default:
                    raise UserError(
                        f"{item.name.replace('_', '-')} must go with consistency-points of at least 2, got 0"
                    )
        if self.consistency_decay != ConsistencyOptions.consistency_decay and self.consistency_teacher != "ema":
            raise UserError(f"consistency-decay must go with consistency-teacher ema, got {self.consistency_teacher}")


@dataclass(frozen=True)
class MeasureOptions:
    """What is measured."""

    sites: tuple[str, ...] = ()
    """Modules whose linearity is measured, as a,b,c; left out: the network's own sites."""
    num_pairs: Annotated[int, EXAMPLES] = 1000
    """Blended pairs of training images behind the channel numbers."""
    linearity_pairs: Annotated[int, EXAMPLES] = 256
    """Blended pairs of test images behind the linearity numbers."""
    linearity_alpha: Annotated[float, ALPHAS] = 0.5
    """Weights of those pairs: Beta(a, a); 0.5 as Chaudhry et al. 2022 train on CIFAR."""
    plane_images: Annotated[int, EXAMPLES] = 300
    """Training images of the three classes in the picture of the classifier's plane."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sites", split_commas(self.sites))
        check_ranges(self)


@dataclass(frozen=True)
class TrainOptions:
    """The complete description of a training run: on the same machine the same options give the same numbers."""

    data: DataOptions = field(default_factory=DataOptions)
    model: str = "mlp"
    """mlp, residual-mlp, convnet, resnet18, wide-resnet-28-2, vit-small (and more), FILE.py:FACTORY or timm:NAME."""
    head: str | None = None
    """Module name of the linear classifier; left out: "head", or what timm names."""
    classifier: Literal["learned", "fixed-etf"] = "learned"
    """fixed-etf: the classifier is set to a simplex frame, with bias 0, and not trained."""
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    mixing: MixingOptions = field(default_factory=MixingOptions)
    consistency: ConsistencyOptions = field(default_factory=ConsistencyOptions)
    training: Recipe = field(default_factory=Recipe)
    measuring: MeasureOptions = field(default_factory=MeasureOptions)
    measure_every: Annotated[int | None, EPOCHS] = None
    """Measure after every so many epochs, besides before the first and after the last; left out: 20 times a run."""
    seed: Annotated[int, SEEDS] = 0
    """Seed of the weights at the start, the order of the images, augmentation and mixing."""
    device: Device = "auto"
    """auto takes a GPU where there is one."""
    threads: Annotated[int | None, Range(1, 1024)] = None
    """CPU threads; left out: torch's choice. Another number may change the last digits."""
    label: str | None = None
    """Name of the method on reports; left out: made from the options. Runs that share it differ in their seed."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.label is not None:
            object.__setattr__(self, "label", utf8_text(self.label))
            if not self.label.strip() or len(self.label) > LABEL_LENGTH:
                raise UserError(f"label must be 1 to {LABEL_LENGTH} characters, got {len(self.label.strip())}")
            if not self.label.isprintable():
                raise UserError(f"label must be one line of characters that can be shown, got {self.label!r}")
        if self.consistency.unlabelled_disjoint and self.data.subset is None:
            raise UserError("unlabelled-disjoint must go with subset: without it every training image is labelled")
        if self.training.mixing_off == "auto":
            if self.mixing.mixing == "none":
                raise UserError("mixing-off auto must go with a scheme that mixes, got mixing none")
            if self.training.loss != "cross-entropy":
                raise UserError(f"mixing-off auto must go with loss cross-entropy, got {self.training.loss}")


def options_to_dict(options: Any) -> dict[str, Any]:
    """Turn a dataclass of options into plain JSON values."""
    given = ((item, getattr(options, item.name)) for item in fields(options))
    return {item.name: _plain(value) for item, value in given if value != item.default or "later" not in item.metadata}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return options_to_dict(value)
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def options_from_dict(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """Rebuild options from the JSON values of `options_to_dict`; a `UserError` if a name or a value's type is wrong."""
    if not isinstance(values, Mapping):
        raise UserError(f"the description must be an object of options, got {shown(values)}")
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise UserError(f"the description holds options this version does not know: {', '.join(unknown)}")
    return kind(**{name: _typed(hints[name], value, name=name) for name, value in values.items()})


def _typed(hint: Any, value: Any, *, name: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return options_from_dict(hint, value)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        choices = [argument for argument in arguments if argument is not NoneType]
        named = (choice for choice in choices if get_origin(choice) is Literal and value in get_args(choice))
        return _typed(next(named, choices[0]), value, name=name)
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(arguments[0], item, name=name) for item in value)
    if origin is Literal and value in arguments:
        return value
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint in (int, bool, str) and type(value) is hint:
        return value
    raise UserError(f"the description's {name} must be {getattr(hint, '__name__', hint)}, got {shown(value)}")
