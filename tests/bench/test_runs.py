"""Runs end to end through the command line: records, repetition, resumption, measuring, and every kind of mistake."""

import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from mixscope.records.store import read_run
from mixscope.training.checkpoint import save_state

ANYWHERE = [
    *("--epochs", "4", "--test-size", "1500", "--batch-size", "50", "--learning-rate", "0.05"),
    *("--num-pairs", "60", "--linearity-pairs", "20", "--plane-images", "40"),
]
QUICK = [*ANYWHERE, "--device", "cpu"]


def mixscope(*arguments, cwd, expect=0, environment=None):
    """Run the command line as a user does."""
    command = [sys.executable, "-m", "mixscope", *map(str, arguments)]
    variables = {**os.environ, "COLUMNS": "200", "MIXSCOPE_CACHE": str(cwd / "cache"), **(environment or {})}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=variables)
    assert done.returncode == expect, done.stderr[-3000:]
    return done


def same_numbers(first, second):
    """Compare two runs' metrics, all but the clock."""
    lines = [
        [{k: v for k, v in line.items() if k != "wall_seconds"} for line in run.metrics] for run in (first, second)
    ]
    assert lines[0] == lines[1]


def same_weights(first, second):
    tensors = [load_file(run.folder / "checkpoints" / "weights.safetensors") for run in (first, second)]
    assert tensors[0].keys() == tensors[1].keys()
    for name, tensor in tensors[0].items():
        assert torch.equal(tensor, tensors[1][name]), name


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of `mixscope train` and what it printed."""
    folder = tmp_path_factory.mktemp("work")
    done = mixscope("train", *QUICK, "--mixing-off", "3", "--measure-every", "2", "--out", "runs/one", cwd=folder)
    return folder, done


def test_a_run_folder_holds_description_metrics_pictures_checkpoints_and_a_page(trained):
    folder, done = trained
    run = read_run(folder / "runs/one")
    assert run.record["status"] == "finished"
    assert run.method == "mixup, off after 3"
    assert run.record["description"]["training"]["epochs"] == 4
    assert run.record["data"]["num_train"] == 297
    assert run.record["environment"]["torch"] == torch.__version__
    assert [line["epoch"] for line in run.metrics] == [0, 2, 4]
    assert [line.get("mixing_on") for line in run.metrics] == [None, True, False]
    assert sorted(path.name for path in (run.folder / "checkpoints").iterdir()) == ["last.pt", "weights.safetensors"]
    assert {"reliability", "plane", "linearity", "pairs"} <= run.pictures.keys()
    assert (run.folder / "report.html").stat().st_size > 10**6
    assert "Test error" in done.stdout
    assert "report.html" in done.stdout
    assert "\x1b[" not in done.stdout  # quiet where output is no terminal
    assert done.stderr == ""


def test_training_accuracy_is_reported_twice_under_two_names(trained):
    last = read_run(trained[0] / "runs/one").metrics[1]
    assert 0 <= last["train/accuracy_blends"] < last["train/accuracy_clean"] <= 1


def test_a_run_is_repeated_exactly_from_its_folder(trained):
    folder, _ = trained
    mixscope("train", "--from", "runs/one", cwd=folder)
    first, second = read_run(folder / "runs/one"), read_run(folder / "runs/one-repeat")
    same_numbers(first, second)
    same_weights(first, second)
    assert first.record["description"] == second.record["description"]
    assert first.pictures == second.pictures


def test_options_beside_from_replace_the_runs_own(trained):
    folder, _ = trained
    mixscope("train", "--from", "runs/one", "--seed", "5", "--out", "runs/seed5", cwd=folder)
    changed, original = (read_run(folder / "runs" / name).record["description"] for name in ("seed5", "one"))
    assert changed == original | {"seed": 5}


INTERRUPTING_MODEL = """
from pathlib import Path

import torch
from torch import nn

