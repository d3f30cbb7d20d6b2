"""Runs that predicted the same images are compared in pairs, and others are not."""

import pytest
import torch
from helpers.command_line import run_command

from mixscope.base.errors import UserError
from mixscope.bench.kept_predictions import Predictions, read_predictions, write_predictions
from mixscope.bench.paired_checkpoints import compare_checkpoints
from mixscope.metrics import calibration_report
from mixscope.records.environment import SCHEMA
from mixscope.records.store import append_metrics, forget_run, read_run, write_json

LABELS = torch.arange(60) % 3
LOGITS = 3 * torch.eye(3)[LABELS] + torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
TINY = ["--subset", "60", "--test-subset", "50", "--epochs", "2", "--num-pairs", "20", "--plane-images", "20"]
TINY += ["--linearity-pairs", "20", "--batch-size", "30", "--device", "cpu"]


def run_in(folder, *, images="ab", said="ab", logits=LOGITS, labels=LABELS, seed=None, method=None, **data):
    record = {
        "schema": SCHEMA,
        "name": folder.name,
        "method": method or folder.name,
        "kind": "measure",
        "description": {"seed": seed, **({"data": data} if data else {})},
        "data": {"name": "photos", "num_test": len(labels), "test_fingerprint": said},
        "model": {"name": "mlp"},
        "environment": {},
        "status": "finished",
    }
    write_json(folder / "run.json", record)
    append_metrics(folder, {"epoch": None, "test/error": 0.1})
    write_predictions(folder, Predictions(logits, labels, images))
    return read_run(folder)


def test_each_run_is_compared_with_the_first_one_on_its_images(tmp_path):
    turned = LOGITS.flip(0), LABELS.flip(0)
    runs = [
        run_in(tmp_path / "a"),
        run_in(tmp_path / "other", images="cd", said="cd"),
        run_in(tmp_path / "b", logits=LOGITS.flip(1)),
        run_in(tmp_path / "c", logits=LOGITS / 2),
        run_in(tmp_path / "turned", images="dc", said="dc", logits=turned[0], labels=turned[1]),
    ]
    pairs = compare_checkpoints(runs)
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c")]
    assert not any(pair.by_labels for pair in pairs)
    assert pairs[0].comparison.only_second_wrong > 30
    assert (pairs[1].comparison.p_value, pairs[1].comparison.only_first_wrong) == (1.0, 0)
    assert compare_checkpoints(runs[:1]) == []


def test_one_choice_of_images_read_at_two_sizes_is_compared_by_its_labels(tmp_path):
    options = {"data": "photos", "split_seed": 0}
    runs = [
        run_in(tmp_path / "small", **options, image_size=64),
        run_in(tmp_path / "large", images="cd", said="cd", **options, image_size=224),
        run_in(tmp_path / "other-split", images="ef", said="ef", data="photos", split_seed=1),
        run_in(tmp_path / "other-labels", images="gh", said="gh", labels=LABELS.flip(0), **options),
    ]
    (pair,) = compare_checkpoints(runs)
    assert (pair.first, pair.second, pair.by_labels) == ("small", "large", True)


def test_several_seeds_are_not_compared_image_by_image(tmp_path):
    runs = [run_in(tmp_path / f"{m}{seed}", method=m, seed=seed) for m in ("a", "b") for seed in (0, 1)]
    assert compare_checkpoints(runs) == []


def test_predictions_of_other_images_than_the_record_says_are_told(tmp_path):
    runs = [run_in(tmp_path / "a"), run_in(tmp_path / "b", images="other")]
    with pytest.raises(UserError, match=r"b/predictions\.safetensors: of other images than its run\.json says"):
        compare_checkpoints(runs)


def test_a_run_without_predictions_is_left_out(tmp_path):
    runs = [run_in(tmp_path / name) for name in "abc"]
    (tmp_path / "b" / "predictions.safetensors").unlink()
    assert [(pair.first, pair.second) for pair in compare_checkpoints(runs)] == [("a", "c")]


def test_a_training_keeps_its_last_predictions_and_is_compared_with_a_measurement_of_its_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = run_command("train", *TINY, "--out", "run")
    assert trained.code == 0, trained.errors
    run, kept = read_run(tmp_path / "run"), read_predictions(tmp_path / "run")
    expected = calibration_report(kept.logits, kept.labels).values("test")
    found = {key: run.metrics[-1][key] for key in expected}
    assert found == pytest.approx(expected, rel=1e-12)
    assert run.metrics[-1]["scaling/temperature"] > 0
    assert "scaling/temperature" not in run.metrics[0]
    assert kept.images == run.record["data"]["test_fingerprint"] != run.record["data"]["fingerprint"]
    assert kept.class_names == tuple(run.record["data"]["class_names"])
    weights = "run/checkpoints/weights.safetensors"
    options = ["--subset", "60", "--test-subset", "50", "--num-pairs", "20", "--device", "cpu"]
    measured = run_command("measure", "mlp", "--weights", weights, *options, "--out", "again")
    assert measured.code == 0, measured.errors
    assert torch.allclose(read_predictions(tmp_path / "again").logits, kept.logits, atol=1e-5)
    text = " ".join(run_command("report", "run", "again", "--out", "page").output.split())
    assert "On the same images: run errs on as many of 50 images as mixup (" in text
    assert "p = 1: undecided); its loss is 0.000" in text
    forget_run(tmp_path / "run")
    assert not (tmp_path / "run" / "predictions.safetensors").exists()
