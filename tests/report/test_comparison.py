"""Which method ends lowest, and what the head of the page says."""

import pytest
from finding_helpers import only, run_with_errors
from synthetic_runs import synthetic_run, synthetic_runs

from mixscope.report import headline
from mixscope.report.runs.findings import findings, lead
from mixscope.report.runs.words import Finding


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([5.0, 5.1, 5.2], [5.3, 5.4, 5.5], "lowest"),
        ([5.0, 5.1, 5.3], [5.3, 5.4, 5.5], "undecided"),  # touching ranges
        ([5.0, 5.1], [6.0, 6.1], "undecided"),  # two seeds a side
        ([5.0, 5.1, 5.2], [6.0, 6.1], "undecided"),  # two seeds on one side
    ],
)
def test_lowest_needs_three_seeds_a_side_and_ranges_apart(ours: list[float], theirs: list[float], verdict: str):
    runs = [run_with_errors([error], method="mixup", seed=seed) for seed, error in enumerate(ours)]
    runs += [run_with_errors([error], method="erm", seed=seed) for seed, error in enumerate(theirs)]
    assert only(runs, "comparison").verdict == verdict


def test_lowest_says_how_often_chance_would_do_it():
    runs = [run_with_errors([5.0 + seed], method="mixup", seed=seed) for seed in range(3)]
    runs += [run_with_errors([9.0 + seed], method="erm", seed=seed) for seed in range(3)]
    # 3 + 3 seeds can be divided in 20 ways, 2 of which part the ranges.
    assert "once in 10 comparisons" in only(runs, "comparison").text


def test_a_difference_inside_the_spread_is_never_called_lowest():
    runs = [run_with_errors([e], method="mixup", seed=s) for s, e in enumerate([5.0, 6.0, 7.0])]
    runs += [run_with_errors([e], method="erm", seed=s) for s, e in enumerate([6.5, 7.0, 8.0])]
    text = only(runs, "comparison").text
    assert text.startswith("No method can be said to end lowest")
    assert "inside the spread" in text


def test_different_test_sets_are_not_compared():
    runs = [run_with_errors([5.0], method="mixup"), run_with_errors([9.0], method="erm")]
    runs[1].record["data"]["num_test"] = 10
    assert only(runs, "comparison").verdict == "different data"


def test_an_order_that_changes_between_best_and_end_is_told():
    runs = [run_with_errors([9.0, 5.0, 8.0], method="mixup"), run_with_errors([9.0, 6.5, 6.0], method="erm")]
    (found,) = [finding for finding in findings(runs) if finding.verdict == "order changes"]
    assert "mixup has the lowest mean (5.00%, erm 6.00%)" in found.text


def test_the_headline_names_the_lowest_and_the_overtrained():
    text = headline(synthetic_runs())
    assert text.startswith("mixup, then off ends with the lowest test error")
    assert "mixup is over-trained: +1." in text


def test_the_headline_holds_three_findings_the_largest_of_a_topic_first():
    found = [Finding("calibration", name, "", "", f"{name}.", size) for size, name in enumerate("abcde")]
    assert lead(found) == "e. d. c. And 2 more below."
    assert lead(found[:3]) == "c. b. a."


def test_the_headline_of_many_methods_is_short():
    runs = [run_with_errors([9.0, 5.0 + number / 10], method=f"method {number:02}") for number in range(40)]
    text = headline(runs)
    assert "method 03 5.30% and 36 more; with fewer than 3 seeds a side" in text
    assert len(text) < 400
    assert "and 33 more" in only(runs[::-1], "comparison").text


def test_measured_checkpoints_are_compared_as_checkpoints():
    runs = [
        synthetic_run(name, kind="measure", epochs=[0], **{"test/error": e}) for name, e in (("a", 0.1), ("b", 0.2))
    ]
    text = only(runs, "comparison").text
    assert text.startswith("No checkpoint can be said to be lowest: a has 10.00% (one checkpoint), against b, 20.00%")
    assert "seed" not in text
