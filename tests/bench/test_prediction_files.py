"""Predictions alone: `measure --logits --labels`, its files, its errors, and two of them compared."""

import json
import shlex

import numpy as np
import pytest
import torch
from helpers.command_line import files_below, run_command
from helpers.hostile_files import SPECIAL, in_seconds
from safetensors.torch import save_file

from mixscope.bench.kept_predictions import read_predictions
from mixscope.metrics import calibration_report
from mixscope.records.store import read_run
from mixscope.report.runs.facts import repeat_command

NUM, K = 400, 5


@pytest.fixture(scope="module")
def case():
    generator = np.random.default_rng(0)
    logits = 2 * generator.normal(size=(NUM, K))
    shares = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(K, p=row) for row in shares])
    return logits.astype(np.float32), labels, shares


@pytest.fixture
def here(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    logits, labels, shares = case
    np.save("l.npy", logits)
    np.save("y.npy", labels)
    np.save("p.npy", shares)
    return tmp_path


def measured(*arguments, out="m"):
    ended = run_command("measure", *arguments, "--out", out)
    assert (ended.code, ended.errors) == (0, "")
    return ended.output


def refused(*arguments):
    ended = run_command("measure", *arguments, "--out", "m")
    assert ended.code == 2
    assert ended.errors.count("\n") == 1
    return ended.errors


def test_everything_that_needs_no_network_is_measured(here, case):
    text = measured("--logits", "l.npy", "--labels", "y.npy", "--class-names", "a,b,c,d,e")
    run = read_run(here / "m")
    expected = calibration_report(torch.from_numpy(case[0]), torch.from_numpy(case[1])).values("test")
    (values,) = run.metrics
    assert {key: values[key] for key in expected} == pytest.approx(expected, rel=1e-12)
    assert values["scaling/temperature_low"] < 2 < values["scaling/temperature_high"]  # labels follow half the logits
    assert run.record["kind"] == "measure"
    assert run.record["data"]["class_names"] == list("abcde")
    kept = read_predictions(here / "m")
    assert torch.equal(kept.logits, torch.from_numpy(case[0]))
    assert torch.equal(kept.labels, torch.from_numpy(case[1]))
    assert (here / "m" / "report.html").exists()
    assert text.index("l is over-confident by") < text.index("Divide the logits of l by") < text.index("Test error")
    assert "test/ece" not in text
    assert "test/ece" in measured("--logits", "l.npy", "--labels", "y.npy", "--all")


def test_a_measurement_of_predictions_repeats_by_its_own_command(here):
    measured("--logits", "l.npy", "--labels", "y.npy", "--class-names", "a,b,c,d,e")
    before = (here / "m" / "metrics.jsonl").read_bytes()
    command = shlex.split(repeat_command(read_run(here / "m")))
    assert command[:2] == ["mixscope", "measure"]
    measured(*command[2:], out="again")
    assert (here / "again" / "metrics.jsonl").read_bytes() == before
    assert run_command("report", "again", "--out", "page").code == 0


@pytest.mark.parametrize(
    "name", ["f.npz", "many.npz", "f.pt", "many.pth", "f.safetensors", "no-suffix", "big-endian.npy", "double.npy"]
)
def test_files_of_every_kind_are_told_apart_by_content(here, case, name):
    logits, labels, _ = case
    rows, classes = torch.from_numpy(logits), torch.from_numpy(labels)
    write = {
        "f.npz": lambda: np.savez(here / name, anything=logits),
        "many.npz": lambda: np.savez_compressed(here / name, logits=logits, labels=labels[:, None], other=labels),
        "f.pt": lambda: torch.save(rows, here / name),
        "many.pth": lambda: torch.save({"logits": rows, "labels": classes, "epoch": 3}, here / name),
        "f.safetensors": lambda: save_file({"x": rows}, here / name),
        "no-suffix": lambda: torch.save(rows, here / name, _use_new_zipfile_serialization=False),
        "big-endian.npy": lambda: np.save(here / name, logits.astype(">f4")),
        "double.npy": lambda: np.save(here / name, np.asfortranarray(logits.astype(np.float64))),
    }
    write[name]()
    measured("--logits", name, "--labels", name if name.startswith("many") else "y.npy")
    assert torch.equal(read_predictions(here / "m").logits, rows)


@pytest.mark.parametrize("change", [lambda y: y[:, None], lambda y: y.astype(float), lambda y: y.astype(np.uint8)])
def test_labels_may_be_a_column_or_whole_floats_or_small_integers(here, case, change):
    np.save("y2.npy", change(case[1]))
    measured("--logits", "l.npy", "--labels", "y2.npy")
    assert torch.equal(read_predictions(here / "m").labels, torch.from_numpy(case[1]))


def test_probabilities_are_measured_as_such_and_their_zeros_told(here, case):
    _, labels, shares = case
    measured("--probabilities", "p.npy", "--labels", "y.npy")
    expected = calibration_report(torch.from_numpy(shares).log(), torch.from_numpy(labels)).as_dict()
    (values,) = read_run(here / "m").metrics
    found = {key: values[f"test/{key}"] for key in expected}
    assert found == pytest.approx(expected, rel=1e-9)
    sure = shares.copy()
    sure[:3] = np.eye(K)[(labels[:3] + 1) % K]
    np.save("sure.npy", sure)
    text = measured("--probabilities", "sure.npy", "--labels", "y.npy")
    assert "3 of 400 images have a probability of 0 for their own class" in " ".join(text.split())


def test_logits_that_look_like_probabilities_are_pointed_out(here):
    text = " ".join(measured("--logits", "p.npy", "--labels", "y.npy").split())
    assert "The logits of p.npy look like probabilities: if they are, use --probabilities." in text
    assert "look like probabilities" not in measured("--logits", "l.npy", "--labels", "y.npy")


WRONG = {
    "labels are too few": (lambda x, y: (x, y[1:]), "must hold 400 labels, one for each row of predictions, got 399"),
    "from 1": (lambda x, y: (x, y + 1), "must lie in 0 to 4, the predictions' columns, got 1 to 5; subtract 1"),
    "negative": (lambda x, y: (x, y - 1), "must lie in 0 to 4, the predictions' columns, got -1 to 3"),
    "NaN": (lambda x, y: (x, np.where(y == 0, np.nan, y)), "labels must be whole numbers, got nan in place"),
    "halves": (lambda x, y: (x, y + 0.5), "labels must be whole numbers"),
    "one-hot": (lambda x, y: (x, np.eye(K)[y]), "labels must be one class number per image, got shape (400, 5)"),
    "booleans": (lambda x, y: (x[:, :2], y > 2), "labels must be whole numbers, got torch.bool"),
    "letters": (lambda x, y: (x, np.array(list("ab"))), "must hold numbers, got <U1"),
    "objects": (lambda x, y: (x, np.array([1, {}])), "not a readable"),
    "swapped": (lambda x, y: (np.stack([y, y], 1), y), "logits must be floating point, got torch.int64; are these"),
    "one logit": (lambda x, y: (x[:, 0], y), "logits must be (N, K), a row per image, got shape (400,)"),
    "one class": (lambda x, y: (x[:, :1], y * 0), "must have at least one row and two classes, got shape (400, 1)"),
    "no rows": (lambda x, y: (x[:0], y[:0]), "must have at least one row and two classes, got shape (0, 5)"),
    "three axes": (lambda x, y: (x[None], y), "logits must be (N, K), a row per image, got shape (1, 400, 5)"),
    "infinite": (lambda x, y: (np.where(x > 4, np.inf, x), y), "logits must be finite, got NaN or infinite values"),
    "complex": (lambda x, y: (x + 1j, y), "must hold numbers, got complex64"),
}


@pytest.mark.parametrize("name", WRONG)
def test_arrays_that_do_not_fit_are_told_in_one_line_and_nothing_is_written(here, case, name):
    change, message = WRONG[name]
    logits, labels = change(*case[:2])
    np.save("l.npy", logits)
    np.save("y.npy", labels, allow_pickle=True)
    before = files_below(here)
    assert message in refused("--logits", "l.npy", "--labels", "y.npy")
    assert files_below(here) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "model must be given, or predictions alone, with --logits and --labels"),
        (["mlp"], "weights must be given"),
        (["--logits", "l.npy"], "logits must go with --labels"),
        (["--probabilities", "p.npy"], "probabilities must go with --labels"),
        (["--labels", "y.npy"], "labels must go with --logits or --probabilities"),
        (["mlp", "--weights", "w.pt", "--class-names", "a"], "class-names must go with --logits or --probabilities"),
        (["--logits", "l.npy", "--probabilities", "p.npy", "--labels", "y.npy"], "logits must stand without"),
        (["mlp", "--logits", "l.npy", "--labels", "y.npy"], "model must stand without --logits"),
        (["--weights", "w.pt", "--logits", "l.npy", "--labels", "y.npy"], "weights must stand without --logits"),
        (["--data", "mnist", "--logits", "l.npy", "--labels", "y.npy"], "options of the data must stand without"),
        (["--logits", "l.npy", "--labels", "y.npy", "--class-names", "a,b"], "class-names must be 5 names, one per"),
        (["--logits", "nowhere.npy", "--labels", "y.npy"], "nowhere.npy: no such file of logits"),
        (["--probabilities", "l.npy", "--labels", "y.npy"], "probabilities must lie in [0, 1], got"),
        (["--logits", "two.npz", "--labels", "y.npy"], "must hold one array, or one called logits; got a, b"),
        (["--logits", "text", "--labels", "y.npy"], "must be a .npy, .npz, .pt, .pth or .safetensors file, got"),
        (["--logits", "cut.npy", "--labels", "y.npy"], "not a readable"),
        (["--logits", "code.pt", "--labels", "y.npy"], "not a readable"),
        (["--logits", "number.pt", "--labels", "y.npy"], "must hold one tensor, got a int"),
        (["--logits", "meta.pt", "--labels", "y.npy"], "must hold a plain tensor, got one that is sparse, quantized"),
        (["--logits", "sparse.pt", "--labels", "y.npy"], "must hold a plain tensor, got one that is sparse, quantized"),
    ],
)
def test_options_and_files_that_make_no_sense_are_told_in_one_line(here, arguments, message):
    np.savez("two.npz", a=np.zeros((2, 2)), b=np.zeros(2))
    (here / "text").write_text("1,2,3\n4,5,6\n")
    (here / "cut.npy").write_bytes((here / "l.npy").read_bytes()[:500])
    torch.save({"x": Trap()}, "code.pt")
    torch.save(3, "number.pt")
    torch.save(torch.zeros(400, 5, device="meta"), "meta.pt")
    torch.save(torch.eye(400).to_sparse(), "sparse.pt")
    before = files_below(here)
    assert message in refused(*arguments)
    assert files_below(here) == before


