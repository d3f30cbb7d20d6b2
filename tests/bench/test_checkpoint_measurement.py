"""Measurement of a checkpoint from elsewhere: any model, any folder, the numbers of an independent loop."""

import json

import numpy as np
import pytest
import torch
from helpers.command_line import run_command
from PIL import Image
from torch import nn
from torchmetrics.functional.classification import multiclass_calibration_error

from mixscope.records.store import read_run

NAMES = ("ant", "bee", "cat")
FACTORY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classify = nn.Linear(8, 3)

    def forward(self, images):
        return {"logits": self.classify(self.body(images)) * 1.0}

class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Sequential(nn.Conv2d(3, 3, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images):
        return self.body(images)
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of photos of many sizes, with train/ and valid/."""
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for part, count in (("train", 12), ("valid", 10)):
        for label, name in enumerate(NAMES):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                size = (int(generator.integers(20, 70)), int(generator.integers(20, 70)), 3)
                pixels = generator.integers(0, 120, size) + 60 * label * (generator.random() < 0.8)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / part / name / f"{index:02}.png")
    return folder


def files_of(folder, part, names=NAMES):
    return [(path, label) for label, name in enumerate(names) for path in sorted((folder / part / name).iterdir())]


def assert_equal_to_a_loop(values, logits, labels):
    probabilities = logits.double().softmax(dim=1)
    wanted = {
        "test/accuracy": float((logits.argmax(dim=1) == labels).double().mean()),
        "test/loss": float(nn.functional.cross_entropy(logits.double(), labels)),
        "test/ece": float(multiclass_calibration_error(probabilities, labels, num_classes=3, n_bins=15)),
    }
    assert {key: values[key] for key in wanted} == pytest.approx(wanted, abs=1e-6)


def measured(folder, *words):
    ended = run_command("measure", *words, "--out", folder)
    assert ended.code == 0, ended.errors
    return read_run(folder), " ".join((ended.output + ended.errors).split())


def groups_of(run):
    """Return the groups of the numbers, but for a temperature, which images that are guessed at do not have."""
    return {key.split("/")[0] for key in run.metrics[-1]} - {"scaling"}


def save_transformers(kind, folder, names=NAMES):
    import transformers

    torch.manual_seed(1)
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: k for k, name in enumerate(names)}}
    if kind == "vit":
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, **labels)
        processor = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}, do_resize=True)
    else:
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], **labels)
        processor = transformers.ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.875)
    model = transformers.AutoModelForImageClassification.from_config(config).eval()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_a_transformers_model_is_measured_as_its_own_processor_and_a_loop_measure_it(tmp_path, photos, kind):
    pytest.importorskip("transformers")
    model, processor = save_transformers(kind, tmp_path / "model")
    run, said = measured(tmp_path / "out", f"hf-model:{tmp_path / 'model'}", "--data", photos)
    files = files_of(photos, "valid")
    pixels = torch.cat([processor(Image.open(path), return_tensors="pt")["pixel_values"] for path, _ in files])
    with torch.no_grad():
        logits = model(pixels).logits
    assert_equal_to_a_loop(run.metrics[-1], logits, torch.tensor([label for _, label in files]))
    assert "preprocessor_config.json of" in said
    assert run.record["model"]["head"] == ("classifier" if kind == "vit" else "classifier.1")
    assert "nc/nc1_trace" in run.metrics[-1]


def test_labels_follow_the_names_of_a_networks_outputs(tmp_path, photos):
    pytest.importorskip("transformers")
    names = ("cat", "ant", "bee")
    model, processor = save_transformers("vit", tmp_path / "model", names)
    run, said = measured(tmp_path / "out", f"hf-model:{tmp_path / 'model'}", "--data", photos)
    files = files_of(photos, "valid", names)
    pixels = torch.cat([processor(Image.open(path), return_tensors="pt")["pixel_values"] for path, _ in files])
    with torch.no_grad():
        logits = model(pixels).logits
    assert_equal_to_a_loop(run.metrics[-1], logits, torch.tensor([label for _, label in files]))
    assert run.record["data"]["class_names"] == list(names)
    assert "in the order of the network's outputs" in said


def test_a_network_of_ones_own_needs_no_file_of_weights_and_its_head_is_found(tmp_path, photos):
    (tmp_path / "net.py").write_text(FACTORY)
    own, size = f"{tmp_path / 'net.py'}:Net", ("--image-size", "24", "--resize", "28", "--normalise", "imagenet")
    run, said = measured(tmp_path / "out", own, "--data", photos, *size)
    namespace = {}
    exec(FACTORY, namespace)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    files, inputs = files_of(photos, "valid"), []
    for path, _ in files:
        image = Image.open(path)
        short = min(image.size)
        image = image.resize(tuple(28 if s == short else int(28 * s / short) for s in image.size), 2)
        left, top = (round((side - 24) / 2) for side in image.size)
        pixels = torch.from_numpy(np.array(image.crop((left, top, left + 24, top + 24))))
        inputs.append((pixels.permute(2, 0, 1).float() / 255 - mean) / std)
    with torch.no_grad():
        logits = namespace["Net"]().eval()(torch.stack(inputs))["logits"]
    assert_equal_to_a_loop(run.metrics[-1], logits, torch.tensor([label for _, label in files]))
    assert run.record["model"]["head"] == "classify"
    assert "head 'classify'" in said
    assert "ImageNet's, as given" in said


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_network_of_a_library_is_measured_as_a_loop_measures_it(tmp_path, photos, library):
    try:
        pytest.importorskip(library)
    except (RuntimeError, OSError):  # one that is built for another torch
        pytest.skip(f"{library} does not import")
    made = {
        "timm": "timm.create_model('resnet10t', num_classes=3)",
        "torchvision": "torchvision.models.resnet18(num_classes=3)",
    }[library]
    code = f"import torch, {library}\ndef make():\n    torch.manual_seed(3)\n    return {made}\n"
    (tmp_path / "net.py").write_text(code)
    words = ("--image-size", "32", "--crop", "squash", "--normalise", "none")
    run, _ = measured(tmp_path / "out", f"{tmp_path / 'net.py'}:make", "--data", photos, *words)
    namespace = {}
    exec(code, namespace)
    files = files_of(photos, "valid")
    pixels = [torch.from_numpy(np.array(Image.open(path).resize((32, 32), 2))).permute(2, 0, 1) for path, _ in files]
    with torch.no_grad():
        logits = namespace["make"]().eval()(torch.stack(pixels).float() / 255)
    assert_equal_to_a_loop(run.metrics[-1], logits, torch.tensor([label for _, label in files]))


def test_what_nothing_says_is_said(tmp_path, photos):
    (tmp_path / "net.py").write_text(FACTORY)
    _, said = measured(tmp_path / "out", f"{tmp_path / 'net.py'}:Net", "--data", photos, "--image-size", "24")
    assert "the training images' own; nothing says what the network was trained with" in said


def test_test_images_alone_are_measured_without_collapse_and_channels_with_a_word_why(tmp_path, photos):
    (tmp_path / "net.py").write_text(FACTORY)
    own, words = f"{tmp_path / 'net.py'}:Net", ("--image-size", "24", "--normalise", "imagenet")
    whole, _ = measured(tmp_path / "whole", own, "--data", photos, *words)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "test").symlink_to(photos / "valid")
    run, said = measured(tmp_path / "out", own, "--data", tmp_path / "alone", *words)
    assert groups_of(run) == {"epoch", "test", "linearity"}
    assert {k: v for k, v in whole.metrics[-1].items() if k.startswith("test/")} == {
        k: v for k, v in run.metrics[-1].items() if k.startswith("test/")
    }
    assert "collapse and channels are left out" in said


def test_a_network_without_a_linear_head_is_measured_for_all_that_needs_none(tmp_path, photos):
    (tmp_path / "net.py").write_text(FACTORY)
    own = f"{tmp_path / 'net.py'}:Convolutional"
    run, said = measured(tmp_path / "out", own, "--data", photos, "--image-size", "24", "--sites", "body.0")
    assert groups_of(run) == {"epoch", "test", "linearity"}
    assert "no linear layer that gives its logits" in said


def test_a_network_without_head_and_sites_is_measured_for_its_predictions(tmp_path, photos):
    (tmp_path / "net.py").write_text(FACTORY)
    run, said = measured(
        tmp_path / "out", f"{tmp_path / 'net.py'}:Convolutional", "--data", photos, "--image-size", "24"
    )
    assert groups_of(run) == {"epoch", "test"}
    assert "no layer's linearity is measured, as nothing says which: name modules with --sites" in said
    assert "(no --weights given)" in said
    assert (tmp_path / "out" / "report.html").exists()


def test_two_checkpoints_of_one_factory_have_two_folders_where_none_is_given(tmp_path, photos, monkeypatch):
    (tmp_path / "net.py").write_text(FACTORY)
    namespace: dict = {}
    exec(FACTORY, namespace)
    monkeypatch.chdir(tmp_path)
    for name in ("early.pt", "late.pt"):
        torch.save(namespace["Net"]().state_dict(), name)
        ended = run_command("measure", "net.py:Net", "--weights", name, "--data", photos, "--image-size", "24")
        assert ended.code == 0, ended.errors
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["measure-Net-early", "measure-Net-late"]


def test_a_checkpoint_is_called_after_its_folder_where_its_name_says_nothing(tmp_path, photos):
    (tmp_path / "net.py").write_text(FACTORY)
    (tmp_path / "wide").mkdir()
    namespace: dict = {}
    exec(FACTORY, namespace)
    words = (f"{tmp_path / 'net.py'}:Net", "--data", photos, "--image-size", "24", "--weights")
    for name, called in (("checkpoint.pth.tar", "wide"), ("model_best.pth.tar", "model_best")):
        torch.save({"state_dict": namespace["Net"]().state_dict()}, tmp_path / "wide" / name)
        run, said = measured(tmp_path / called, *words, tmp_path / "wide" / name)
        assert run.record["method"] == called
        assert "(no --weights given)" not in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "image-size"),  # photos of many sizes
        (("--image-size", "24", "--normalise", "imagenet", "--mean", "0.5"), "normalise must stand without mean"),
        (("--image-size", "24", "--mean", "128", "--std", "50"), "mean must lie in [0, 1], as pixels do here, got 128"),
        (("--image-size", "24", "--mean", "0.5", "0.5"), "mean must have 1 or 3 values for 3 channels, got 2"),
        (("--image-size", "24", "--head", "body.0"), "must be an nn.Linear"),
        (("--image-size", "24", "--weights", "none.pt"), "no such file of weights"),
        (("--image-size", "24", "--weights-key", "ema"), "weights-key must go with weights"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, photos, words, message):
    (tmp_path / "net.py").write_text(FACTORY)
    ended = run_command("measure", f"{tmp_path / 'net.py'}:Net", "--data", photos, *words, "--out", tmp_path / "out")
    assert (ended.code, ended.output) == (2, "")
    assert message in ended.errors
    assert len(ended.errors.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_page_says_how_images_were_prepared_and_how_to_repeat_it(tmp_path, photos):
    (tmp_path / "net.py").write_text(FACTORY)
    words = ("--data", photos, "--image-size", "24", "--normalise", "none")
    run, _ = measured(tmp_path / "out", f"{tmp_path / 'net.py'}:Net", *words)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "shorter side to 24" in page
    assert "--normalise none" in page
    assert json.loads((tmp_path / "out" / "run.json").read_text())["notes"] == run.record["notes"]
