import subprocess
import sys
from dataclasses import fields

import pytest

from mixscope.metrics.blends.channels import ChannelReport
from mixscope.metrics.blends.linearity import NonlinearityReport
from mixscope.metrics.catalogue import CATALOGUE, find_metric
from mixscope.metrics.collapse.held_out import CollapseOnTest
from mixscope.metrics.collapse.neural_collapse import CollapseReport


@pytest.mark.parametrize(
    ("group", "report", "others"),
    [
        ("nc", CollapseReport, set()),
        ("nc_test", CollapseOnTest, {"nc4_mismatch", "nearest_mean_accuracy"}),  # of NearestMeanCounts
        ("channels", ChannelReport, {"theory_residual"}),  # of the fit of theory's curve
        ("linearity", NonlinearityReport, set()),
    ],
)
def test_every_field_of_a_report_is_listed_and_nothing_else(group: str, report: type, others: set[str]) -> None:
    listed = {entry.key.removeprefix(f"{group}/") for entry in CATALOGUE if entry.key.startswith(f"{group}/")}
    assert listed == {field.name for field in fields(report)} | others


def test_every_entry_is_complete_and_its_key_is_its_own() -> None:
    assert len({entry.key for entry in CATALOGUE}) == len(CATALOGUE)
    for entry in CATALOGUE:
        assert entry.better in ("low", "high", "none"), entry.key
        assert all((entry.symbol, entry.title, entry.definition, entry.source, entry.note)), entry.key
        assert entry.low is None or entry.high is None or entry.low < entry.high, entry.key
        assert entry.unit in ("", "nats", "degrees", "epochs"), entry.key


def test_records_keys_of_training_and_test_are_listed() -> None:
    expected = {
        *(f"train/{name}" for name in ("loss", "loss_floor_gap", "blend_entropy", "consistency", "accuracy_blends")),
        *(f"train/{name}" for name in ("accuracy_clean", "loss_clean")),
        *(f"test/{name}" for name in ("error", "accuracy", "loss", "brier", "signed_gap", "mean_confidence")),
        *(f"test/{name}" for name in ("ece", "ece_equal_mass", "mce", "classwise_ece")),
    }
    assert {entry.key for entry in CATALOGUE if entry.key.startswith(("train/", "test/"))} == expected


def test_a_linearity_key_is_found_whatever_its_site() -> None:
    plain = find_metric("linearity/angular")
    assert find_metric("linearity/layer1.0:input/angular") is plain
    assert find_metric("linearity/head/in/angular") is plain
    assert find_metric("test/ece").better == "low"


def test_an_unknown_key_is_answered_with_near_ones() -> None:
    with pytest.raises(ValueError, match=r"key must be a metric of the catalogue, got 'nc/nc1_pin' \(did you mean nc/"):
        find_metric("nc/nc1_pin")
    with pytest.raises(ValueError, match=r"got '\?'$"):
        find_metric("?")


def test_the_catalogue_loads_without_torch() -> None:
    code = "import sys, mixscope.metrics.catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
