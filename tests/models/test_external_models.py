import sys

import pytest
import torch
from torch import nn

from mixscope.base.errors import UserError
from mixscope.models.external import build_from_file
from mixscope.models.networks import build_model, find_head, model_sites

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes, in_chans=1, depth=1):
        super().__init__()
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * in_chans, num_classes)

    def forward(self, inputs):
        return self.head(self.body(inputs))


def make(num_classes, *, image_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], num_classes))


def plain():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))


def with_all(num_classes, image_shape, in_chans, **options):
    assert not options
    model = nn.Linear(1, 1)
    model.seen = (num_classes, image_shape, in_chans)
    return model


def needs_more(num_classes, dropout, width):
    return nn.Linear(1, 1)


def by_position(num_classes, /):
    return nn.Linear(1, 1)


def broken():
    raise RuntimeError("no such\\nlayer")


def forgetful(num_classes):
    nn.Linear(1, 1)


def a_class():
    return Net


finished = nn.Linear(1, 1)
number = 3
"""


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def build(name: object, *, seed: int = 0) -> nn.Module:
    return build_model(str(name), num_classes=3, image_shape=(2, 8, 8), seed=seed)


def test_a_class_in_a_file_of_my_own_becomes_the_model(net):
    model = build(f"{net}:Net")
    assert model(torch.zeros(4, 2, 8, 8)).shape == (4, 3)  # Two channels: in_chans was passed, depth was not.
    assert find_head(model) == "head"
    assert model_sites(model, "head") == ("head:input", "head")


def test_a_function_gets_the_arguments_it_names_and_no_others(net):
    assert build(f"{net}:make")(torch.zeros(4, 2, 8, 8)).shape == (4, 3)
    assert isinstance(build(f"{net}:plain"), nn.Sequential)
    assert build(f"{net}:with_all").seen == (3, (2, 8, 8), 2)


def test_the_seed_decides_the_weights_of_my_own_model_too(net):
    before = torch.get_rng_state()
    first, again, other = (build(f"{net}:Net", seed=seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_a_file_imports_its_neighbours_also_while_the_factory_runs(tmp_path, monkeypatch):
    (tmp_path / "mixscope_test_neighbour.py").write_text("WIDTH = 7\n")
    (tmp_path / "mixscope_test_late_neighbour.py").write_text("CLASSES = 3\n")
    path = tmp_path / "wide.py"
    path.write_text(
        "from torch import nn\nfrom mixscope_test_neighbour import WIDTH\n\n"
        "def make():\n    from mixscope_test_late_neighbour import CLASSES\n    return nn.Linear(WIDTH, CLASSES)\n"
    )
    before = list(sys.path)
    model = build(f"{path}:make")
    assert (model.in_features, model.out_features) == (7, 3)
    assert sys.path == before
    for name in ("mixscope_test_neighbour", "mixscope_test_late_neighbour"):
        monkeypatch.delitem(sys.modules, name)


def test_sys_path_is_restored_after_an_error(net):
    before = list(sys.path)
    with pytest.raises(UserError):
        build(f"{net}:broken")
    assert sys.path == before


def test_a_dataclass_with_postponed_annotations_can_live_in_the_file(tmp_path):
    path = tmp_path / "sized.py"
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom torch import nn\n\n"
        "@dataclass\nclass Size:\n    width: int = 4\n\ndef make():\n    return nn.Linear(Size().width, 2)\n"
    )
    assert build(f"{path}:make").in_features == 4


def test_two_files_of_the_same_name_do_not_meet(tmp_path):
    for width in (4, 5):
        (tmp_path / str(width)).mkdir()
        (tmp_path / str(width) / "net.py").write_text(
            f"from torch import nn\ndef make(): return nn.Linear({width}, 2)\n"
        )
    assert [build(f"{tmp_path / str(width)}/net.py:make").in_features for width in (4, 5)] == [4, 5]


def test_a_drive_letter_stays_with_the_path():
    with pytest.raises(UserError, match=r"^C:\\nets\\net\.py: no such Python file$"):
        build(r"C:\nets\net.py:make")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.py: no such Python file$"):
        build(f"{tmp_path}/gone.py:make")


@pytest.mark.parametrize("ending", ["", ":"])
def test_a_file_without_a_factory_is_refused(net, ending):
    with pytest.raises(UserError, match=r"net\.py: name the function that makes the model as well: .*net\.py:FACTORY$"):
        build(f"{net}{ending}")


def test_a_file_that_is_not_python_is_refused(tmp_path):
    path = tmp_path / "net.txt"
    path.write_text(NET)
    with pytest.raises(UserError, match=r"net\.txt: must be a Python file ending in \.py"):
        build_from_file(f"{path}:Net", num_classes=3, image_shape=(1, 8, 8))


def test_a_missing_factory_is_answered_with_near_names(net):
    with pytest.raises(UserError, match=r"net\.py: has no function or class 'mak' \(did you mean make\?\)$"):
        build(f"{net}:mak")


def test_a_missing_factory_unlike_any_other_is_answered_with_all_names_defined_in_the_file(net):
    with pytest.raises(
        UserError, match=r"has no function or class 'zzz' \(it has Net, make, plain, with_all, .*a_class\)$"
    ):
        build(f"{net}:zzz")


def test_an_error_in_the_factory_is_carried_and_chained(net):
    with pytest.raises(UserError, match=r"net\.py: broken raised RuntimeError: no such layer$") as caught:
        build(f"{net}:broken")
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import mixscope_test_no_such_module\n",
            "ModuleNotFoundError: No module named 'mixscope_test_no_such_module'",
        ),
        ("def make(:\n", "SyntaxError: "),
        ("raise ValueError\n", "ValueError$"),
    ],
)
def test_an_error_while_loading_the_file_is_carried_and_chained(tmp_path, text, message):
    path = tmp_path / "bad.py"
    path.write_text(text)
    known = set(sys.modules)
    with pytest.raises(UserError, match=rf"bad\.py: could not be loaded: {message}") as caught:
        build(f"{path}:make")
    assert caught.value.__cause__ is not None
    assert not [name for name in set(sys.modules) - known if name.startswith("mixscope_user_file")]


def test_a_factory_that_needs_other_arguments_is_refused(net):
    message = r"needs_more may require only num_classes, .*, img_size, image_size, got dropout, width$"
    with pytest.raises(UserError, match=message):
        build(f"{net}:needs_more")


def test_a_factory_that_takes_an_argument_by_position_only_is_refused(net):
    with pytest.raises(UserError, match=r"by_position may require only .* got num_classes by position$"):
        build(f"{net}:by_position")


@pytest.mark.parametrize(("factory", "got"), [("forgetful", "a NoneType"), ("a_class", "the class Net")])
def test_a_factory_that_returns_no_module_is_refused(net, factory, got):
    with pytest.raises(UserError, match=got):
        build(f"{net}:{factory}")


@pytest.mark.parametrize(("name", "got"), [("finished", "a finished model"), ("number", "a int")])
def test_what_is_no_factory_is_refused(net, name, got):
    with pytest.raises(UserError, match=f"{name} must be a function or class that makes the model, got {got}$"):
        build(f"{net}:{name}")


def test_without_timm_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # Python's own way to say that a module cannot be had.
    with pytest.raises(
        UserError, match=r"^timm:resnet10t needs the timm library \(.*\): pip install 'mixscope\[timm\]'$"
    ):
        build("timm:resnet10t")


def test_a_timm_that_does_not_import_is_told_apart_from_a_missing_one(monkeypatch, tmp_path):
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    message = r"timm is installed but cannot be imported \(RuntimeError: operator torchvision::nms does not exist\)"
    with pytest.raises(UserError, match=message):
        build("timm:resnet10t")


@pytest.fixture
def timm():
    try:
        import timm
    except Exception as error:
        pytest.skip(f"timm cannot be imported: {error}")
    return timm


def test_a_timm_model_is_built_with_our_classes_and_channels(timm):
    model = build("timm:resnet10t")
    assert model(torch.zeros(2, 2, 32, 32)).shape == (2, 3)
    assert find_head(model) == "fc"
    assert model_sites(model, "fc") == ("fc:input", "fc")
    again = build("timm:resnet10t")
    assert torch.equal(model.fc.weight, again.fc.weight)


def test_an_unknown_timm_model_is_refused_with_near_names(timm):
    with pytest.raises(UserError, match=r"timm has no model 'resnet10tt' \(did you mean .*resnet10t"):
        build("timm:resnet10tt")
