import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mixscope.base.errors import UserError
from mixscope.models.networks import build_model
from mixscope.models.weights import load_weights


def make(seed: int, *, num_classes: int = 3) -> nn.Module:
    return build_model("convnet", num_classes=num_classes, image_shape=(1, 8, 8), seed=seed)


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def error_of(path, model: nn.Module) -> str:
    """Return the message, after checking that it names the file, is one line, and left the model as it was."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_weights(model, path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".PT"])
def test_a_plain_state_dict_is_loaded(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    source, target = make(1), make(2)
    torch.save(source.state_dict(), path)
    load_weights(target, path)
    assert same_weights(source, target)


def test_safetensors_are_loaded_from_a_path_given_as_text(tmp_path):
    source, target = make(1), make(2)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    load_weights(target, str(tmp_path / "weights.safetensors"))
    assert same_weights(source, target)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_weights_inside_a_training_checkpoint_are_found(tmp_path, key):
    path = tmp_path / "last.ckpt"
    source, target = make(1), make(2)
    torch.save({"epoch": 3, "model_name": "convnet", key: source.state_dict(), "optimizer": {"lr": 0.1}}, path)
    load_weights(target, path)
    assert same_weights(source, target)


def test_a_key_that_holds_no_dictionary_does_not_hide_the_weights(tmp_path):
    path = tmp_path / "last.ckpt"
    source, target = make(1), make(2)
    torch.save({"model": "convnet", "state_dict": source.state_dict()}, path)
    load_weights(target, path)
    assert same_weights(source, target)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.model."])
def test_the_prefix_of_a_wrapper_is_taken_off(tmp_path, prefix):
    path = tmp_path / "wrapped.pt"
    source, target = make(1), make(2)
    torch.save({prefix + name: value for name, value in source.state_dict().items()}, path)
    load_weights(target, path)
    assert same_weights(source, target)


def test_a_prefix_that_only_some_names_have_stays(tmp_path):
    path = tmp_path / "mixed.pt"
    state = make(1).state_dict()
    torch.save({("module." if name == "head.bias" else "") + name: value for name, value in state.items()}, path)
    message = error_of(path, make(2))
    assert "1 missing from the file (head.bias); 1 unknown to the model (module.head.bias)" in message


def test_a_prefix_that_the_model_has_itself_stays(tmp_path):
    path = tmp_path / "own.pt"
    source, target = (nn.ModuleDict({"model": nn.Linear(2, 2)}) for _ in range(2))
    torch.save(source.state_dict(), path)
    load_weights(target, path)
    assert same_weights(source, target)


def test_values_take_the_type_of_the_model(tmp_path):
    path = tmp_path / "half.pt"
    source, target = make(1), make(2)
    torch.save(source.half().state_dict(), path)
    load_weights(target, path)
    assert target.head.weight.dtype == torch.float32
    assert torch.equal(target.head.weight, source.head.weight.float())


class Malicious:
    """Runs a command of the attacker's choice when it is unpickled: here it makes a folder."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
