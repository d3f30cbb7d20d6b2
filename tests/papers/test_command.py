"""The command `reproduce`, as a user runs it."""

import json
import re
import subprocess
import sys

import pytest

from mixscope._errors import UserError
from mixscope.cli.parsing import parse
from mixscope.papers.names import STUDY_KEYS

ALLOWED_TO_FALL = {"fisher2024.5b", "ji2022.19a"}  # said on their pages: a slip noted beforehand, and rounding


def mixscope(*arguments, cwd):
    command = [sys.executable, "-m", "mixscope", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=600)


def test_all_studies_at_the_smoke_scale_end_to_end(tmp_path):
    first = mixscope("reproduce", "all", "--scale", "smoke", "--out", "out", "--jobs", "2", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    verdicts = json.loads((tmp_path / "out" / "verdicts.json").read_text())
    assert set(verdicts) == set(STUDY_KEYS)
    entries = [entry for study in verdicts.values() for entry in study]
    fallen = {entry["claim"]["key"] for entry in entries if entry["verdict"] == "not held"}
    assert fallen <= ALLOWED_TO_FALL
    for entry in entries:
        if entry["claim"]["is_exact"]:
            assert entry["verdict"] != "undecided", entry["claim"]["key"]
        else:
            assert "smoke scale does not judge statistics" in entry["reason"]
    pages = {path.name for path in (tmp_path / "out").glob("*.html")}
    assert pages == {"overview.html", *(f"{key}.html" for key in STUDY_KEYS)}
    num_runs = len(list((tmp_path / "out" / "records").iterdir()))
    again = mixscope("reproduce", "all", "--scale", "smoke", "--out", "out", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"{num_runs} runs, {num_runs} of them done" in again.stdout
    assert not re.search(r"^1/\d+ ", again.stdout, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "seeds must be at least 1, got 0"),
        (["--jobs", "0"], "jobs must be at least 1, got 0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        parse(["reproduce", "beyond", *arguments])


def test_a_mistake_is_one_line_and_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, words in (
        (["beyond", "--out", "file"], "file"),
        (["beyond", "--data-dir", "nowhere"], "data-dir must be a folder, got nowhere"),
    ):
        found = mixscope("reproduce", *arguments, cwd=tmp_path)
        assert found.returncode == 2
        assert words in found.stderr
        assert "Traceback" not in found.stderr
        assert len(found.stderr.splitlines()) == 1
    assert mixscope("reproduce", "nobody2000", cwd=tmp_path).returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
