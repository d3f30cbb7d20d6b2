"""Preprocessing that a pretrained network expects: size, crop, interpolation, mean and std, as it says itself."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mixscope.base.errors import UserError, users_code
from mixscope.models.external import import_timm
from mixscope.models.hub_models import HUB_PREFIX, processor_of

FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # PIL's numbers
WARPED_FROM = 384  # transformers' ConvNeXT processor squashes to this size and above, and crops below
RESCALE = 1 / 255


@dataclass(frozen=True)
class Preprocessing:
    """How images become what a network takes.

    Attributes:
        image_size: (H, W) of what the network gets; None: as the images are.
        resize: The shorter side before the crop, in pixels; None: no resize of its own.
        crop: "center", after the resize; "squash": resized to the size whatever the shape; "border": the longer side
            is resized, and the rest filled.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos", "box" or "hamming", each antialiased.
        mean: Of each channel of pixels in [0, 1]; None: not normalised.
        std: Likewise.
        channels: 1 or 3; None: as the images are.
        rounding: Where the crop begins when the margin is odd: "nearest" (torchvision, to even) or "floor"
            (transformers).
        source: Where this comes from, in words.
    """

    image_size: tuple[int, int] | None
    resize: int | None
    crop: Literal["center", "squash", "border"]
    interpolation: str
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    channels: int | None
    rounding: Literal["nearest", "floor"]
    source: str


def preprocessing_of(name: str) -> Preprocessing | None:
    """Return what "timm:NAME" or "hf-model:NAME" expects; None where nothing says so, or for any other network.

    Known without the network: timm's evaluation of the weights by that name (its test size and crop), or the
    preprocessor_config.json beside a transformers model.

    Raises:
        UserError: If the library is missing, or what it does to images cannot be taken over.
    """
    if name.startswith("timm:"):
        return _of_timm(name.removeprefix("timm:"))
    if name.startswith(HUB_PREFIX):
        processor = processor_of(name.removeprefix(HUB_PREFIX))
        return None if processor is None else _of_processor(processor, name=name)
    return None


def _of_timm(name: str) -> Preprocessing | None:
    timm = import_timm(name)
    with users_code(f"timm:{name}: its data config could not be read:"):
        if name.startswith(("hf-hub:", "hf_hub:")):
            found = timm.models.load_model_config_from_hf(name.split(":", 1)[1])[0]
        else:
            known = timm.get_pretrained_cfg(name)
            found = None if known is None else known.to_dict()
        if not found:
            return None
        config = timm.data.resolve_data_config(pretrained_cfg=found, use_test_size=True)
        channels, height, width = config["input_size"]
        crop = config.get("crop_mode") or "center"
        share = config.get("crop_pct") or 1.0
    sizes = [math.floor(side / share) for side in (height, width)]  # as timm's transforms_imagenet_eval
    if crop not in ("center", "squash", "border") or (crop == "center" and height != width):
        raise UserError(_left_words(f"timm:{name}", f"crop_mode {crop} of {height} x {width}"))
    return Preprocessing(
        image_size=(height, width),
        resize=sizes[0] if crop == "center" else None,
        crop="center" if crop == "center" else "squash" if crop == "squash" else "border",
        interpolation=str(config["interpolation"]),
        mean=tuple(map(float, config["mean"])),
        std=tuple(map(float, config["std"])),
        channels=int(channels),
        rounding="nearest",
        source=f"timm's data config of {name}",
    )


def _of_processor(processor: Any, *, name: str) -> Preprocessing:
    """Return what a transformers image processor does, where that is a resize, a centre crop, and a normalisation."""

    def option(key: str) -> Any:
        return getattr(processor, key, None)

    kind = type(processor).__name__
    rescales, factor = option("do_rescale") is not False, option("rescale_factor")
    odd = [
        words
        for words, is_odd in (
            (
                f"rescale_factor {factor}",
                rescales and factor is not None and not math.isclose(factor, RESCALE, rel_tol=1e-6),
            ),
            ("do_rescale off", not rescales),
            ("do_pad", bool(option("do_pad"))),
            ("rescale_offset", bool(option("rescale_offset"))),
            ("include_top", kind.startswith("EfficientNet") and bool(option("include_top"))),
            ("do_flip_channel_order", bool(option("do_flip_channel_order"))),
            ("do_reduce_labels", bool(option("do_reduce_labels"))),
            ("do_color_quantize", bool(option("do_color_quantize"))),
            ("do_thumbnail", bool(option("do_thumbnail"))),
            ("do_align_long_axis", bool(option("do_align_long_axis"))),
        )
        if is_odd
    ]
    size, crop_size = _sides(option("size")), _sides(option("crop_size"))
    crops = bool(option("do_center_crop"))
    resize: int | None = None
    wanted: tuple[int | None, int | None] = (None, None)
    crop = "squash"
    if not option("do_resize"):
        crop = "center"
        wanted = (crop_size.get("height"), crop_size.get("width")) if crops else wanted
    elif "crop_pct" in dir(processor) and option("crop_pct") and "shortest_edge" in size:
        edge = size["shortest_edge"]
        wanted = (edge, edge)
        if edge < WARPED_FROM:
            resize, crop = int(edge / option("crop_pct")), "center"
    elif set(size) == {"shortest_edge"} and crops:
        resize, crop, wanted = size["shortest_edge"], "center", (crop_size.get("height"), crop_size.get("width"))
    elif set(size) == {"height", "width"} and (not crops or crop_size == size):
        wanted = (size["height"], size["width"])
    else:
        odd.append(f"size {dict(size)}" + (f" with crop_size {dict(crop_size)}" if crops else ""))
    filter_name = FILTERS.get(int(option("resample") if option("resample") is not None else 2))
    if filter_name is None:
        odd.append(f"resample {option('resample')}")
    if odd:
        raise UserError(_left_words(name, f"{kind} with {' and '.join(odd)}"))
    normalises = bool(option("do_normalize"))
    return Preprocessing(
        image_size=None if wanted[0] is None or wanted[1] is None else (wanted[0], wanted[1]),
        resize=resize,
        crop="center" if crop == "center" else "squash",
        interpolation=str(filter_name),
        mean=_numbers(option("image_mean")) if normalises else None,
        std=_numbers(option("image_std")) if normalises else None,
        channels=len(_numbers(option("image_mean")) or ()) or None if normalises else None,
        rounding="floor",
        source=f"preprocessor_config.json of {name.removeprefix(HUB_PREFIX)}",
    )


def _sides(size: Any) -> dict[str, int]:
    """Return a size as transformers keeps it, with the entries that are set."""
    if isinstance(size, int):
        return {"height": size, "width": size}
    entries = dict(size) if isinstance(size, Mapping) else dict(vars(size) if hasattr(size, "__dict__") else {})
    return {key: int(value) for key, value in entries.items() if value is not None}


def _numbers(values: Any) -> tuple[float, ...] | None:
    if values is None:
        return None
    return tuple(map(float, values)) if isinstance(values, Sequence) else (float(values),)


def _left_words(name: str, what: str) -> str:
    return (
        f"{name}: its preprocessing cannot be taken over ({what}): "
        "say it with --image-size, --resize, --crop, --interpolation, --mean and --std"
    )
