import runpy
from pathlib import Path

from mixscope.metrics.catalogue import CATALOGUE

DOCS = Path(__file__).parents[2] / "docs"
metric_reference = runpy.run_path(str(DOCS / "build_metrics.py"))["metric_reference"]


def test_the_reference_of_the_metrics_is_up_to_date():
    assert (DOCS / "metrics.md").read_text() == metric_reference(), "run `make docs`"


def test_every_number_is_in_the_reference_once():
    text = metric_reference()
    for card in CATALOGUE:
        assert text.count(f"**`{card.key}`**") == 1
        assert card.definition in text
