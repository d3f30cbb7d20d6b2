"""`--out` is a folder in every command; links, devices and files in its place are refused and stay as they are."""

import os

import numpy as np
import pytest
import torch
from helpers.command_line import files_below, run_command

from mixscope.base.errors import UserError
from mixscope.base.files import check_out
from mixscope.models.mlp import MLP

TINY = ["--num-pairs", "4", "--linearity-pairs", "4", "--plane-images", "4"]
DATA = ["--data", "d.npz", *TINY]
COMMANDS = {
    "train": ["train", *DATA, "--epochs", "1", "--model", "mlp-8x1"],
    "measure": ["measure", "mlp-8x1", "--weights", "w.pt", *DATA],
    "report": ["report", "run"],
    "theory": ["theory", "label-noise", "--num-pairs", "100"],
    "reproduce": ["reproduce", "beyond"],
    "demo": ["demo", "--seeds", "1", "--epochs", "1"],
}
PAGES = {"theory": "label-noise.html", "reproduce": "beyond.html"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    images = np.random.default_rng(0).integers(0, 256, (24, 6, 6), dtype=np.uint8)
    labels = np.arange(24) % 3
    np.savez(folder / "d.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    torch.save(MLP(num_classes=3, image_shape=(1, 6, 6), hidden=(8,)).state_dict(), folder / "w.pt")
    (folder / "file").write_text("text")
    (folder / "empty").mkdir()
    for name, target in (("link", "empty"), ("dangling", "nowhere"), ("loop", "loop")):
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "fifo")
    for name in PAGES.values():
        (folder / "linked" / name).parent.mkdir(exist_ok=True)
        (folder / "linked" / name).symlink_to("../file")
    for name in ("report.html", "run.json"):
        (folder / "linked" / name).symlink_to("../file")
        (folder / "blocked" / name).mkdir(parents=True)
    for name in PAGES.values():
        (folder / "blocked" / name).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MIXSCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        ended = run_command(*COMMANDS["train"], "--out", "run")
        assert ended.code == 0, ended.errors
        yield folder


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("link", "out must be a folder of its own, but link is a link"),
        ("dangling", "out must be a folder of its own, but dangling is a link"),
        ("loop", "out must be a folder of its own, but loop is a link"),
        ("file", "file must be a folder, but "),
        ("fifo", "fifo must be a folder, but "),
        ("file/below", "file/below must be a folder, but "),
        ("dangling/below", "dangling/below must be a folder, but "),
        ("page.html", "out must be a folder, which the page is written into, got page.html; try ."),
        ("linked", "must be a plain file, or not there, but it is a link"),
        ("blocked", "must be a plain file, or not there, but it is a folder"),
        ("x" * 300, "File name too long"),
    ],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_folder_is_refused_and_left_as_it_is(world, command, place, message):
    before = files_below(world)
    ended = run_command(*COMMANDS[command], "--out", place)
    assert ended.code == 2, ended.errors
    assert ended.errors.count("\n") == 1
    assert message in ended.errors
    assert files_below(world) == before


def test_a_folder_behind_a_link_further_up_is_taken(world):
    ended = run_command("theory", "label-noise", "--num-pairs", "100", "--out", "link/below")
    assert ended.code == 0, ended.errors
    assert (world / "empty/below/label-noise.html").is_file()


def test_a_page_is_written_into_the_folder_and_replaced_there(world):
    for _ in range(2):
        ended = run_command("report", "run", "--out", "deep/new")
        assert ended.code == 0, ended.errors
        assert f"page: {world / 'deep/new/report.html'}" in ended.output
    assert [path.name for path in (world / "deep/new").iterdir()] == ["report.html"]


def test_a_comparison_does_not_replace_the_page_of_a_run(world):
    ended = run_command("report", "run", "run", "--out", "run")
    assert ended.code == 2
    assert "out must not be the folder of a run, whose own page would be lost, got run" in ended.errors
    assert run_command("report", "run", "--out", "run").code == 0  # its own page, written anew


def test_a_folder_that_cannot_be_written_is_refused(world, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(UserError, match="must be writable"):
        check_out(world / "new")
