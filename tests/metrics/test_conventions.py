import doctest
from pathlib import Path

CONVENTIONS = Path(__file__).parents[2] / "docs" / "conventions.md"


def test_the_worked_numbers_are_what_the_code_gives() -> None:
    failures, examples = doctest.testfile(str(CONVENTIONS), module_relative=False)
    assert examples > 20
    assert failures == 0