class Trap:
    def __reduce__(self):
        import os

        return os.mkdir, ("trap",)


@pytest.mark.parametrize("make", SPECIAL)
def test_only_regular_files_are_read(here, make):
    make(here / "odd")
    with in_seconds(20):
        assert "odd" in refused("--logits", "odd", "--labels", "y.npy")


def test_two_files_about_the_same_labels_are_compared_in_one_sentence(here, case):
    logits, labels, _ = case
    np.save("better.npy", logits / 2)
    np.save("other.npy", labels[::-1])
    measured("--logits", "l.npy", "--labels", "y.npy", out="a")
    measured("--logits", "better.npy", "--labels", "y.npy", out="b")
    measured("--logits", "better.npy", "--labels", "other.npy", out="c")
    text = " ".join(run_command("report", "a", "b", "--out", "page").output.split())
    assert "On the same images: better errs on as many of 400 images as l (" in text
    assert "McNemar's exact p = 1: undecided); its loss is" in text
    assert " lower (95% interval " in text
    apart = run_command("report", "a", "c", "--out", "page").output
    assert "On the same images" not in apart
    assert "different data" in apart


def test_a_record_says_what_it_was_made_of(here):
    measured("--logits", "l.npy", "--labels", "y.npy")
    description = json.loads((here / "m" / "run.json").read_text())["description"]
    assert description == {
        "logits": str(here / "l.npy"),
        "probabilities": None,
        "labels": str(here / "y.npy"),
        "class_names": [],
    }
