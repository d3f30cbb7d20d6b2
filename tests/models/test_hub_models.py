"""Models of transformers and timm: made, loaded and measured, with a tiny random one and no download."""

import re
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn
from torchmetrics.functional.classification import multiclass_calibration_error
from transformers import ResNetConfig, ViTConfig
from transformers.models.resnet import ResNetForImageClassification
from transformers.models.vit import ViTForImageClassification

from mixscope.base.errors import UserError
from mixscope.measuring import examine
from mixscope.models.hub_models import new_head_note, output_names
from mixscope.models.networks import build_model, find_head
from mixscope.models.weights import load_weights

NAMES = {0: "ant", 1: "bee", 2: "cat"}
SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
CONFIGS = {
    "vit": (ViTForImageClassification, ViTConfig(image_size=16, patch_size=8, id2label=NAMES, **SMALL)),
    "resnet": (
        ResNetForImageClassification,
        ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], id2label=NAMES),
    ),
}
IMAGES = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 3


@pytest.fixture(params=CONFIGS)
def saved(request, tmp_path):
    kind, config = CONFIGS[request.param]
    torch.manual_seed(0)
    model = kind(config).eval()
    model.save_pretrained(tmp_path)
    return model, tmp_path


def build(name, *, num_classes=3, shape=(3, 16, 16), own_weights=True, seed=0):
    return build_model(name, num_classes=num_classes, image_shape=shape, seed=seed, own_weights=own_weights)


def test_a_folder_of_save_pretrained_is_measured_as_it_is(saved):
    source, folder = saved
    model = build(f"hf-model:{folder}")
    head = find_head(model, inputs=IMAGES)
    values = examine(model, head=head, train=[(IMAGES, LABELS)], test=[(IMAGES, LABELS)]).values
    with torch.no_grad():
        logits = source(IMAGES).logits
    assert values["test/loss"] == pytest.approx(float(nn.functional.cross_entropy(logits.double(), LABELS)), abs=1e-6)
    assert values["test/accuracy"] == pytest.approx(float((logits.argmax(1) == LABELS).double().mean()))
    shares = {"num_classes": 3, "n_bins": 15, "norm": "l1"}
    ece = multiclass_calibration_error(logits.double().softmax(dim=1), LABELS, **shares)
    assert values["test/ece"] == pytest.approx(float(ece), abs=1e-6)
    assert output_names(source.config) == ("ant", "bee", "cat")
    assert new_head_note(f"hf-model:{folder}", num_classes=3) == ""


def test_another_number_of_classes_is_refused_where_it_is_measured_and_learnt_anew_where_it_is_trained(saved, capfd):
    source, folder = saved
    with pytest.raises(
        UserError, match=r"must have as many classes as the images, 10, got 3: measure it on images of its own classes$"
    ):
        build(f"hf-model:{folder}", num_classes=10)
    first, again = (build(f"hf-model:{folder}", num_classes=10, own_weights=False, seed=seed) for seed in (1, 1))
    assert first.eval()(IMAGES).logits.shape == (6, 10)
    ours, theirs = first.state_dict(), source.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs if not name.startswith("classifier"))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in ours.items())
    note = new_head_note(f"hf-model:{folder}", num_classes=10)
    assert note.endswith("its classifier for 3 classes is replaced by a new one for 10")
    assert capfd.readouterr() == ("", "")


def test_a_configuration_alone_gives_fresh_weights_and_its_folder_loads_as_weights(saved, tmp_path):
    source, folder = saved
    model = build(f"hf-model:{folder}", own_weights=False)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.5)
    load_weights(model, folder)
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.state_dict().items())
    bare = tmp_path / "bare"
    source.config.save_pretrained(bare)
    assert build(f"hf-model:{bare}", own_weights=False)(IMAGES).logits.shape == (6, 3)
    with pytest.raises(UserError, match="has no weights of its own: give them with --weights"):
        build(f"hf-model:{bare}")


