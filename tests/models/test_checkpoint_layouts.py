"""Checkpoints as trainers and libraries lay them out: wherever the weights stand, they are found, and it is said."""

import argparse
import datetime
import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

from mixscope.base.errors import UserError
from mixscope.models.weights import load_weights


class Net(nn.Module):
    def __init__(self, num_classes: int = 3, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.blocks = nn.Sequential(*(nn.Linear(4, 4) for _ in range(blocks)))
        self.head = nn.Linear(4, num_classes)

    def forward(self, inputs):
        return self.head(self.blocks(self.norm(self.stem(inputs)).mean(dim=(2, 3))))


def make(seed: int, **options) -> Net:
    torch.manual_seed(seed)
    model = Net(**options)
    model.norm.running_mean.uniform_()
    return model


def same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


SOURCE = make(1)
STATE = SOURCE.state_dict()


def prefixed(prefix, state=STATE):
    return {prefix + name: value for name, value in state.items()}


def without(*ends):
    return {name: value for name, value in STATE.items() if not name.endswith(ends)}


OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
LAYOUTS = {
    "under net, as much CIFAR code": {"net": STATE, "acc": 93.1, "epoch": 199},
    "torch's ImageNet example": {
        "epoch": 9,
        "arch": "resnet18",
        "state_dict": prefixed("module."),
        "optimizer": OPTIMIZER,
    },
    "timm and DeiT": {"model": STATE, "args": argparse.Namespace(lr=0.1, out=Path("x")), "optimizer": OPTIMIZER},
    "numpy scalars": {"state_dict": STATE, "best": np.float64(0.9), "step": np.int64(3), "curve": np.arange(4.0)},
    "no num_batches_tracked": without("num_batches_tracked"),
    "Lightning": {
        "epoch": 2,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": {**prefixed("model."), "criterion.pos_weight": torch.ones(3)},
        "optimizer_states": [OPTIMIZER],
        "hyper_parameters": {"lr": 0.1, "when": datetime.datetime(2020, 1, 1)},
        "loops": {"fit_loop": {"state_dict": {}}},
    },
    "a backbone": prefixed("backbone."),
    "deep": {"a": {"b": {"c": prefixed("x.y.z.")}}},
    "two wrappers": prefixed("_orig_mod.module."),
    "a module a level": {"model": {"stem": {}, **STATE}},
    "split by part": {
        part: {n.partition(".")[2]: v for n, v in STATE.items() if n.startswith(f"{part}.")}
        for part in ("stem", "norm", "blocks", "head")
    },
    "thop's counters": STATE | {"total_ops": torch.zeros(1), "stem.total_params": torch.zeros(1, dtype=torch.float64)},
    "half": {name: value.half() if value.is_floating_point() else value for name, value in STATE.items()},
    "double": {name: value.double() if value.is_floating_point() else value for name, value in STATE.items()},
    "a loss as a tensor": {"state_dict": STATE, "loss": torch.tensor(0.3), "epoch": torch.tensor(4)},
    "other plain values": {"sd": STATE, "size": torch.Size([3]), "type": torch.float16, "days": datetime.timedelta(3)},
    "auxiliary heads": STATE | {"aux1.weight": torch.zeros(3, 3), "aux1.bias": torch.zeros(3)},
}


@pytest.mark.parametrize("name", ["best.pth", "model_best.pth.tar", "weights", "weights.safetensors.old"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_found_wherever_they_stand(tmp_path, layout, name):
    torch.save(LAYOUTS[layout], tmp_path / name)
    model = make(2)
    model.norm.num_batches_tracked += 0
    load_weights(model, tmp_path / name)
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if layout == "half" else {"rtol": 0, "atol": 0}
    for key, value in model.state_dict().items():
        assert torch.allclose(value, STATE[key], **tolerance), key


@pytest.mark.parametrize("new", [True, False])
def test_the_format_of_a_file_is_seen_in_its_content(tmp_path, new):
    for name in ("w.safetensors", "w.pt", "w"):
        model = make(2)
        torch.save({"net": STATE}, tmp_path / name, _use_new_zipfile_serialization=new)
        load_weights(model, tmp_path / name)
        assert same(model, SOURCE)
    save_file(prefixed("vit."), tmp_path / "w.pth")
    model = make(3)
    assert load_weights(model, tmp_path / "w.pth").taken_off == "vit."
    assert same(model, SOURCE)


@pytest.mark.parametrize("low", [0x80, 0x50])
def test_a_safetensors_header_may_be_as_long_as_another_formats_first_byte(tmp_path, low):
    header = json.dumps({"fc.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}).encode()
    header = header.ljust(0x100 + low)
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    load_weights(model := nn.Sequential(nn.Linear(1, 1, bias=False)), tmp_path / "w")
    assert model[0].weight.item() == 0


def saved(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    return tmp_path / "w.pth"


def test_what_was_taken_and_left_is_said(tmp_path):
    loaded = load_weights(make(2), saved(tmp_path, LAYOUTS["Lightning"]))
    assert (loaded.key, loaded.taken_off, loaded.left) == ("state_dict", "model.", ("criterion.pos_weight",))
    assert loaded.notes == (
        "weights under 'state_dict'",
        "'model.' taken off their names",
        "1 left that are not the model's (criterion.pos_weight)",
    )
    assert load_weights(make(2), saved(tmp_path, STATE)).notes == ()
    assert load_weights(make(2), saved(tmp_path, LAYOUTS["half"])).notes == ("converted from float16",)
    kept = load_weights(make(2), saved(tmp_path, LAYOUTS["no num_batches_tracked"]))
    assert kept.notes == ("1 not in the file and not needed (norm.num_batches_tracked)",)
    assert load_weights(make(2), saved(tmp_path, LAYOUTS["auxiliary heads"])).left == ("aux1.weight", "aux1.bias")


@pytest.mark.parametrize(
    ("raw", "averaged"),
    [
        ("state_dict", "state_dict_ema"),
        ("model", "model_ema"),
        ("model", "ema"),
        ("model_state_dict", "ema_state_dict"),
        ("net", "averaged_model"),
        ("current_model_state", "state_dict"),
    ],
)
def test_averaged_weights_are_taken_before_raw_ones_and_it_is_said_and_chosen(tmp_path, raw, averaged):
    other = make(5)
    path = saved(tmp_path, {raw: prefixed("module.", other.state_dict()), averaged: STATE})
    model = make(2)
    loaded = load_weights(model, path)
    assert same(model, SOURCE)
    assert loaded.key == averaged
    assert f"'{averaged}'" in loaded.notes[0]
    assert f"and not those under {raw}" in loaded.notes[0]
    chosen = load_weights(model, path, weights_key=raw)
    assert chosen.key == raw
    assert same(model, other)


def test_averaged_weights_within_one_state_dict_and_those_of_torch(tmp_path):
    state = {**prefixed("model.", make(5).state_dict()), **prefixed("ema_model.module.")}
    model = make(2)
    load_weights(model, saved(tmp_path, {"state_dict": state}))
    assert same(model, SOURCE)
    model = make(2)
    loaded = load_weights(model, saved(tmp_path, AveragedModel(SOURCE).state_dict()))
    assert same(model, SOURCE)
    assert (loaded.taken_off, loaded.left) == ("module.", ("n_averaged",))


def refused(path, model=None, **options):
    model = model or make(2)
    before = OrderedDict((name, value.clone()) for name, value in model.state_dict().items())
    with pytest.raises(UserError) as caught:
        load_weights(model, path, **options)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_two_sets_of_weights_are_told_apart_by_the_user(tmp_path):
    path = saved(tmp_path, {"generator": STATE, "discriminator": make(5).state_dict()})
    assert "got 'discriminator' and 'generator'; choose with --weights-key" in refused(path)
    load_weights(model := make(2), path, weights_key="generator")
    assert same(model, SOURCE)
    assert "weights-key must be one of the file's, got 'generatr' (did you mean generator?)" in refused(
        path, weights_key="generatr"
    )


def test_a_prefix_the_file_lacks_is_put_on(tmp_path):
    model = nn.ModuleDict({"backbone": make(2)})
    loaded = load_weights(model, saved(tmp_path, {"model": STATE}))
    assert loaded.put_on == "backbone."
    assert same(model["backbone"], SOURCE)


def test_weights_of_a_larger_network_are_refused(tmp_path):
    path = saved(tmp_path, {"model": prefixed("net.", make(1, blocks=3).state_dict())})
    assert "2 unknown to the model (blocks.2.weight, blocks.2.bias)" in refused(path)


def test_weights_for_other_classes_are_refused_in_one_line(tmp_path):
    path = saved(tmp_path, {"net": make(1, num_classes=10).state_dict()})
    assert "2 of another shape (head.weight: (10, 4) instead of (3, 4), head.bias: (10,) instead of (3,))" in refused(
        path
    )


def test_nan_among_nested_weights_leaves_the_model_as_it_was(tmp_path):
    state = {name: value.clone() for name, value in STATE.items()}
    state["head.bias"][1] = torch.nan
    assert "weights must be finite, got NaN or infinite values in head.bias" in refused(saved(tmp_path, {"m": state}))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight


def test_tied_weights_may_be_in_the_file_once(tmp_path):
    source, model = Tied(), Tied()
    state = source.state_dict()
    del state["second.weight"]
    load_weights(model, saved(tmp_path, state))
    assert same(model, source)
    assert model.second.weight is model.first.weight


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_torch_itself_translates_is_translated(tmp_path):
    source = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 3)), nn.BatchNorm1d(3))
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)), nn.BatchNorm1d(3))
    load_weights(model, saved(tmp_path, source.state_dict()))
    assert torch.allclose(model[0].weight, source[0].weight, atol=1e-6)


