"""Preprocessing of pretrained networks: what is read off their descriptions gives the pixels their libraries give."""

import json
import sys
import types

import numpy as np
import pytest
from PIL import Image
from transformers import AutoImageProcessor, ResNetConfig, ViTConfig

from mixscope.base.errors import UserError
from mixscope.models.preprocessing import Preprocessing, preprocessing_of

FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def naive_pixels(image: Image.Image, how: Preprocessing) -> np.ndarray:
    """Do to a photo what the values say, step by step, with PIL."""
    filter_, (width, height) = FILTERS[how.interpolation], image.size
    if how.resize is not None:
        short, long = how.resize, int(how.resize * max(width, height) / min(width, height))
        image = image.resize((short, long) if width <= height else (long, short), filter_)
    elif how.crop == "squash" and how.image_size is not None:
        image = image.resize(how.image_size[::-1], filter_)
    if how.crop == "center" and how.image_size is not None:
        margins = [(side - wanted) / 2 for side, wanted in zip(image.size, how.image_size[::-1], strict=True)]
        left, top = (int(m // 1) if how.rounding == "floor" else round(m) for m in margins)
        image = image.crop((left, top, left + how.image_size[1], top + how.image_size[0]))
    pixels = np.asarray(image, dtype=np.float64).transpose(2, 0, 1) / 255
    if how.mean is None:
        return pixels
    return (pixels - np.array(how.mean)[:, None, None]) / np.array(how.std)[:, None, None]


PROCESSORS = {
    "ViT": {"image_processor_type": "ViTImageProcessor", "size": {"height": 24, "width": 24}},
    "ViT, old size": {"feature_extractor_type": "ViTFeatureExtractor", "size": 24, "image_mean": [0.4, 0.5, 0.6]},
    "DeiT": {
        "image_processor_type": "DeiTImageProcessor",
        "size": {"height": 32, "width": 32},
        "crop_size": {"height": 32, "width": 32},
    },
    "BEiT": {
        "image_processor_type": "BeitImageProcessor",
        "size": {"height": 24, "width": 24},
        "do_center_crop": False,
    },
    "ConvNeXT, cropped": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 25},
        "crop_pct": 0.875,
    },
    "ConvNeXT, warped": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}},
    "CLIP": {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 26},
        "crop_size": {"height": 23, "width": 21},
    },
    "BiT": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 30},
        "crop_size": {"height": 24, "width": 24},
        "resample": 2,
    },
    "SigLIP": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 20, "width": 28}},
    "no mean": {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 24, "width": 24},
        "do_normalize": False,
    },
}


@pytest.fixture
def folder(tmp_path):
    def write(processor, config=None):
        (config or ViTConfig(image_size=24, patch_size=8)).save_pretrained(tmp_path)
        if processor is not None:
            (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
        return f"hf-model:{tmp_path}"

    return write


@pytest.mark.parametrize("processor", PROCESSORS)
def test_pixels_are_those_of_the_librarys_own_processor(folder, tmp_path, processor):
    how = preprocessing_of(folder(PROCESSORS[processor]))
    theirs = AutoImageProcessor.from_pretrained(tmp_path)
    generator = np.random.default_rng(0)
    for height, width in ((37, 53), (64, 41), (31, 31)):
        image = Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        wanted = np.asarray(theirs(image, return_tensors="np")["pixel_values"])[0]
        assert wanted.shape[1:] == how.image_size
        assert np.abs(naive_pixels(image, how) - wanted).max() < 1e-6
    assert how.source == f"preprocessor_config.json of {tmp_path}"


def test_a_model_without_a_processor_is_not_guessed_at(folder):
    assert preprocessing_of(folder(None, ResNetConfig())) is None
    assert preprocessing_of("resnet18") is None
    assert preprocessing_of("own.py:Net") is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rescale_factor": 1 / 127.5}, "rescale_factor 0.00784"),
        ({"do_rescale": False}, "do_rescale off"),
        (
            {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 24}, "do_center_crop": False},
            "size",
        ),
        ({"resample": 9}, "resample 9"),
    ],
)
def test_what_cannot_be_taken_over_is_one_line(folder, changes, words):
    with pytest.raises(UserError, match=f"its preprocessing cannot be taken over .*{words}.*--mean and --std$"):
        preprocessing_of(folder(PROCESSORS["ViT"] | changes))


def test_a_missing_folder_and_a_broken_file_are_one_line(tmp_path, folder):
    with pytest.raises(
        UserError, match=r"must be a folder of save_pretrained or a name on the hub, got no such folder$"
    ):
        preprocessing_of("hf-model:./nowhere")
    name = folder(None)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(UserError, match="its image processor could not be had: ") as caught:
        preprocessing_of(name)
    assert "\n" not in str(caught.value)


@pytest.fixture
def stand_in_timm(monkeypatch):
    """A module with the few functions of timm that are called, and what they return in timm 1.0."""
    timm = types.ModuleType("timm")
    configs = {
        "resnet10t": {
            "input_size": (3, 176, 176),
            "test_input_size": (3, 224, 224),
            "crop_pct": 0.875,
            "crop_mode": "center",
        },
        "vit": {"input_size": (3, 224, 224), "crop_pct": 0.9, "crop_mode": "center"},
        "squashed": {"input_size": (3, 384, 384), "crop_pct": 1.0, "crop_mode": "squash"},
    }

    class Config:
        def __init__(self, name) -> None:
            self.name = name

        def to_dict(self):
            return configs[self.name]

    def resolve(*, pretrained_cfg, use_test_size):
        shared = {"interpolation": "bicubic", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
        size = pretrained_cfg.get("test_input_size") if use_test_size else None
        return {**pretrained_cfg, **shared, "input_size": size or pretrained_cfg["input_size"]}

    timm.get_pretrained_cfg = lambda name: Config(name) if name in configs else None
    timm.data = types.SimpleNamespace(resolve_data_config=resolve)
    monkeypatch.setitem(sys.modules, "timm", timm)


def test_timms_evaluation_is_taken_over(stand_in_timm):
    how = preprocessing_of("timm:resnet10t")
    assert (how.image_size, how.resize, how.crop, how.interpolation) == ((224, 224), 256, "center", "bicubic")
    assert (how.mean, how.rounding, how.channels) == ((0.485, 0.456, 0.406), "nearest", 3)
    assert how.source == "timm's data config of resnet10t"
    assert preprocessing_of("timm:vit").resize == 248
    assert (preprocessing_of("timm:squashed").crop, preprocessing_of("timm:squashed").resize) == ("squash", None)
    assert preprocessing_of("timm:unknown") is None