class Interrupting(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU()), nn.Linear(32, num_classes)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, images):
        if self.training:
            self.step += 1
            once = Path(__file__).with_name("interrupted")
            if self.step == 75 and not once.exists():
                once.touch()
                raise KeyboardInterrupt  # Ctrl-C in epoch 13, step 3
        return self.head(self.body(images))
"""


def test_an_interrupted_run_resumes_to_bit_identical_weights(tmp_path):
    (tmp_path / "m.py").write_text(INTERRUPTING_MODEL)
    options = ["train", *QUICK, "--model", "m.py:Interrupting", "--head", "head", "--epochs", "20"]
    options += ["--measure-every", "5"]
    (tmp_path / "interrupted").touch()
    mixscope(*options, "--out", "unbroken", cwd=tmp_path)
    (tmp_path / "interrupted").unlink()
    stderr = mixscope(*options, "--out", "broken", cwd=tmp_path, expect=130).stderr
    assert stderr.strip() == "mixscope: interrupted; go on with: mixscope train --resume broken"
    assert read_run(tmp_path / "broken").record["status"] == "interrupted"
    assert [line["epoch"] for line in read_run(tmp_path / "broken").metrics] == [0, 5, 10]
    state = torch.load(tmp_path / "broken" / "checkpoints" / "last.pt", weights_only=True)["training"]
    assert state["epoch"] < 13
    mixscope("train", "--resume", "broken", cwd=tmp_path)
    unbroken, broken = read_run(tmp_path / "unbroken"), read_run(tmp_path / "broken")
    assert broken.record["status"] == "finished"
    assert len(broken.record["resumed"]) == 1
    same_numbers(unbroken, broken)
    same_weights(unbroken, broken)


FAILING_MODEL = """
import torch
from torch import nn

class Failing(nn.Module):
    def __init__(self, num_classes, fails_at):
        super().__init__()
        self.head, self.fails_at = nn.Linear(64, num_classes), fails_at
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, images):
        logits = self.head(images.flatten(1))
        if self.training:
            self.step += 1
        return logits * torch.where(self.step >= self.fails_at, torch.inf, 1.0) if self.training else logits

def fails_at_15(num_classes):
    return Failing(num_classes, 15)

def fails_at_3(num_classes):
    return Failing(num_classes, 3)
"""


@pytest.mark.parametrize("loss", ["cross-entropy", "squared-error"])
def test_a_diverging_run_stops_with_a_message_and_keeps_its_checkpoint(tmp_path, loss):
    (tmp_path / "m.py").write_text(FAILING_MODEL)
    bad = ["--model", "m.py:fails_at_15", "--head", "head", "--loss", loss, "--schedule", "constant"]
    done = mixscope("train", *QUICK, *bad, "--measure-every", "1", "--out", "bad", cwd=tmp_path, expect=1)
    (line,) = done.stderr.strip().splitlines()
    assert "stopped being finite in epoch 3, step 3 of 6, at learning rate 0.05;" in line
    assert line.endswith("the last good checkpoint is bad/checkpoints/last.pt")
    run = read_run(tmp_path / "bad")
    assert run.record["status"] == "failed"
    assert [row["epoch"] for row in run.metrics] == [0, 1, 2]
    state = torch.load(tmp_path / "bad" / "checkpoints" / "last.pt", weights_only=True)["training"]
    assert state["epoch"] in (0, 1, 2)  # how often a checkpoint is kept goes by the clock
    assert int(state["model"]["step"]) == 6 * state["epoch"]
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())


def test_a_run_that_fails_in_its_first_epoch_keeps_the_network_as_it_began(tmp_path):
    (tmp_path / "m.py").write_text(FAILING_MODEL)
    bad = ["--model", "m.py:fails_at_3", "--head", "head", "--out", "bad"]
    done = mixscope("train", *QUICK, *bad, cwd=tmp_path, expect=1)
    (line,) = done.stderr.strip().splitlines()
    assert "stopped being finite in epoch 1, step 3 of 6" in line
    state = torch.load(tmp_path / "bad" / "checkpoints" / "last.pt", weights_only=True)["training"]
    assert (state["epoch"], int(state["model"]["step"])) == (0, 0)


def test_the_demonstration_writes_one_page_over_its_runs_and_can_be_run_again(tmp_path):
    for _ in range(2):
        done = mixscope("demo", "--out", "demo", "--seeds", "1", "--epochs", "4", cwd=tmp_path)
        assert f"page: {tmp_path / 'demo' / 'report.html'}" in done.stdout
    names = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert names == ["erm-seed0", "mixup-auto-seed0", "mixup-seed0", "report.html"]


def test_reports_compare_runs_given_one_by_one_or_by_their_folder(trained):
    folder, _ = trained
    mixscope("report", "runs/one", "--out", "single", "--title", "A <b>title</b>", cwd=folder)
    page = (folder / "single/report.html").read_text()
    assert "A &lt;b&gt;title&lt;/b&gt;" in page
    mixscope("report", "runs", cwd=folder)
    assert (folder / "report.html").exists()


OWN_MODEL = """
from torch import nn

