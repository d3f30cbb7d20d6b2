import json
import re
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from mixscope import metrics, theory
from mixscope.metrics.blends.blend_reports import ChannelReport, NonlinearityReport
from mixscope.metrics.calibration.calibration_report import CalibrationReport
from mixscope.metrics.calibration.scaling_report import ScalingReport
from mixscope.metrics.cards import cards_of, number
from mixscope.metrics.catalogue import CATALOGUE, LEARNING, OVERTRAINING, STUDIES, find_metric
from mixscope.metrics.collapse.collapse_report import CollapseOnTest, CollapseReport

RECORDS = Path(__file__).parents[2] / "results" / "small" / "records"
REPORTS = {
    "test": CalibrationReport,
    "scaling": ScalingReport,
    "nc": CollapseReport,
    "nc_test": CollapseOnTest,
    "channels": ChannelReport,
    "linearity": NonlinearityReport,
}
EPOCH = ("loss", "loss_floor_gap", "blend_entropy", "consistency", "accuracy_blends", "accuracy_clean", "loss_clean")


def test_every_field_of_a_report_has_a_card_and_every_other_key_x():
    of_reports = {f"{group}/{field.name}" for group, report in REPORTS.items() for field in fields(report)}
    others = {card.key for card in (*LEARNING, *OVERTRAINING, *STUDIES)}
    assert {card.key for card in CATALOGUE} == of_reports | others
    assert {card.key for card in LEARNING} == {f"train/{name}" for name in EPOCH}
    for card in OVERTRAINING:
        function = re.match("`(.*?)`", card.note)[1]
        assert callable(getattr(metrics if function in metrics.__all__ else theory, function)), card.key
    assert len(CATALOGUE) == len(of_reports) + len(others)


def test_the_numbers_of_studies_are_in_their_records():
    wanted = {card.key for card in STUDIES}
    for record in (*RECORDS.glob("digits-*-mixup-seed0-*.json"), *RECORDS.glob("digits-*-decay-seed0-*.json")):
        wanted -= {key for table in json.loads(record.read_text())["tables"].values() for key in table}
    assert wanted == set()


def test_a_field_without_a_card_is_no_number_of_a_report():
    @dataclass(frozen=True)
    class Report:
        told: float = number(symbol="x", title="X", definition="x", source="here", note="")
        bare: float = 0.0

    with pytest.raises(KeyError, match="card"):
        cards_of(Report, "group")


def test_every_card_is_complete():
    for card in CATALOGUE:
        assert card.better in ("low", "high", "none"), card.key
        assert all((card.symbol, card.title, card.definition, card.source, card.note)), card.key
        assert card.low is None or card.high is None or card.low < card.high, card.key
        assert card.unit in ("", "nats", "degrees", "epochs"), card.key


def test_labels_of_axes_columns_and_hover_texts_come_from_the_card():
    card = find_metric("channels/amplification_means")
    assert card.column_title == "amplification"
    assert card.axis_label == "Amplification against the line between class means"
    assert "sum h.m / sum |m|^2" in card.hover
    assert "In (-inf, inf); neither end is good" in card.hover
    assert find_metric("test/loss").axis_label == "Test loss (nats) ↓ better"
    assert find_metric("test/mce").column_title == "MCE"
    titles = [card.column_title for card in CATALOGUE]
    assert len(set(titles)) == len(titles)


def test_a_linearity_key_is_found_whatever_its_site():
    plain = find_metric("linearity/angular")
    assert find_metric("linearity/layer1.0:input/angular") is plain
    assert find_metric("linearity/head/in/angular") is plain
    assert find_metric("test/ece").better == "low"


def test_an_unknown_key_is_answered_with_near_ones():
    with pytest.raises(ValueError, match=r"key must be a metric of the catalogue, got 'nc/nc1_pin' \(did you mean nc/"):
        find_metric("nc/nc1_pin")
    with pytest.raises(ValueError, match=r"got '\?'$"):
        find_metric("?")


def test_the_catalogue_loads_without_torch():
    code = "import sys, mixscope.metrics.catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
