"""Run folders: what is written comes back, what is damaged is named."""

import json
import math
import resource

import pytest

from mixscope._errors import UserError
from mixscope.records.record import SCHEMA, describe_environment
from mixscope.records.store import (
    append_metrics,
    files_of_run,
    finite_or_none,
    forget_run,
    read_run,
    write_json,
    write_metrics,
)

RECORD = {
    "schema": SCHEMA,
    "name": "a",
    "method": "ERM",
    "description": {"seed": 3},
    "data": {"name": "digits"},
    "model": {"name": "mlp"},
    "environment": {},
    "status": "finished",
}


def make_run(folder, **changes):
    write_json(folder / "run.json", RECORD | changes)
    return folder


def test_a_run_comes_back_as_it_was_written(tmp_path):
    make_run(tmp_path)
    append_metrics(tmp_path, {"epoch": 0, "test/error": 0.5})
    append_metrics(tmp_path, {"epoch": 1, "test/error": math.nan})
    write_json(tmp_path / "pictures.json", {"epoch": 1})
    run = read_run(tmp_path)
    assert (run.name, run.method, run.seed) == ("a", "ERM", 3)
    assert run.metrics == [{"epoch": 0, "test/error": 0.5}, {"epoch": 1, "test/error": None}]
    assert run.pictures == {"epoch": 1}


def test_a_run_without_metrics_pictures_or_seed_is_a_run(tmp_path):
    run = read_run(make_run(tmp_path, description={}))
    assert (run.metrics, run.pictures, run.seed) == ([], {}, None)


def test_metrics_are_written_anew_from_the_lines_that_were_appended(tmp_path):
    make_run(tmp_path)
    lines = [append_metrics(tmp_path, {"epoch": epoch, "test/error": 1 / 3}) for epoch in range(4)]
    text = (tmp_path / "metrics.jsonl").read_bytes()
    assert "".join(lines).encode() == text
    write_metrics(tmp_path, lines[:3])
    assert [line["epoch"] for line in read_run(tmp_path).metrics] == [0, 1, 2]
    write_metrics(tmp_path, lines)
    assert (tmp_path / "metrics.jsonl").read_bytes() == text


def test_a_line_that_finds_no_room_is_not_left_half_written(tmp_path):
    before = append_metrics(tmp_path, {"epoch": 0})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, limits[1]))
    try:
        with pytest.raises(OSError, match=r"metrics.jsonl"):
            append_metrics(tmp_path, {"epoch": 1})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_a_last_line_cut_short_by_a_crash_is_dropped(tmp_path):
    make_run(tmp_path)
    append_metrics(tmp_path, {"epoch": 0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 1, "test/er')
    assert read_run(tmp_path).metrics == [{"epoch": 0}]


def test_damage_is_named_with_file_and_line(tmp_path):
    with pytest.raises(UserError, match=r"must be a run folder with a run.json, but there is none"):
        read_run(tmp_path)
    make_run(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 0}\nnonsense\n{"epoch": 2}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl line 2 must be JSON"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run.json must be readable JSON"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(UserError, match=r"run.json must hold a JSON object, got list"):
        read_run(tmp_path)
    make_run(tmp_path, schema=99)
    with pytest.raises(UserError, match=r"run.json must have schema 1, got 99"):
        read_run(tmp_path)
    make_run(tmp_path, description=5)
    with pytest.raises(UserError, match=r"run.json must hold description as an object, got 5"):
        read_run(tmp_path)
    write_json(tmp_path / "run.json", {key: value for key, value in RECORD.items() if key != "data"})
    with pytest.raises(UserError, match=r"run.json must hold data as an object, got None"):
        read_run(tmp_path)
    make_run(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("[1]\n")
    with pytest.raises(UserError, match=r"metrics.jsonl line 1 must be a JSON object with an epoch"):
        read_run(tmp_path)
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"metrics.jsonl must be text in UTF-8"):
        read_run(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    write_json(tmp_path / "pictures.json", {"plane": 3})
    with pytest.raises(UserError, match=r"pictures.json must hold plane as an object, got 3"):
        read_run(tmp_path)


def test_forgetting_a_run_removes_only_what_runs_write(tmp_path):
    make_run(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for name in ("thesis.txt", "metrics.jsonl", "report.html", "checkpoints/last.pt", "checkpoints/mine.pt"):
        (tmp_path / name).write_text("x")
    assert files_of_run(tmp_path) == ["metrics.jsonl", "checkpoints/last.pt", "run.json"]
    forget_run(tmp_path)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["checkpoints/mine.pt", "thesis.txt"]
    assert files_of_run(tmp_path) == []


def test_numbers_json_lacks_become_null():
    values = {"a": [math.inf, 1.0, {"b": -math.inf}], "c": (math.nan, 2), "d": "x", "e": True}
    assert finite_or_none(values) == {"a": [None, 1.0, {"b": None}], "c": [None, 2], "d": "x", "e": True}


def test_the_environment_names_versions_and_machine():
    environment = describe_environment(device="cpu", num_threads=2)
    assert environment["torch"].startswith("2.")
    assert environment["mixscope"]
    assert environment["num_threads"] == 2
    assert environment["processor"]
    commit = environment["commit"]
    assert commit is None or len(commit.removesuffix("+")) == 40
    json.dumps(environment, allow_nan=False)