def test_a_malicious_file_is_refused_and_not_executed(tmp_path, how):
    path, trace = tmp_path / "evil.pt", tmp_path / "executed"
    content = {"head.weight": Malicious(trace)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    message = error_of(path, make(1))
    assert message.startswith("needs unpickling, which can run code")
    assert "nothing was executed" in message
    assert not trace.exists()
    if how == "pickle":
        pickle.loads(path.read_bytes())  # The file is a real attack: an ordinary reader executes it.
        assert trace.exists()


def test_a_pickled_model_is_refused_and_what_it_asks_for_is_named(tmp_path):
    path = tmp_path / "whole.pt"
    torch.save(nn.Linear(2, 2), path)
    assert "(it asks for torch.nn.modules.linear.Linear); nothing was executed." in error_of(path, make(1))


@pytest.mark.parametrize("content", [b"hello world", b"PK\x03\x04 not a zip"], ids=["text", "cut short"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "damaged.pth"
    path.write_bytes(content)
    message = error_of(path, make(1))
    assert message.startswith(("cannot be read as a PyTorch file", "needs unpickling"))
    assert "nothing was executed" in message


def test_damaged_safetensors_are_refused(tmp_path):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(b"hello world")
    assert error_of(path, make(1)).startswith("cannot be read as safetensors (")


def test_a_missing_file_is_named(tmp_path):
    assert error_of(tmp_path / "gone.pt", make(1)) == "no such file of weights"
    (tmp_path / "folder.pt").mkdir()
    assert error_of(tmp_path / "folder.pt", make(1)) == (
        "must be a file of weights or a folder with model.safetensors, got an empty folder"
    )


def test_missing_and_unknown_weights_are_counted_and_three_named(tmp_path):
    path = tmp_path / "other.pt"
    state = make(1).state_dict()
    for name in ("head.bias", "head.weight"):
        del state[name]
    for index in range(5):
        state[f"extra{index}"] = torch.zeros(1)
    torch.save(state, path)
    assert error_of(path, make(2)) == (
        "weights do not fit the model: 2 missing from the file (head.weight, head.bias);"
        " 5 unknown to the model (extra0, extra1, extra2, ...)"
    )


def test_weights_of_another_shape_are_named_with_both_shapes(tmp_path):
    path = tmp_path / "ten.pt"
    torch.save(make(1, num_classes=10).state_dict(), path)
    assert error_of(path, make(2)) == (
        "weights do not fit the model: 2 of another shape"
        " (head.weight: (10, 256) instead of (3, 256), head.bias: (10,) instead of (3,))"
    )


def test_weights_under_two_keys_are_refused(tmp_path):
    path = tmp_path / "both.pt"
    torch.save({"model": make(1).state_dict(), "state_dict": make(2).state_dict()}, path)
    assert error_of(path, make(3)) == (
        "must hold weights that fit in one place, got 'model' and 'state_dict'; choose with --weights-key"
    )


def test_a_dictionary_of_other_things_is_refused(tmp_path):
    path = tmp_path / "log.pt"
    torch.save({"epoch": 1, "net": "convnet", "loss": 0.5, "step": 2}, path)
    message = error_of(path, make(2))
    assert message.endswith("got other values under epoch, net, loss, ...")


@pytest.mark.parametrize(("content", "kind"), [(torch.zeros(3), "Tensor"), ([1, 2], "list")])
def test_what_is_no_dictionary_is_refused(tmp_path, content: Tensor | list[int], kind: str):
    path = tmp_path / "alone.pt"
    torch.save(content, path)
    assert error_of(path, make(1)) == f"must hold a dictionary of tensors by name, got a {kind}"


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_first_weights_that_are_not_finite_are_named_and_none_is_loaded(tmp_path, value, suffix):
    path = tmp_path / f"w{suffix}"
    state = {name: each.clone() for name, each in make(1).state_dict().items()}
    trained = dict(make(1).named_parameters())
    broken = [name for name in state if name in trained][:4]
    for name in broken:
        state[name].view(-1)[-1] = value
    (torch.save if suffix == ".pt" else save_file)(state, path)
    listed = ", ".join([*broken[:3], "..."])
    assert error_of(path, make(2)) == f"weights must be finite, got NaN or infinite values in {listed}"


def test_weights_too_large_for_the_models_dtype_are_refused(tmp_path):
    state = make(1).state_dict()
    state["head.bias"] = torch.full((3,), 1e300, dtype=torch.float64)
    torch.save(state, tmp_path / "w.pt")
    message = error_of(tmp_path / "w.pt", make(2))
    assert message == "weights must be finite, got NaN or infinite values in head.bias"


def test_weights_of_8_bits_are_loaded(tmp_path):
    state, target = make(1).state_dict(), make(2)
    state["head.bias"] = torch.tensor([0.5, -1.0, 2.0]).to(torch.float8_e4m3fn)
    torch.save(state, tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert target.state_dict()["head.bias"].tolist() == [0.5, -1.0, 2.0]


def test_weights_that_are_not_finite_are_named(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2))
    state = model.state_dict()
    state["0.bias"] = torch.tensor([1.0, float("nan")])
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w.pt: weights must be finite, got NaN or infinite values in 0.bias$"):
        load_weights(model, tmp_path / "w.pt")
    assert model[0].bias.isfinite().all()


def test_infinities_in_a_buffer_are_kept(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2))
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    torch.save(model.state_dict(), tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")
    assert model.mask.tolist() == [0.0, -torch.inf]
