"""The records of the small scale that stand in the repository, and what the documentation says of them."""

from pathlib import Path

from mixscope.papers.publish import committed_texts
from mixscope.papers.trial import find_records, read_outcome

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "results" / "small" / "records"


def test_every_record_names_its_hardware_and_a_commit_without_changes():
    for path in find_records(RECORDS).values():
        environment = read_outcome(path).environment
        assert environment["processor"], path.name
        assert len(environment["commit"]) == 40, path.name


def test_the_documentation_says_what_the_records_say():
    for path, text in committed_texts(ROOT).items():
        assert path.read_text() == text, f"{path} is stale: run `make docs`"
