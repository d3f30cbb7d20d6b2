"""Records that are deleted, changed or swapped while a run goes on or before it is gone on with: said, nothing lost."""

import json
import shutil
from dataclasses import replace

import pytest
from killed_runs import OPTIONS, result

from mixscope.base.errors import UserError
from mixscope.base.folder_lock import LOCK_FILE, hold_folder
from mixscope.bench.run import run_training
from mixscope.records.store import read_run, write_json
from mixscope.training.recipe import Recipe


class Meddler:
    """An observer that does something to the run after an epoch, and remembers what it is told."""

    def __init__(self, act=lambda: None, *, after=2):
        self.act, self.after, self.notes = act, after, []

    def loading(self, task, done, total):
        pass

    def note(self, message):
        self.notes.append(message)

    def epoch_done(self, epoch, num_epochs, values):
        if epoch == self.after:
            self.act()


def interrupt():
    raise KeyboardInterrupt


def run(folder, observer=None, **options):
    observer = observer or Meddler()
    run_training(OPTIONS, folder, observer=observer, report=False, **options)
    return observer


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nobody meddled with."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    run(folder)
    return folder


@pytest.fixture
def interrupted(tmp_path):
    """A run that was interrupted after two epochs and has a checkpoint."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", Meddler(interrupt, after=3))
    return tmp_path / "run"


def delete(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("name", "after", "said"),
    [
        ("run.json", 2, ["run.json"]),
        ("metrics.jsonl", 2, ["metrics.jsonl"]),
        ("checkpoints/last.pt", 2, ["checkpoints/last.pt"]),
        ("checkpoints", 2, ["checkpoints/last.pt"]),
        (".", 2, ["run.json", "metrics.jsonl", "checkpoints/last.pt"]),
        (LOCK_FILE, 2, []),
        ("pictures.json", 5, ["pictures.json"]),
        ("predictions.safetensors", 5, ["predictions.safetensors"]),
        ("checkpoints/weights.safetensors", 5, ["checkpoints/weights.safetensors"]),
        (
            ".",
            5,
            [
                *("checkpoints/last.pt", "run.json", "metrics.jsonl", "pictures.json", "predictions.safetensors"),
                "checkpoints/weights.saf",
            ],
        ),
    ],
)
def test_what_is_deleted_during_a_run_is_said_and_written_anew(unbroken, tmp_path, name, after, said):
    folder = tmp_path / "run"
    told = run(folder, Meddler(lambda: delete(folder / name), after=after)).notes
    assert len(told) == len(said)
    for note in said:
        assert any(
            str(folder / note) in line and line.endswith("was deleted; it is written anew") for line in told
        ) or (note == "metrics.jsonl" and any("metrics.jsonl was deleted or changed" in line for line in told))
    assert result(folder) == result(unbroken)


def test_a_run_json_that_is_deleted_is_back_while_the_run_still_goes_on(tmp_path):
    seen, folder = [], tmp_path / "run"

    class Looking(Meddler):
        def epoch_done(self, epoch, num_epochs, values):
            seen.append((folder / "run.json").exists())
            super().epoch_done(epoch, num_epochs, values)

    run(folder, Looking(lambda: (folder / "run.json").unlink(), after=2))
    assert seen == [True] * 5


def test_lines_that_another_program_adds_or_cuts_do_not_stay(unbroken, tmp_path):
    for number, change in enumerate((lambda text: text[:-30], lambda text: text + "{}\n")):
        path = tmp_path / str(number) / "metrics.jsonl"
        notes = run(path.parent, Meddler(lambda: path.write_text(change(path.read_text())))).notes  # noqa: B023
        assert notes == [f"{path} was deleted or changed by another program; it is written anew"]
        assert result(path.parent) == result(unbroken)


def test_a_run_whose_folder_became_another_runs_ends_and_leaves_that_alone(unbroken, tmp_path):
    folder = tmp_path / "run"

    def replace_folder():
        shutil.rmtree(folder)
        shutil.copytree(unbroken, folder)
        record = json.loads((folder / "run.json").read_text())
        write_json(folder / "run.json", record | {"started": "another day"})

    with pytest.raises(UserError, match="run was deleted and holds another run now, so this one ends"):
        run(folder, Meddler(replace_folder))
    assert result(folder) == result(unbroken)
    assert read_run(folder).record["started"] == "another day"


def test_a_run_whose_folder_another_process_holds_by_now_ends_and_leaves_that_alone(tmp_path):
    folder, held = tmp_path / "run", []

    def take_over():
        shutil.rmtree(folder)
        held.append(hold_folder(folder, note=print))
        held[0].__enter__()

    with pytest.raises(UserError, match=r"run (is in use by process \d+|was deleted and is another process's now)"):
        run(folder, Meddler(take_over))
    assert [path.name for path in folder.iterdir()] == [LOCK_FILE]
    held[0].__exit__(None, None, None)


def test_metrics_deleted_or_changed_before_a_run_goes_on_come_from_its_checkpoint(unbroken, interrupted):
    path = interrupted / "metrics.jsonl"
    for change in (path.unlink, lambda: path.write_text(path.read_text().replace('"step": 0', '"step": 1'))):
        change()
        meddler = Meddler(interrupt, after=4)
        with pytest.raises(KeyboardInterrupt):
            run(interrupted, meddler, resume=True)
        assert meddler.notes == [f"{path} was lost or changed since the checkpoint; it is written anew"]
    run(interrupted, resume=True)
    assert result(interrupted) == result(unbroken)


def test_what_a_finished_run_lacks_is_written_anew_when_it_is_gone_on_with(unbroken, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    for name in ("pictures.json", "checkpoints/weights.safetensors", "metrics.jsonl"):
        (folder / name).unlink()
    assert len(run(folder, resume=True).notes) == 3
    assert result(folder) == result(unbroken)


def test_a_checkpoint_of_another_run_is_refused_and_nothing_is_touched(interrupted, tmp_path):
    other = tmp_path / "other"
    run_training(replace(OPTIONS, seed=1), other, observer=Meddler(), report=False)
    shutil.copy(other / "checkpoints/last.pt", interrupted / "checkpoints/last.pt")
    before = {path: path.read_bytes() for path in interrupted.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"last.pt must be the checkpoint of the run that .*run.json describes, but"):
        run(interrupted, resume=True)
    assert {path: path.read_bytes() for path in interrupted.rglob("*") if path.is_file()} == before


def test_a_description_that_was_changed_does_not_go_on_from_the_old_checkpoint(interrupted):
    record = read_run(interrupted).record
    record["description"]["training"]["learning_rate"] = 0.5
    write_json(interrupted / "run.json", record)
    changed = replace(OPTIONS, training=Recipe(epochs=5, batch_size=50, learning_rate=0.5))
    with pytest.raises(UserError, match=r"but it is another's, or the description was changed"):
        run_training(changed, interrupted, observer=Meddler(), resume=True, report=False)


def test_a_run_without_a_checkpoint_says_that_it_begins_anew(unbroken, interrupted):
    shutil.rmtree(interrupted / "checkpoints")
    (interrupted / "metrics.jsonl").unlink()
    assert run(interrupted, resume=True).notes == [f"{interrupted} has no checkpoint yet: its run begins anew"]
    assert result(interrupted) == result(unbroken)


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints/last.pt", "pictures.json"])
def test_what_is_left_of_a_run_without_its_description_is_not_replaced(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")
    with pytest.raises(UserError, match=f"must not hold a run yet, got {name}; choose another --out$"):
        run(tmp_path)
    assert (tmp_path / name).read_text() == "precious"


def test_temporary_files_of_a_killed_process_are_gone_once_its_folder_is_opened(interrupted):
    for name in (".run.json.12345.tmp", "checkpoints/.last.pt.12345.tmp"):
        (interrupted / name).write_text("half")
    with hold_folder(interrupted, inside=["checkpoints"], note=print):
        assert not list(interrupted.rglob("*.tmp"))
