"""Run folders changed by hand: every command that reads them ends well, or in one line with exit 2."""

import shutil

import pytest
from helpers.command_line import run_command
from helpers.edited_records import edit_file, ends_well_or_in_one_line, seeded

from mixscope.bench import run

NUM_EDITS = 150
FILES = ("run.json", "metrics.jsonl", "pictures.json", "predictions.safetensors")
OPTIONS = [
    *("--epochs", "2", "--test-size", "1700", "--batch-size", "50", "--device", "cpu", "--measure-every", "1"),
    *("--num-pairs", "20", "--linearity-pairs", "10", "--plane-images", "10"),
]


class BeginsError(Exception):
    """A run begins to train: all records were read."""


def begin(bench, recorder, *, train=run._train):
    """Train, unless the run begins anew: what is read counts here."""
    if not bench.training.epoch:
        raise BeginsError
    train(bench, recorder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two small runs, so that files can be swapped between them."""
    folder = tmp_path_factory.mktemp("runs")
    for name, more in (("one", []), ("two", ["--mixing", "none", "--seed", "1"])):
        assert run_command("train", *OPTIONS, *more, "--out", folder / name).code == 0
    return folder


def test_no_edit_of_a_run_folder_ends_in_a_traceback(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mixscope.report.rendering.write_page", lambda page, path: path.write_text("page"))
    monkeypatch.setattr(run, "_train", begin)
    others = [trained / "two" / name for name in FILES]
    codes = []
    for number in range(NUM_EDITS):
        chance = seeded(number)
        folder = tmp_path / "edited"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        shutil.copytree(trained / "one", folder)
        edit_file(folder / chance.choice(FILES), others, chance)
        going_on = [["train", "--from", folder, "--out", "out"], ["train", "--resume", folder]]
        for command in (["report", folder, trained / "two", "--out", tmp_path], going_on[number % 2]):
            codes.append(ends_well_or_in_one_line(*command, stops_at=BeginsError))
    assert 0.2 * len(codes) < codes.count(0) < 0.8 * len(codes)  # the edits are neither all seen nor all harmless
