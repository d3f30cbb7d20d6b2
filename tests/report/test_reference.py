from pathlib import Path

from mixscope.metrics.catalogue import CATALOGUE
from mixscope.report.reference import metric_reference

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_of_the_metrics_is_up_to_date():
    assert (DOCS / "metrics.md").read_text() == metric_reference(), "run `make docs`"


def test_every_number_is_in_the_reference_once():
    text = metric_reference()
    for card in CATALOGUE:
        assert text.count(f"**`{card.key}`**") == 1
        assert card.definition in text