def own(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, num_classes))
"""


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_checkpoint_trained_elsewhere_is_measured(tmp_path, suffix):
    (tmp_path / "model.py").write_text(OWN_MODEL)
    scope = {}
    exec(OWN_MODEL, scope)
    net = scope["own"](10)
    weights = tmp_path / f"w.{suffix}"
    if suffix == "pt":
        torch.save(net.state_dict(), weights)
    else:
        from safetensors.torch import save_file

        save_file(net.state_dict(), weights)
    arguments = ["--weights", weights, "--data", "digits", "--head", "3", "--sites", "1,2,3", "--out", "m"]
    done = mixscope("measure", "model.py:own", *arguments, cwd=tmp_path)
    run = read_run(tmp_path / "m")
    assert [layer["site"] for layer in run.pictures["linearity"]] == ["1", "2", "3"]
    assert run.record["description"]["model"] == f"{tmp_path / 'model.py'}:own"
    assert run.pictures["linearity"][0]["relative_defect"] < 1e-5  # the first layer is affine
    assert "NC1: within-class variability" in done.stdout
    assert (tmp_path / "m" / "report.html").exists()
    mixscope("measure", "model.py:own", *arguments, cwd=tmp_path)  # replaces its own earlier measurement


def test_measuring_executes_nothing_in_the_weights_file(tmp_path):
    (tmp_path / "model.py").write_text(OWN_MODEL)

    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trap"),)

    torch.save({"0.weight": Malicious()}, tmp_path / "w.pt")
    done = mixscope("measure", "model.py:own", "--weights", "w.pt", "--head", "3", cwd=tmp_path, expect=2)
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "trap").exists()
    assert not (tmp_path / "runs").exists()


def test_the_list_of_sets_says_where_they_are(tmp_path):
    done = mixscope("data", cwd=tmp_path, environment={"MIXSCOPE_DATA": str(tmp_path)})
    for name in ("digits", "mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100", "svhn"):
        assert name in done.stdout
    assert "missing" in done.stdout


MISTAKES = [
    (["train", "--data", "nowhere/at/all"], "nowhere/at/all"),
    (["train", "--data", "mnits"], "did you mean mnist"),
    (["train", "--model", "convnt"], "did you mean convnet"),
    (["train", "--epochs", "0"], "epochs must lie between 1 and 1000000, got 0"),
    (["train", "--sites", "layer9"], "sites must name modules of the model, got 'layer9'"),
    (["train", "--sites", "input"], "sites must name modules of the model, got 'input'"),
    (["train", "--mixing", "manifold-mixup", "--mixing-sites", "layer9"], "sites must name modules of the model"),
    (["train", "--mixing", "manifold-mixup", "--compile"], "compile must be off with manifold-mixup"),
    (["train", "--mixing", "none", "--alpha", "1"], "alpha must go with mixing"),
    (["train", "--head", "layer1"], "layer1"),
    (["train", "--subset", "100000"], "100000"),
    (["train", "--device", "cuda"], "device cuda must be available"),
    (["train", "--from", "nowhere"], "nowhere must be a run folder"),
    (["train", "--resume", "nowhere"], "nowhere must be a run folder"),
    (["measure", "nowhere.py:net", "--weights", "w.pt"], "nowhere.py"),
    (["report", "nowhere"], "nowhere must be a run folder"),
    (["data", "--fetch", "mnits"], "did you mean mnist"),
    (["demo", "--seeds", "0"], "seeds must lie between 1 and 1000, got 0"),
    (["train", "--out", "/proc/nowhere/run", "--epochs", "1"], "/proc/nowhere"),
    (["train", "--out", "/dev/null/run"], "/dev/null/run must be a folder, but /dev/null is"),
    (["report", "nowhere", "--out", "/dev/null"], "/dev/null must be a folder"),
    (["measure", "mlp", "--weights", "w.pt", "--out", "/dev/null/m"], "/dev/null/m must be a folder"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(arguments) for arguments, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2_and_leaves_nothing(tmp_path, arguments, message, monkeypatch, capsys):
    from mixscope.__main__ import main

    if torch.cuda.is_available() and "cuda" in arguments:
        pytest.skip("this machine has a GPU")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIXSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["mixscope", *arguments])
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as stopped:
            main()
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("mixscope: error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["train", "--epochs", "many"], ["trian"], ["train", "--mixing", "mixpu"], []])
def test_what_the_command_line_does_not_know_exits_with_2(tmp_path, arguments):
    done = mixscope(*arguments, cwd=tmp_path, expect=2)
    assert "Traceback" not in done.stderr


def test_resuming_takes_no_other_options_and_out_must_be_free(trained):
    folder, _ = trained
    done = mixscope("train", "--resume", "runs/one", "--seed", "9", cwd=folder, expect=2)
    assert "resume must stand without other options" in done.stderr
    done = mixscope("train", *QUICK, "--out", "runs/one", cwd=folder, expect=2)
    assert "runs/one must not hold a run yet" in done.stderr


def test_repeating_on_changed_images_is_refused(tmp_path):
    import numpy as np

    def write(value):
        images = np.full((40, 8, 8), value, dtype=np.uint8)
        labels = np.arange(40) % 4
        np.savez(tmp_path / "d.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)

    write(3)
    quick = ["--epochs", "1", "--num-pairs", "20", "--linearity-pairs", "10", "--plane-images", "10"]
    mixscope("train", "--data", "d.npz", *quick, "--out", "first", cwd=tmp_path)
    write(4)
    done = mixscope("train", "--from", "first", cwd=tmp_path, expect=2)
    assert "the images must be unchanged to repeat or resume first" in done.stderr
    assert not (tmp_path / "first-repeat").exists()


def test_a_tracker_gets_the_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    mixscope("train", *QUICK, "--epochs", "1", "--out", "run", "--tracker", "tensorboard", cwd=tmp_path)
    events = list((tmp_path / "run" / "tracker").rglob("events.out.tfevents.*"))
    assert events
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(events[0].parent))
    accumulator.Reload()
    logged = {event.step: event.value for event in accumulator.Scalars("test/error")}
    measured = {line["epoch"]: line["test/error"] for line in read_run(tmp_path / "run").metrics}
    assert logged == pytest.approx(measured)


def test_help_is_quick_and_names_every_command(tmp_path):
    done = mixscope("--help", cwd=tmp_path)
    for command in ("demo", "train", "measure", "report", "data"):
        assert command in done.stdout


def test_two_processes_write_the_numbers_one_process_writes(tmp_path):
    mixscope("train", *ANYWHERE, "--out", "one", cwd=tmp_path)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "mixscope", "train"]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "MIXSCOPE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, *command, *ANYWHERE, "--tracker", "tensorboard", "--out", "two"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        env=variables,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("page: ") == 1  # only one of the processes speaks
    one, two = read_run(tmp_path / "one"), read_run(tmp_path / "two")
    assert list((tmp_path / "two" / "tracker").rglob("events.out.tfevents.*"))
    assert two.record["environment"]["num_processes"] == 2
    for first, second in zip(one.metrics, two.metrics, strict=True):
        for key in ("train/loss", "train/accuracy_blends", "test/error", "test/loss", "nc/nc1_pinv", "test/ece"):
            assert second.get(key) == pytest.approx(first.get(key), abs=1e-5), key


def write_images(path, *, num_classes=4, count=40, size=8):
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, (count, size, size), dtype=np.uint8)
    labels = np.arange(count) % num_classes
    np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels)


LOOK = ["--num-pairs", "20", "--linearity-pairs", "10", "--plane-images", "10", "--device", "cpu"]


def test_two_classes_have_a_page_without_the_plane_of_three(tmp_path):
    write_images(tmp_path / "two.npz", num_classes=2)
    mixscope("train", "--data", "two.npz", "--epochs", "1", *LOOK, "--out", "two", cwd=tmp_path)
    run = read_run(tmp_path / "two")
    assert "plane" not in run.pictures
    assert 0 <= run.metrics[-1]["test/error"] <= 1
    assert run.record["description"]["data"]["data"] == str(tmp_path / "two.npz")


def test_a_last_batch_of_one_trains_a_network_with_batch_norm(tmp_path):
    write_images(tmp_path / "odd.npz", count=41)
    arguments = ["--data", "odd.npz", "--model", "convnet", "--batch-size", "20", "--epochs", "1", *LOOK]
    mixscope("train", *arguments, "--out", "odd", cwd=tmp_path)
    assert read_run(tmp_path / "odd").metrics[-1]["step"] == 2


def test_precision_augmentation_and_compiling_reach_the_training(tmp_path):
    write_images(tmp_path / "d.npz")
    losses = {}
    for name, options in {
        "plain": [],
        "bf16": ["--precision", "bf16"],
        "crop": ["--crop-padding", "2"],
        "flip": ["--flip"],
        "smooth": ["--label-smoothing", "0.1"],
        "threads": ["--threads", "1"],
    }.items():
        mixscope("train", "--data", "d.npz", "--epochs", "1", *LOOK, *options, "--out", name, cwd=tmp_path)
        losses[name] = read_run(tmp_path / name).metrics[-1]["train/loss"]
    assert len({round(loss, 9) for loss in losses.values()}) == 5
    assert losses["threads"] == pytest.approx(losses["plain"], rel=1e-6)


ODD_MODELS = """
import torch
from torch import nn