def test_code_in_a_folder_is_never_run(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "own", "auto_map": {"AutoConfig": "evil.Config", '
        '"AutoModelForImageClassification": "evil.Model"}}'
    )
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UserError, match="could not be had: ") as caught:
        build(f"hf-model:{tmp_path}")
    assert not (tmp_path / "ran").exists()
    assert "\n" not in str(caught.value)
    assert "trust" not in str(caught.value)


@pytest.mark.parametrize("name", ["./gone", "/no/such/folder", "a/b/c"])
def test_what_is_no_folder_is_told(name):
    message = "must be a folder of save_pretrained or a name on the hub, got no such folder"
    with pytest.raises(UserError, match=f"^hf-model:{re.escape(name)} {message}$"):
        build(f"hf-model:{name}")


def test_no_name_is_told():
    with pytest.raises(UserError, match=r"^hf-model:NAME must name a folder of save_pretrained or a model on the hub"):
        build("hf-model:")


def test_a_name_that_the_hub_cannot_give_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"^hf-model:nobody/nothing could not be had: ") as caught:
        build("hf-model:nobody/nothing")
    assert "\n" not in str(caught.value)


def test_without_transformers_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"needs the transformers library .*: pip install 'mixscope\[transformers\]'$"):
        build("hf-model:some/model")


def test_mixscopes_own_networks_need_weights():
    with pytest.raises(UserError, match="convnet has no weights of its own: give them with --weights"):
        build("convnet")


@pytest.fixture
def made(monkeypatch):
    """A stand-in for timm that keeps what its models are made with."""
    calls, timm = [], types.ModuleType("timm")

    def create_model(name, *, num_classes, in_chans, pretrained=False, **more):
        if name == "resnet" and "img_size" in more:
            raise TypeError("ResNet.__init__() got an unexpected keyword argument 'img_size'")
        calls.append({"num_classes": num_classes, "in_chans": in_chans, "pretrained": pretrained, **more})
        return nn.Linear(2, num_classes)

    config = types.SimpleNamespace(num_classes=1000, input_size=(3, 224, 224))
    timm.create_model, timm.get_pretrained_cfg = create_model, lambda name: config
    timm.is_model, timm.list_models = lambda name: name in ("vit", "resnet"), lambda: ["vit", "resnet"]
    monkeypatch.setitem(sys.modules, "timm", timm)
    return calls


def test_timm_gets_the_size_of_images_where_it_is_not_the_usual_one_and_the_model_takes_it(made):
    build("timm:vit", shape=(3, 48, 48), own_weights=False)
    build("timm:vit", shape=(3, 224, 224), own_weights=False)
    build("timm:resnet", shape=(1, 48, 48), own_weights=False)
    build("timm:hf-hub:timm/vit", shape=(3, 224, 224), own_weights=False)
    plain = {"num_classes": 3, "in_chans": 3, "pretrained": False}
    assert made == [plain | {"img_size": (48, 48)}, plain, plain | {"in_chans": 1}, plain | {"pretrained": True}]


def test_timms_own_weights_are_for_its_own_classes(made):
    build("timm:vit", num_classes=1000, shape=(3, 224, 224))
    assert made[0]["pretrained"]
    with pytest.raises(UserError, match="must have as many classes as the images, 3, got 1000: give weights with"):
        build("timm:vit")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_factory_may_take_the_size_of_images_and_bring_weights_or_be_compiled(tmp_path):
    path = Path(tmp_path / "net.py")
    path.write_text(
        "import torch\nfrom torch import nn\n\n"
        "def sized(num_classes, img_size, image_size):\n    assert img_size == image_size == 16\n"
        "    return torch.compile(nn.Sequential(nn.Flatten(), nn.Linear(3 * img_size**2, num_classes)))\n\n"
        "def scripted():\n    return torch.jit.script(nn.Linear(2, 2))\n"
    )
    model = build(f"{path}:sized")
    assert find_head(model, inputs=IMAGES) in ("_orig_mod.1", "1")
    with pytest.raises(UserError, match="scripted must return the network itself, got a scripted one: no hook sees it"):
        build(f"{path}:scripted")
