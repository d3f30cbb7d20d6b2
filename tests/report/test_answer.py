"""The answer first: confidence with its interval, what mends it, pairs in one sentence, and the text of a page."""

import re
from dataclasses import replace

import pytest
from finding_helpers import final, only, run_with_errors
from synthetic_runs import synthetic_run, synthetic_runs

from mixscope.report.runs.confidence_findings import gap_margin
from mixscope.report.runs.findings import findings, method_findings
from mixscope.report.runs.groups import group_runs
from mixscope.report.runs.page_text import page_text
from mixscope.report.runs.paired_findings import ComparedPair, find_pairs, pair_table
from mixscope.report.runs.runs_page import runs_page
from mixscope.report.runs.tables import short_table
from mixscope.report.runs.words import number_words
from mixscope.stats.intervals import Interval
from mixscope.stats.paired import PairedComparison

SCALING = {
    "temperature": 1.32,
    "temperature_low": 1.2,
    "temperature_high": 1.45,
    "loss": 0.36,
    "loss_change_low": -0.06,
    "loss_change_high": -0.04,
    "ece": 0.012,
    "ece_change_low": -0.045,
    "ece_change_high": -0.03,
}
BEFORE = {"test/loss": 0.41, "test/ece": 0.051}


def scaled(**changes):
    return {f"scaling/{key}": value for key, value in (SCALING | changes).items()} | BEFORE


def test_over_confidence_is_told_in_points_with_the_interval_of_its_own_error():
    runs = final(seeds=1, **{"test/signed_gap": 0.041, "test/signed_gap_error": 0.006, "test/ece": 0.051})
    runs[0].record["data"]["num_test"] = 10_000
    found = only(runs, "calibration")
    assert found.verdict == "over-confident"
    assert found.text.startswith("mixup is over-confident by 4.1 points (95% interval 2.9 to 5.3)")
    assert found.brief == "mixup is over-confident by 4.1 points (95% interval 2.9 to 5.3)."


def test_under_confidence_is_a_positive_number_of_points_too():
    runs = final(seeds=1, **{"test/signed_gap": -0.1, "test/signed_gap_error": 0.01, "test/accuracy": 0.9})
    runs[0].metrics[-1]["test/mean_confidence"] = 0.8
    text = only(runs, "calibration").text
    assert "mixup is under-confident by 10.0 points (95% interval 8.0 to 12.0): its mean confidence is 80.0%" in text


def test_several_seeds_show_their_range_beside_the_interval():
    runs = [
        synthetic_run(seed=seed, epochs=[1], **{"test/signed_gap": gap, "test/signed_gap_error": 0.01})
        for seed, gap in enumerate([0.1, 0.12])
    ]
    assert "by 11.0 points (95% interval 9.0 to 13.0; 10.0 to 12.0 over 2 seeds)" in only(runs, "calibration").text


def test_the_margin_is_student_s_of_the_recorded_error():
    runs = final(seeds=1, **{"test/signed_gap": 0.1, "test/signed_gap_error": 0.02})
    runs[0].record["data"]["num_test"] = 7
    assert gap_margin(group_runs(runs)[0]) == pytest.approx(2.2281 * 0.02, rel=1e-4)  # 10 degrees of freedom


UNDECIDED = {
    "few images": final(seeds=1, **{"test/signed_gap": 0.05, "test/signed_gap_error": 0.04}),
    "seeds on both sides": [
        synthetic_run(seed=seed, epochs=[1], **{"test/signed_gap": gap}) for seed, gap in enumerate([0.1, -0.01])
    ],
    "one seed's course": [run_with_errors([9.0, 5.0, 6.0])],
    "two seeds' courses": [run_with_errors([9.0, 6.0, e], seed=s) for s, e in enumerate([7.2, 6.0])],
    "single seeds compared": [run_with_errors([5.0]), run_with_errors([6.0], method="erm")],
    "seeds inside the spread": [
        run_with_errors([e], method=m, seed=s)
        for m, es in {"a": [5, 6, 7], "b": [6, 7, 8]}.items()
        for s, e in enumerate(es)
    ],
    "channels in some seeds": [
        synthetic_run(seed=s, epochs=[400], **{"channels/amplification_means": a}) for s, a in enumerate([1.9, 1.2])
    ],
}