def zero_head(num_classes):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, num_classes))
    nn.init.zeros_(net[3].weight)
    return net

def seven():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))

def too_big():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4))
"""


def test_a_network_without_sites_is_mixed_at_hidden_layers_that_are_named(tmp_path):
    write_images(tmp_path / "d.npz")
    (tmp_path / "m.py").write_text(ODD_MODELS)
    arguments = ["--data", "d.npz", "--model", "m.py:zero_head", "--head", "3", "--epochs", "1", *LOOK]
    hidden = ["--mixing", "manifold-mixup"]
    done = mixscope("train", *arguments, *hidden, "--out", "a", cwd=tmp_path, expect=2)
    assert "mixing-sites must name the modules to mix at" in done.stderr
    assert not (tmp_path / "a").exists()
    mixscope("train", *arguments, *hidden, "--mixing-sites", "1,3:input", "--out", "a", cwd=tmp_path)
    assert read_run(tmp_path / "a").record["status"] == "finished"


@pytest.mark.parametrize(("factory", "message"), [("seven", "one logit for each of 4"), ("too_big", "shape 1x8x8")])
def test_a_network_that_does_not_fit_the_images_is_named_before_anything_is_written(tmp_path, factory, message):
    write_images(tmp_path / "d.npz")
    (tmp_path / "m.py").write_text(ODD_MODELS)
    arguments = ["--data", "d.npz", "--model", f"m.py:{factory}", "--head", "1", "--out", "run"]
    done = mixscope("train", *arguments, cwd=tmp_path, expect=2)
    (line,) = done.stderr.strip().splitlines()
    assert message in line
    assert not (tmp_path / "run").exists()


def test_a_measurement_leaves_other_files_in_its_folder_alone(tmp_path):
    (tmp_path / "model.py").write_text(OWN_MODEL)
    scope = {}
    exec(OWN_MODEL, scope)
    torch.save(scope["own"](10).state_dict(), tmp_path / "w.pt")
    for _ in range(2):
        mixscope("measure", "model.py:own", "--weights", "w.pt", "--head", "3", "--out", ".", cwd=tmp_path)
    assert {"model.py", "w.pt", "run.json", "report.html"} <= {path.name for path in tmp_path.iterdir()}


def test_a_measurement_normalises_as_it_is_told(tmp_path):
    (tmp_path / "model.py").write_text(OWN_MODEL)
    scope = {}
    exec(OWN_MODEL, scope)
    torch.save(scope["own"](10).state_dict(), tmp_path / "w.pt")
    errors = {}
    for name, options in {"own": [], "given": ["--mean", "0.5", "--std", "0.1"]}.items():
        arguments = ["--weights", "w.pt", "--head", "3", *options, "--out", name]
        mixscope("measure", "model.py:own", *arguments, cwd=tmp_path)
        errors[name] = read_run(tmp_path / name).metrics[-1]["test/loss"]
    assert errors["own"] != pytest.approx(errors["given"], rel=1e-3)
    bad = ["--weights", "w.pt", "--head", "3", "--mean", "0.5", "0.5", "--out", "bad"]
    done = mixscope("measure", "model.py:own", *bad, cwd=tmp_path, expect=2)
    assert "mean must have 1 value for 1 channels, got 2" in done.stderr


def test_a_run_from_a_changed_model_file_is_refused(tmp_path):
    write_images(tmp_path / "d.npz")
    (tmp_path / "m.py").write_text(ODD_MODELS)
    arguments = ["--data", "d.npz", "--model", "m.py:zero_head", "--head", "3", "--epochs", "1", *LOOK]
    mixscope("train", *arguments, "--out", "first", cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mixscope("train", "--from", "../first", "--out", "same", cwd=elsewhere)  # paths hold from anywhere
    same_weights(read_run(tmp_path / "first"), read_run(elsewhere / "same"))
    (tmp_path / "m.py").write_text(ODD_MODELS.replace("32", "16"))
    done = mixscope("train", "--from", "first", cwd=tmp_path, expect=2)
    assert "the file that makes the network must be unchanged to repeat or resume first" in done.stderr


def damaged(trained, tmp_path):
    """A copy of the trained run, to be damaged."""
    copy = tmp_path / "run"
    shutil.copytree(trained[0] / "runs/one", copy)
    return copy


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.jsonl", "[1]\n", "metrics.jsonl line 1 must hold a record as an object"),
        ("run.json", "{", "run.json must be readable JSON"),
        ("checkpoints/last.pt", "junk", "last.pt must be a checkpoint of mixscope; it is damaged"),
        ("checkpoints/last.pt", "", "last.pt must be a checkpoint of mixscope; it is damaged"),
        ("checkpoints/last.pt", None, "last.pt must be a checkpoint to resume from, but there is none"),
    ],
)
def test_a_damaged_run_is_named_and_left_as_it_is(trained, tmp_path, file, content, message):
    run = damaged(trained, tmp_path)
    if content is None:
        (run / file).unlink()
    else:
        (run / file).write_text(content)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = mixscope("train", "--resume", "run", cwd=tmp_path, expect=2)
    (line,) = done.stderr.strip().splitlines()
    assert message in line
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_checkpoint_of_another_network_is_named(trained, tmp_path):
    run = damaged(trained, tmp_path)
    state = torch.load(run / "checkpoints/last.pt", weights_only=True)
    state["training"]["model"] = {"other.weight": torch.zeros(1)}
    save_state(run / "checkpoints", state)
    done = mixscope("train", "--resume", "run", cwd=tmp_path, expect=2)
    assert "last.pt must be a checkpoint of this run's network" in done.stderr


@pytest.mark.parametrize("limit", [2_000, 100_000])
def test_a_disk_that_takes_no_more_is_one_line_that_names_the_file(tmp_path, limit):
    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "mixscope", "train", *QUICK, "--out", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, preexec_fn=full)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("mixscope: error: run/")
    record = tmp_path / "run" / "run.json"
    assert not record.exists() or read_run(tmp_path / "run").record["status"] == "failed"
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_the_demonstration_does_not_replace_a_run_of_the_users_own(tmp_path):
    mixscope("train", *QUICK, "--out", "d/erm-seed0", cwd=tmp_path)
    done = mixscope("demo", "--out", "d", "--seeds", "1", "--epochs", "2", cwd=tmp_path, expect=2)
    assert "d/erm-seed0 must not hold a run that is not the demonstration's" in done.stderr
    assert read_run(tmp_path / "d/erm-seed0").method == "mixup"


def test_batches_of_one_are_refused_where_batch_norm_has_a_single_pixel(tmp_path):
    arguments = ["--model", "convnet", "--batch-size", "1", "--subset", "20", "--out", "run"]
    done = mixscope("train", *arguments, cwd=tmp_path, expect=2)
    (line,) = done.stderr.strip().splitlines()
    assert "batch-size must be at least 2 for convnet, which has batch norm" in line
    assert not (tmp_path / "run").exists()


def test_weights_whose_logits_overflow_are_named(tmp_path):
    (tmp_path / "model.py").write_text(OWN_MODEL)
    scope = {}
    exec(OWN_MODEL, scope)
    torch.save({key: value * 1e30 for key, value in scope["own"](10).state_dict().items()}, tmp_path / "w.pt")
    done = mixscope("measure", "model.py:own", "--weights", "w.pt", "--head", "3", "--out", "m", cwd=tmp_path, expect=2)
    assert "must give finite logits" in done.stderr
    assert not (tmp_path / "m").exists()


def test_mixing_ends_by_itself_and_the_records_and_the_page_say_when(tmp_path):
    options = ["--test-size", "1597", "--epochs", "120", "--schedule", "constant", "--weight-decay", "1e-4"]
    more = ["--alpha", "4", "--mixing-off", "auto", "--measure-every", "60", "--out", "run"]
    done = mixscope("train", *QUICK, *options, *more, cwd=tmp_path)
    run = read_run(tmp_path / "run")
    ended = run.record["mixing_off_after"]
    assert 20 < ended < 110  # seen 56
    assert [row.get("mixing_on") for row in run.metrics] == [None, ended >= 60, False]
    assert run.metrics[-1]["train/blend_entropy"] == 0
    assert f"ended mixing after epoch {ended}" in (tmp_path / "run" / "report.html").read_text()
    assert f"ended mixing after epoch {ended}" in done.stdout
    # theory's curve, fitted to the network's blends at the end
    assert 0 < run.metrics[-1]["channels/theory_residual"] < 1
    assert run.pictures["pairs"]["theory"]["name"] == "unconstrained model, mixup"
