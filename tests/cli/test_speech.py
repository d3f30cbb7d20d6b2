"""What a command prints: any text as it stands, in any encoding, and into streams that take nothing."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.command_line import run_command
from rich.progress import TextColumn

from mixscope.cli.display import ProgressDisplay, Stream, make_console, print_table, say

NAMES = ["[/x]", "[bold]x[/bold]", ":smile:", "asc é", "[link=file:x]y", "{task}", "a  b", "[]", "\\[x]"]
TINY = ["--num-pairs", "4", "--linearity-pairs", "4", "--plane-images", "4", "--epochs", "1", "--model", "mlp-8x1"]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A folder with a small set of images whose file has a name that looks like markup."""
    images = np.random.default_rng(0).integers(0, 256, (24, 6, 6), dtype=np.uint8)
    labels = np.arange(24) % 3
    np.savez(tmp_path / "[q].npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIXSCOPE_CACHE", str(tmp_path.parent / "cache"))
    return tmp_path


def mixscope(command, cwd, **environment):
    """Run a line of the shell in which $MIXSCOPE is the command line."""
    variables = {**os.environ, "MIXSCOPE": f"{sys.executable} -m mixscope", **environment}
    return subprocess.run(["bash", "-c", command], cwd=cwd, capture_output=True, timeout=120, env=variables)


def printed(action):
    stream = io.StringIO()
    console = make_console()
    console.file = stream
    action(console)
    return stream.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_a_text_is_printed_as_it_stands(name):
    assert printed(lambda console: say(console, f"page: {name}")) == f"page: {name}\n"
    table = printed(lambda console: print_table(console, name, [name, "value"], [[name, name]]))
    assert table.count(name) == 4


def test_what_is_not_printable_is_an_escape_and_commands_no_terminal():
    assert printed(lambda console: say(console, "a\x1b[31mb\nc\udcff")) == "a\\x1b[31mb\\nc\\udcff\n"


def test_no_column_of_the_progress_reads_markup():
    columns = ProgressDisplay(make_console())._progress.columns
    assert all(not column.markup for column in columns if type(column) is TextColumn)


