"""Run folders: what is written comes back, what is damaged is named."""

import json
import math
import resource

import pytest
from helpers.hostile_files import SPECIAL, in_seconds

from mixscope.base.errors import UserError
from mixscope.records.environment import SCHEMA, describe_environment, processor_name
from mixscope.records.store import (
    append_metrics,
    files_of_run,
    finite_or_none,
    forget_run,
    read_measured_run,
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


def test_infinite_numbers_come_back_infinite_and_nan_as_nothing(tmp_path):
    folder = make_run(tmp_path)
    append_metrics(folder, {"epoch": 0, "test/loss": math.inf, "train/loss": -math.inf, "nc/nc1_pinv": math.nan})
    (row,) = read_run(folder).metrics
    assert row == {"epoch": 0, "test/loss": math.inf, "train/loss": -math.inf, "nc/nc1_pinv": None}


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
    with pytest.raises(UserError, match=r"must be a run folder with a run\.json, but there is none"):
        read_run(tmp_path)
    for content, message in (
        (b'{"epoch": 0}\nnonsense\n{"epoch": 2}\n', r"metrics\.jsonl line 2 must be readable JSON: Expecting value"),
        (b"[1]\n", r"metrics\.jsonl line 1 must hold a record as an object, got \[1\]$"),
        (b"{}\n", r"metrics\.jsonl line 1 must hold epoch as an integer of at least 0, but it is not there$"),
        (b'{"epoch": 0}\n{"epoch": null}\n', r"line 2 must hold epoch as an integer of at least 0, got None$"),
        (b'{"epoch": 0, "test/error": NaN}\n', r"line 1 must hold test/error as a finite number, .* or null, got nan$"),
        (b"\xff\xfe", r"metrics\.jsonl must be text in UTF-8"),
    ):
        make_run(tmp_path)
        (tmp_path / "metrics.jsonl").write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_run(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    for content, message in (
        (b"{", r"run\.json must be readable JSON"),
        (b"[]", r"run\.json must hold a record as an object, got \[\]$"),
        (b"[" * 100_000, r"run\.json must be readable JSON: it is nested too deeply$"),
        (b'{"schema": 1, "schema": 1}', r"run\.json must be readable JSON: 'schema' stands twice in one object$"),
        (b"1" * 5000, r"run\.json must be readable JSON: Exceeds the limit \(4300 digits\)"),
        (b"\xff", r"run\.json must be text in UTF-8"),
    ):
        (tmp_path / "run.json").write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            read_run(tmp_path)
        assert "set_int" not in str(caught.value)
    for changes, message in (
        ({"schema": 99}, "must hold schema as 1, got 99$"),
        ({"schema": True}, "must hold schema as 1, got True$"),
        ({"description": 5}, "must hold description as an object, got 5$"),
        ({"description": {"seed": "3"}}, "must hold description.seed as an integer or null, got '3'$"),
        ({"data": {"name": "x", "class_names": ["a", 3]}}, r"must hold data\.class_names\[1\] as a string, got 3$"),
        ({"kind": "trian"}, "must hold kind as one of train, measure, got 'trian'$"),
        ({"name": "a\0"}, "must hold name as a string"),
        ({"name": "\ud800"}, "must hold name as a string"),
        ({"wall_seconds": 10**400}, "must hold wall_seconds as a finite number or null, got a huge integer$"),
    ):
        make_run(tmp_path, **changes)
        with pytest.raises(UserError, match=rf"run\.json {message}"):
            read_run(tmp_path)
    write_json(tmp_path / "run.json", {key: value for key, value in RECORD.items() if key != "data"})
    with pytest.raises(UserError, match=r"run\.json must hold data as an object, but it is not there$"):
        read_run(tmp_path)
    make_run(tmp_path)
    pair = {"weight": [0.5], "x1": [1.0], "x2": [1.0], "same": [False]}
    for pictures, message in (
        ({"plane": 3}, "must hold plane as an object, got 3$"),
        (
            {"pairs": pair | {"x1": [1.0, 2.0]}},
            "must hold pairs.weight and pairs.x1 in one length, got 1 and 2 entries",
        ),
        ({"pairs": pair | {"x1": ["1"]}}, r"must hold pairs\.x1\[0\] as a number between .* or null, got '1'$"),
        ({"pairs": {}}, "must hold pairs.weight as a list, but it is not there$"),
    ):
        write_json(tmp_path / "pictures.json", pictures)
        with pytest.raises(UserError, match=rf"pictures\.json {message}"):
            read_run(tmp_path)


def test_a_finished_run_without_numbers_is_not_reported_on(tmp_path):
    make_run(tmp_path, status="running")
    assert read_measured_run(tmp_path).metrics == []
    make_run(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(
        UserError, match=r"metrics\.jsonl must hold what the finished run measured, but it holds nothing$"
    ):
        read_measured_run(tmp_path)


@pytest.mark.parametrize("make", SPECIAL)
@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "pictures.json"])
def test_only_regular_files_are_read_as_records(tmp_path, name, make):
    make_run(tmp_path)
    append_metrics(tmp_path, {"epoch": 0})
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    with in_seconds(20), pytest.raises(UserError, match=r"must be a regular file, got|cannot be read|there is none"):
        read_run(tmp_path)


def test_a_file_of_records_with_holes_is_not_read_beyond_the_ceiling(tmp_path):
    make_run(tmp_path)
    with (tmp_path / "metrics.jsonl").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match=r"metrics\.jsonl: must be at most 256 MiB .*, got 1 TiB$"):
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


CPUINFOS = {
    "an AMD whose model name is a family's": (
        "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\n"
        "processor\t: 1\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n",
        "AMD EPYC (AuthenticAMD, family 25, model 17)",
    ),
    "an Intel": (
        "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\n"
        "model name\t: Intel(R) Xeon(R) Processor\nstepping\t: 8\nflags\t\t: fpu vme\n",
        "Intel(R) Xeon(R) Processor (GenuineIntel, family 6, model 143)",
    ),
    "an ARM without a model name": (
        "processor\t: 0\nBogoMIPS\t: 2100.00\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\n"
        "CPU part\t: 0xd40\nCPU revision\t: 1\n",
        "aarch64 (implementer 0x41, part 0xd40)",
    ),
    "a board that names itself at the end": (
        "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
        "Raspberry Pi 4 Model B Rev 1.4 (implementer 0x41, part 0xd08)",
    ),
    "nothing of use": ("processor\t: 0\nmodel name\t:\nno colon here\n", "aarch64"),
    "an empty file": ("", "aarch64"),
}


@pytest.mark.parametrize(("cpuinfo", "expected"), CPUINFOS.values(), ids=CPUINFOS)
def test_a_processor_is_named_by_what_the_system_says_of_it(cpuinfo, expected):
    assert processor_name(cpuinfo, otherwise="aarch64") == expected


def test_the_environment_names_versions_and_machine():
    environment = describe_environment(device="cpu", num_threads=2)
    assert environment["torch"].startswith("2.")
    assert environment["mixscope"]
    assert environment["num_threads"] == 2
    assert environment["processor"]
    commit = environment["commit"]
    assert commit is None or len(commit.removesuffix("+")) == 40
    json.dumps(environment, allow_nan=False)