@pytest.mark.parametrize("name", UNDECIDED)
def test_what_is_undecided_has_an_estimate_and_an_interval(name):
    found = [finding for finding in findings(UNDECIDED[name]) if finding.verdict == "undecided"]
    assert found
    for finding in found:
        assert re.search(r"95% interval", finding.text), finding.text


def test_a_temperature_that_mends_is_told_with_what_it_does():
    found = only(final(seeds=1, **scaled()), "scaling")
    assert found.verdict == "mends"
    assert found.text == (
        "Divide the logits of mixup by 1.32 (95% interval 1.20 to 1.45): ECE 0.051 → 0.012 (change −0.045 to −0.030), "
        "loss 0.410 → 0.360 (change −0.060 to −0.040); each half of the test images was judged by the other's "
        "temperature, intervals are 95%."
    )
    assert found.brief == "Divide the logits of mixup by 1.32 (95% interval 1.20 to 1.45): ECE 0.051 → 0.012."


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(-0.1, -0.001, "mends"), (-0.1, 0.001, "little to gain"), (0.001, 0.1, "worse")]
)
def test_a_temperature_mends_only_where_the_loss_falls_for_certain(low, high, verdict):
    changes = scaled(loss_change_low=low, loss_change_high=high)
    assert only(final(seeds=1, **changes), "scaling").verdict == verdict


def test_a_temperature_that_lowers_the_loss_but_not_the_ece_is_headed_by_the_loss():
    found = only(final(seeds=1, **scaled(ece=0.06)), "scaling")
    assert "; the loss falls, the ECE does not; each half" in found.text
    assert found.brief == "Divide the logits of mixup by 1.32 (95% interval 1.20 to 1.45): loss 0.410 → 0.360."


def test_ends_of_a_temperature_that_no_logits_are_divided_by_are_not_written_out():
    runs = final(seeds=1, **scaled(temperature_low=1e-88, temperature_high=1e88))
    assert "1.32 (95% interval below 0.01 to above 100)" in only(runs, "scaling").text
    table = short_table(group_runs(runs)[0])
    assert "[below 0.01, above 100]" in str(table.rows)


def test_a_measurement_that_found_no_temperature_says_why():
    changes = {"test/signed_gap_error": 0.01, "test/error": 0.0}
    found = only([synthetic_run(kind="measure", epochs=[0], **changes)], "scaling")
    assert found.text == (
        "No temperature was fitted for mixup: every answer is right, so the loss falls the smaller it is."
    )
    changes["test/error"] = 0.5
    found = only([synthetic_run(kind="measure", epochs=[0], **changes)], "scaling")
    assert "or one half of them, have no best one" in found.text
    assert not [f for f in findings(final(seeds=1, **changes)) if f.topic == "scaling"]  # a training under way


def test_an_interval_of_a_gap_ends_at_a_hundred_points_and_one_image_is_one():
    runs = final(seeds=1, **{"test/signed_gap": -0.5, "test/signed_gap_error": 0.3})
    runs[0].record["data"]["num_test"] = 1
    text = only(runs, "calibration").text
    assert "cannot be told from one test image: mean confidence minus accuracy is −50.0 points" in text
    assert "(95% interval −100.0 to " in text


def test_huge_numbers_are_not_written_out():
    assert number_words(1.0293e30, ".3f") == "1.03e+30"
    assert number_words(12345.678, ".2f") == "12345.68"


def test_records_without_scaling_say_nothing_about_it():
    assert not [finding for finding in findings(final()) if finding.topic == "scaling"]


@pytest.mark.parametrize(
    ("trace", "verdict"),
    [(0.09, "collapsed"), (0.0901, "partly collapsed"), (1.0, "partly collapsed"), (1.01, "not collapsed")],
)
def test_collapse_is_told_by_the_scatter_in_classes_over_that_between_them(trace, verdict):
    assert only(final(**{"nc/nc1_trace": trace}), "collapse").verdict == verdict


def test_one_checkpoint_says_what_would_tell_whether_it_was_trained_too_long():
    text = only([synthetic_run(kind="measure", epochs=[0], **{"train/loss_clean": 0.01})], "over-training").text
    assert "its training loss is 0.010" in text
    assert "measure that too, and compare both with mixscope report" in text


def compared(**changes):
    numbers = {
        "num_examples": 1000,
        "first_error": 0.063,
        "second_error": 0.051,
        "only_first_wrong": 20,
        "only_second_wrong": 8,
        "p_value": 0.0357,
        "loss": Interval(-0.021, -0.034, -0.008),
        "ece": Interval(0.010, -0.002, 0.022),
    }
    return ComparedPair("A", "B", PairedComparison(**(numbers | changes)))