@pytest.mark.parametrize("name", ["[/x]", "[bold]x", "asc é", "\udcff"])
def test_a_run_with_an_odd_label_and_path_is_finished_and_reported(world, name):
    label = [] if name == "\udcff" else ["--label", name]  # a label is text; a path may hold any bytes
    ended = run_command("train", "--data", "[q].npz", *TINY, *label, "--out", name)
    assert ended.code == 0, ended.errors
    shown = name.replace("\udcff", "\\udcff")
    assert f"page: {world / shown / 'report.html'}" in ended.output
    record = json.loads((world / name / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["method"] == (label[1] if label else "mixup")
    compared = run_command("report", name, "--out", f"{name} report", "--title", name)
    assert compared.code == 0, compared.errors
    assert f"page: {world / f'{shown} report' / 'report.html'}" in compared.output
    listed = run_command("data", "--data-dir", name)
    assert listed.code == 0, listed.errors


NETWORK = """
from torch import nn

def own(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, num_classes))
"""


def test_names_that_are_no_text_in_any_place_end_no_command(tmp_path, monkeypatch):
    from PIL import Image

    work = tmp_path / "cwd\udcff"
    for place in ("train", "test"):
        for name in ("a\udcff", "[b]"):
            (work / "images\udcfe" / place / name).mkdir(parents=True)
            for value in range(4):
                pixels = np.full((6, 6), 10 * value, dtype=np.uint8)
                Image.fromarray(pixels).save(work / "images\udcfe" / place / name / f"{value}.png")
    (work / "net\udcff.py").write_text(NETWORK)
    monkeypatch.chdir(work)
    monkeypatch.setenv("MIXSCOPE_CACHE", str(tmp_path / "cache"))
    looks = [*TINY[:6], "--sites", "1", "--head", "3", "--device", "cpu"]
    own, images = "net\udcff.py:own", ["--data", "./images\udcfe"]
    trained = ["train", "--model", own, *images, *looks, "--epochs", "1", "--out", "run"]
    for words in (trained, ["train", "--from", "run", "--out", "again"], ["train", "--resume", "run"]):
        ended = run_command(*words)
        assert ended.code == 0, ended.errors
    weights = work / "w\udcff.safetensors"
    weights.write_bytes((work / "run/checkpoints/weights.safetensors").read_bytes())
    measured = ["measure", own, "--weights", weights.name, *images, *looks, "--out", "m"]
    for words in (measured, ["report", "run", "again", "m", "--out", "all"], ["data", "--data-dir", images[1]]):
        ended = run_command(*words)
        assert ended.code == 0, ended.errors


def test_a_locale_of_ascii_ends_no_run_and_loses_no_letter_of_a_label(world):
    command = f"$MIXSCOPE train --data '[q].npz' {' '.join(TINY)} --out 'asc é' --label 'é α'"
    done = mixscope(command, world, **ASCII)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert rb"/asc \xe9/report.html" in done.stdout
    assert json.loads((world / "asc é" / "run.json").read_text())["method"] == "é α"
    assert "é α" in (world / "asc é" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp437"])
def test_an_output_of_any_encoding_takes_any_text(encoding):
    written = io.BytesIO()
    stream = Stream(io.TextIOWrapper(written, encoding=encoding))
    assert stream.write("é│α\udcff💥") == 5
    stream.flush()
    assert written.getvalue().decode(encoding).endswith("\\udcff💥" if encoding == "utf-8" else "\\udcff\\U0001f4a5")


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("$MIXSCOPE --help | head -1; exit ${PIPESTATUS[0]}", 0, ""),
        ("$MIXSCOPE train --help | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("$MIXSCOPE data | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("$MIXSCOPE data >&-", 0, ""),
        ("$MIXSCOPE data >&- 2>&- <&-", 0, ""),
        ("$MIXSCOPE data --fetch nothing 2>&-", 2, ""),
        ("$MIXSCOPE data --fetch nothing 2>/dev/full", 2, ""),
        ("$MIXSCOPE data >/dev/full", 2, "mixscope: error: standard output: the disk is full\n"),
        ("$MIXSCOPE --help >/dev/full", 2, "mixscope: error: standard output: the disk is full\n"),
    ],
)
def test_a_stream_that_takes_nothing_is_no_traceback(tmp_path, command, code, message):
    done = mixscope(command, tmp_path)
    assert done.returncode == code, done.stderr
    assert done.stderr.decode() == message


def test_a_reader_that_goes_away_does_not_stop_the_work(world):
    command = f"$MIXSCOPE train --data '[q].npz' {' '.join(TINY)} --out run | true; exit ${{PIPESTATUS[0]}}"
    done = mixscope(command, world)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads((world / "run" / "run.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "Unrecognized options: trian; Available subcommands: demo, train,"),
        (["train", "--epochs", "many"], "Error parsing --epochs: invalid literal for int() with base 10: 'many';"),
        (["train", "--mixing", "mixpu"], "invalid choice 'mixpu' for argument '--mixing'. Expected one of ('none',"),
        (["train", "--resume"], "Missing value for argument '--resume'."),
        (["train", "--a\nb"], "Unrecognized options: --a b;"),
        (["measure", "mlp"], "weights must be given for mlp, which has none of its own, with --weights; see --help"),
        ([], "Expected one of {demo, train, measure, theory, reproduce, report, data};"),
    ],
)
def test_words_the_command_line_does_not_know_are_explained_in_one_line(words, message):
    ended = run_command(*words)
    assert ended.code == 2
    assert ended.errors.startswith(f"mixscope: error: {message}")
    assert ended.errors.count("\n") == 1
    assert "--help" in ended.errors
    assert "│" not in ended.errors
