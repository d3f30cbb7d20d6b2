"""What a newcomer can rely on in every room: short modules, one name a thing, docstrings that say what is there."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "mixscope"
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST = 250  # lines
# Every study has its own of these; everywhere else a name stands once.
OF_EVERY_STUDY = {"study", "runs", "evidence", "exhibits", "claims_networks"}
# A module says what it holds, so its first word is a noun, an adjective or an article.
RIDDLES = {
    "what",
    "who",
    "whom",
    "whose",
    "how",
    "when",
    "where",
    "which",
    "whether",
    "why",
    "from",
    "to",
    "run",
    "measure",
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_is_short_and_begins_with_a_noun(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST
    first = ast.get_docstring(ast.parse(text)).split()[0].strip(":,.").lower()
    assert first not in RIDDLES


def test_a_module_name_occurs_once():
    stems = Counter(path.stem for path in MODULES)
    assert sorted(stem for stem, count in stems.items() if count > 1) == sorted(
        {"__init__", *(stem for stem in OF_EVERY_STUDY if stems[stem] > 1)}
    )
    for stem in OF_EVERY_STUDY:
        assert all(path.parts[-3] == "studies" for path in MODULES if path.stem == stem), stem


def test_architecture_names_modules_that_are_there():
    text = (SOURCE.parents[1] / "docs" / "architecture.md").read_text()
    rooms = text[text.index("## The rooms") : text.index("## Who may import whom")]
    there = {path.stem for path in SOURCE.rglob("*") if path.suffix in ("", ".py")}
    named = {name.rstrip("/").split("/")[-1] for name in re.findall(r"`([a-z_]+/|[a-z_]+)`", rooms)}
    assert sorted(named - there - {"blend", "examine", "class_geometry"}) == []  # functions
