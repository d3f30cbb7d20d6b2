"""Ranges of options: every option that is a number has one, whose ends work and beyond which nothing does."""

import math
from dataclasses import MISSING, fields
from typing import get_type_hints

import pytest
from helpers.command_line import run_command

from mixscope.base.errors import UserError
from mixscope.base.ranges import Range, _ranges, check_ranges
from mixscope.bench import options
from mixscope.cli.commands import Demo, Measure
from mixscope.cli.reproduce import Reproduce
from mixscope.theory_pages import theory_options
from mixscope.training.recipe import Recipe

KINDS = [
    *(options.DataOptions, options.AugmentationOptions, options.MixingOptions, options.ConsistencyOptions),
    *(options.MeasureOptions, options.TrainOptions, Recipe, Demo, Measure, Reproduce),
    *(theory_options.MixupFeaturesOptions, theory_options.LayerPeeledOptions),
    *(theory_options.RandomFeaturesOptions, theory_options.LabelNoiseOptions),
]
RANGED = [(kind, name, limits) for kind in KINDS for name, limits in _ranges(kind).items()]
IDS = [f"{kind.__name__}.{name}" for kind, name, _ in RANGED]


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_that_is_a_number_has_a_range(kind):
    hints = get_type_hints(kind)
    numbers = {item.name for item in fields(kind) if any(word in str(hints[item.name]) for word in ("int", "float"))}
    assert numbers - {"mixing_sites"} <= set(_ranges(kind)) | {"data", "training", "measuring", "options"}


@pytest.mark.parametrize(("kind", "name", "limits"), RANGED, ids=IDS)
def test_a_number_beyond_its_range_is_refused_in_one_line(kind, name, limits):
    default = next(item.default for item in fields(kind) if item.name == name)
    below, above = (math.nextafter(end, way) for end, way in ((limits.low, -math.inf), (limits.high, math.inf)))
    for value in (math.nan, math.inf, -math.inf, below, above, 10**400, -(10**400), 1e308, *limits.excludes):
        holder = object.__new__(kind)
        for item in fields(kind):
            object.__setattr__(holder, item.name, None if item.default is MISSING else item.default)
        object.__setattr__(holder, name, (value,) if isinstance(default, tuple) else value)
        with pytest.raises(UserError) as raised:
            check_ranges(holder)
        assert str(raised.value).startswith(f"{name.replace('_', '-')} must lie between ")
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("kind", "name", "limits"), RANGED, ids=IDS)
def test_the_default_lies_in_the_range(kind, name, limits):
    default = next(item.default for item in fields(kind) if item.name == name)
    for value in default if isinstance(default, tuple) else (default,):
        assert value is None or value in limits


def test_a_range_says_what_it_leaves_out():
    assert str(Range(0, 1, excludes=(0, 1))) == "between 0 and 1 (0 and 1 excluded)"
    assert str(Range(1, 10**9)) == "between 1 and 1000000000"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--linearity-alpha", "1e-308"], "linearity-alpha must lie between 0.001 and 10000, got 1e-308"),
        (["--threads", "9" * 20], f"threads must lie between 1 and 1024, got {'9' * 20}"),
        (["--label", "x" * 300], "label must be 1 to 100 characters, got 300"),
        (["--label", " "], "label must be 1 to 100 characters, got 0"),
        (["--label", "a\nb"], "label must be one line of characters that can be shown, got 'a\\nb'"),
        (["--model", "mlp-99999999x1"], "model must have at most 1,000 layers and 1,000,000,000 weights"),
        (["--model", "mlp-1x99999999"], "model must have at most 1,000 layers"),
        (["--model", "wide-resnet-28-99999"], "model must have at most 1,000 layers"),
        (["--model", "wide-resnet-99999994-1"], "model must have at most 1,000 layers"),
        (["--model", f"mlp-{'9' * 5000}x1"], "model must be one of"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    ended = run_command("train", *words)
    assert ended.code == 2
    assert ended.errors.startswith(f"mixscope: error: {message}")
    assert ended.errors.count("\n") == 1
    assert not list(tmp_path.iterdir())
