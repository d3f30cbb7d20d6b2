"""The records of the small scale that stand in the repository, and what the documentation says of them."""

from pathlib import Path

import pytest

from mixscope.studies.engine.publish import committed_texts
from mixscope.studies.engine.trial import find_records, read_outcome
from mixscope.studies.names import STUDY_KEYS, load_study

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "results" / "small" / "records"


@pytest.fixture(scope="module")
def trials():
    return {trial.digest: trial for key in STUDY_KEYS for trial in load_study(key).trials("small", None)}


def test_every_run_of_the_small_scale_has_a_record_and_no_other_is_kept(trials):
    records = find_records(RECORDS)
    missing = [trial.name for digest, trial in trials.items() if digest not in records]
    assert missing == []
    assert [path.name for digest, path in records.items() if digest not in trials] == []


def test_every_record_names_its_hardware_and_a_commit_without_changes():
    for path in find_records(RECORDS).values():
        environment = read_outcome(path).environment
        assert environment["processor"], path.name
        assert len(environment["commit"]) == 40, path.name


def test_the_documentation_says_what_the_records_say():
    for path, text in committed_texts(ROOT).items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is stale: run `make docs`"