def test_two_checkpoints_are_compared_in_one_sentence():
    (found,) = find_pairs([compared()])
    assert found.text == (
        "B errs on 12 fewer of 1,000 images than A (5.10% against 6.30%; McNemar's exact p = 0.036); its loss is 0.021 "
        "lower (95% interval 0.008 to 0.034), its ECE 0.010 higher (95% interval −0.002 to 0.022: undecided)."
    )
    assert (found.verdict, found.method) == ("better", "B")
    (found,) = find_pairs([replace(compared(), by_labels=True)])
    assert found.text.endswith("The images are taken for the same because their labels are, in their order.")


@pytest.mark.parametrize(("p", "words"), [(0.0501, "0.0501: undecided"), (0.04996, "0.04996)"), (0.05, "0.05: undec")])
def test_a_p_value_shows_on_which_side_of_the_limit_it_lies(p, words):
    (found,) = find_pairs([compared(p_value=p)])
    assert f"p = {words}" in found.text


def test_several_pairs_are_corrected_and_then_undecided():
    found = find_pairs([compared(), compared(p_value=0.5, only_second_wrong=28), compared(p_value=1e-9)])
    assert [finding.verdict for finding in found] == ["undecided", "undecided", "better"]
    assert "p = 0.036, 0.071 after Holm's correction for 3 comparisons: undecided" in found[0].text
    assert "B errs on 8 more of 1,000 images than A" in found[1].text
    assert "p < 0.0001, < 0.0001 after Holm's correction" in found[2].text
    table = pair_table([compared(), compared(p_value=1e-9)])
    assert table.headings[4:6] == ["McNemar p", "p after Holm"]
    assert pair_table([]) is None


def test_methods_compared_in_pairs_are_not_compared_again():
    runs = [run_with_errors([e], method=m, kind="measure") for m, e in (("A", 6.3), ("B", 5.1))]
    topics = [finding.topic for finding in method_findings(group_runs(runs), [compared()])]
    assert topics.count("pairs") == 1
    assert "comparison" not in topics


def test_runs_on_other_data_do_not_hide_the_comparison_of_those_that_share_theirs():
    runs = [run_with_errors([e], method=m) for m, e in (("a", 5.0), ("b", 6.0), ("c", 1.0), ("d", 2.0), ("e", 3.0))]
    for run, name in zip(runs, ["digits", "digits", "cifar10", "cifar10", "mnist"], strict=True):
        run.record["data"]["name"] = name
    texts = [finding.text for finding in findings(runs) if finding.topic == "comparison"]
    assert len(texts) == 2
    assert texts[0].startswith("On digits: No method can be said to end lowest: a ends at 5.00%")
    assert texts[1].startswith("On cifar10: No method can be said to end lowest: c ends at 1.00%")
    assert "mnist" not in " ".join(texts)


def test_checkpoints_of_one_name_are_called_by_their_folders():
    runs = [synthetic_run("best", kind="measure", epochs=[0]) for _ in range(2)]
    for run, folder in zip(runs, ("before", "after"), strict=True):
        run.record["name"] = folder
        run.record["description"]["weights"] = f"/{folder}/best.pt"
    assert [method.name for method in group_runs(runs)] == ["before", "after"]


def test_the_text_of_a_page_begins_with_findings_and_ends_with_where_from():
    run = synthetic_run(kind="measure", epochs=[0], **scaled())
    page = runs_page([run], title="mine")
    text = page_text(page, width=80)
    order = [
        "mine",
        "Confidence: ",
        "What mends it: ",
        "Collapse: ",
        "Channels: ",
        "Test error",
        "1 measured checkpoint",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert max(map(len, text.split("\n"))) <= 80
    assert not re.search(r"\b(test|nc|scaling|channels)/", text)


def test_the_text_of_many_methods_is_short_and_says_what_is_left_out():
    runs = [run_with_errors([9.0, 5.0 + number / 10], method=f"method {number:02}") for number in range(40)]
    text = page_text(runs_page(runs, title="many"))
    assert len(text.split("\n")) < 120
    assert "more findings stand on the page." in text
    everything = page_text(runs_page(synthetic_runs(1), title="three"))
    assert "more findings" not in everything