def test_weights_of_another_parametrization_are_told(tmp_path):
    source = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)))
    message = refused(saved(tmp_path, source.state_dict()), nn.Sequential(nn.Linear(3, 3)))
    assert "one of the two has weight norm, spectral norm or pruning" in message


class Counting(nn.Linear):
    def get_extra_state(self):
        return {"calls": torch.tensor(7)}

    def set_extra_state(self, state) -> None:
        self.calls = int(state["calls"])


def test_extra_state_is_handed_to_the_module(tmp_path):
    model = nn.Sequential(Counting(2, 2))
    load_weights(model, saved(tmp_path, {"net": nn.Sequential(Counting(2, 2)).state_dict()}))
    assert model[0].calls == 7


OTHER_FILES = {
    "a page": (b"\n<!DOCTYPE html><html>", "is a web page and not weights: the download went wrong"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "fetch them with git lfs pull"),
    "gzip": (b"\x1f\x8b\x08" + bytes(40), "is a gzip archive: unpack it first"),
    "tar": (bytes(257) + b"ustar\x0000" + bytes(300), "is a tar archive: unpack it first"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(40), "is an HDF5 file, as Keras writes"),
    "numpy": (b"\x93NUMPY\x01\x00" + bytes(40), "save tensors by name, as .safetensors"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_what_is_no_file_of_weights_is_known_by_its_content(tmp_path, kind):
    content, words = OTHER_FILES[kind]
    (tmp_path / "w.pth").write_bytes(content)
    assert words in refused(tmp_path / "w.pth")


def test_an_archive_of_something_else_is_told(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(2))
    assert "is a zip archive that torch did not write (it holds a.npy)" in refused(tmp_path / "w.npz")


class Trace:
    """Would write its argument down, if it were made."""

    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("inside", [Trace(), argparse.Namespace(x=Trace()), np.array([Trace()], dtype=object)])
def test_nothing_beside_the_tensors_is_executed(tmp_path, capsys, inside):
    message = refused(saved(tmp_path, {"net": STATE, "extra": inside}))
    assert "needs unpickling, which can run code (it asks for print); nothing was executed" in message
    assert "torch.save(model.state_dict(), 'weights.pt')" in message
    assert capsys.readouterr().out == ""


def test_tensors_that_only_claim_their_size_are_refused_without_making_them(tmp_path):
    state = dict(STATE) | {"head.weight": torch.zeros(1).expand(10**6, 10**6)}
    assert "1 of another shape" in refused(saved(tmp_path, state))
    state = dict(STATE) | {"head.weight": torch.zeros(3, 4).to_sparse()}
    assert "weights must be plain tensors, got head.weight, which is of layout torch.sparse_coo" in refused(
        saved(tmp_path, state)
    )


def test_whole_numbers_and_a_model_without_values_are_told(tmp_path):
    state = {name: value.int() for name, value in STATE.items()}
    assert "weights must be in floating point, got stem.weight in torch.int32" in refused(saved(tmp_path, state))
    with torch.device("meta"):
        model = Net()
    with pytest.raises(
        UserError, match=r"need a model with values to be replaced, got stem\.weight on the meta device"
    ):
        load_weights(model, saved(tmp_path, STATE))


def test_a_folder_in_one_part_or_several_is_read(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors")
    load_weights(model := make(2), tmp_path)
    assert same(model, SOURCE)
    (tmp_path / "model.safetensors").unlink()
    names = list(STATE)
    for part in (0, 1):
        save_file({name: STATE[name] for name in names[part::2]}, tmp_path / f"part{part}.safetensors")
    index = {"weight_map": {name: f"part{place % 2}.safetensors" for place, name in enumerate(names)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    load_weights(model := make(3), tmp_path)
    assert same(model, SOURCE)
    index["weight_map"]["head.bias"] = "../elsewhere.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "cannot be read as an index of parts (its parts must be files beside it)" in refused(tmp_path)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], "merge it into its model"),
        (["latest", "global_step10"], "run its own zero_to_fp32.py"),
        ([".metadata", "__0_0.distcp"], "join it first with python -m torch.distributed"),
        (["epoch=3.ckpt"], "got epoch=3.ckpt: name the file"),
        (["readme.txt"], "got readme.txt"),
    ],
)
def test_other_folders_are_told(tmp_path, names, words):
    for name in names:
        (tmp_path / name).write_text("")
    assert words in refused(tmp_path)
