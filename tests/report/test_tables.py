"""The tables' rows and columns, and the command that repeats a run."""

from dataclasses import replace
from pathlib import Path

from finding_helpers import only, run_with_errors
from synthetic_runs import synthetic_run, synthetic_runs

from mixscope.metrics.catalogue import find_metric
from mixscope.report.figures.curve_figure import turning_figure
from mixscope.report.page import Cell
from mixscope.report.rendering import render_page
from mixscope.report.runs.facts import repeat_command
from mixscope.report.runs.groups import group_runs
from mixscope.report.runs.runs_page import runs_page
from mixscope.report.runs.tables import channel_table, number_table, option_tables, short_table, summary_table


def html_of(runs):
    return render_page(runs_page(runs, title="A title"))


def test_numbers_are_listed_with_the_catalogue_s_titles_for_every_method():
    changes = {"nc/nc2_etf_means": 1.1e-16, "nc/nc3_alignment": 0.25}
    for run in (synthetic_run(kind="measure", epochs=[0], **changes), synthetic_run(epochs=[0, 10], **changes)):
        rows = {row[0]: row[1] for row in number_table(group_runs([run]), "nc/").words}
        assert rows["NC2: class means against a simplex"] == "0"
        assert rows["NC3: angle between classifier and class mean"] == "0.25"
        assert len(rows) == sum(key.startswith("nc/") for key in run.metrics[-1])
        assert "NC3: angle between classifier and class mean" in html_of([run])
    runs = [synthetic_run("erm", epochs=[0, 10]), synthetic_run(kind="measure", epochs=[0])]
    assert all(len(row) == 3 for row in number_table(group_runs(runs), "nc/").rows)
    assert number_table(group_runs(runs), "nowhere/") is None


def test_numbers_are_folded_away_but_for_the_short_table():
    runs = [synthetic_run(epochs=[0, 10])]
    assert "numbers after the last epoch</summary>" in html_of(runs)
    (measured,) = group_runs([synthetic_run(kind="measure", epochs=[0])])
    assert number_table([measured], "nc/").fold == "8 numbers"
    assert all(table.fold for table in option_tables([measured]) if table.rows)
    assert not short_table(measured).fold


def test_the_short_table_has_titles_and_intervals_not_keys():
    run = synthetic_run(kind="measure", epochs=[0], **{"test/error": 0.05, "test/signed_gap": 0.1})
    run.metrics[0] |= {"scaling/temperature": 1.25, "scaling/temperature_low": 1.0, "scaling/temperature_high": 1.5}
    run.metrics[0]["test/signed_gap_error"] = 0.02
    run.record["data"]["num_test"] = 100
    rows = {row[0].text: (row[1].text, row[1].note) for row in short_table(group_runs([run])[0]).rows}
    assert rows["Test error"] == ("5.00%", "[1.64, 11.28]")  # Clopper and Pearson's of 5 of 100
    assert rows["Confidence minus accuracy"] == ("+0.100", "[+0.060, +0.140]")  # 1.98 standard errors
    assert rows["Temperature that mends the confidence"] == ("1.25", "[1.00, 1.50]")
    assert not any("/" in title for title in rows)


def test_two_classes_have_no_order_columns_but_a_note():
    runs = [synthetic_run(class_names=["cat", "dog"]), synthetic_run("erm")]
    table = channel_table(group_runs(runs[:1]))
    assert table is not None
    assert not [heading for heading in table.headings if "order" in heading]
    assert "there is no order along a channel" in html_of(runs[:1])
    table = channel_table(group_runs(runs))
    assert table is not None
    place = table.headings.index("order, even")
    assert [row[place] for row in table.words[1:]] == ["–", "6.62"]


def test_options_that_differ_come_first_and_seeds_are_joined():
    different, shared = (
        {path: values for path, *values in table.words} for table in option_tables(group_runs(synthetic_runs(2)))
    )
    assert "mixing.type" in different
    assert shared["seed"] == ["0, 1"] * 3
    assert shared["training.batch_size"] == ["50"] * 3


def test_the_command_repeats_the_run_and_is_quoted_for_the_shell():
    assert repeat_command(synthetic_run("mixup, then off")) == "mixscope train --from 'runs/mixup, then off-seed0'"


def test_no_command_is_given_for_the_record_of_a_study():
    assert repeat_command(replace(synthetic_run(), folder=Path("records/digits-200-erm-seed0.json"))) == "–"


def test_a_measurement_is_repeated_from_its_own_options():
    run = synthetic_run(kind="measure", epochs=[0])
    run.record["description"] = {
        "model": "nets.py:make",
        "weights": "/my weights.pt",
        "head": None,
        "data": {"data": "digits", "flip": False, "test_size": 0.2},
        "measuring": {"sites": ["a", "b"]},
    }
    assert repeat_command(run) == (
        "mixscope measure nets.py:make --weights '/my weights.pt' --data digits --no-flip --test-size 0.2 --sites a,b"
    )


def test_a_column_is_explained_by_its_own_card():
    meanings = dict(channel_table(group_runs([synthetic_run()])).meanings)
    assert meanings["amplification"] == find_metric("channels/amplification_means").hover
    assert meanings["amplification"].startswith("Amplification against the line between class means")


def test_end_minus_best_is_the_same_number_in_table_text_and_chart():
    # Falls, rests at 6%, rises to 8% from the middle on; a single lucky last measurement of 7% in each seed.
    errors = [50.0, *[6.0] * 40, *[8.0] * 39, 7.0]
    runs = [run_with_errors(errors, seed=seed) for seed in range(3)]
    table = summary_table(group_runs(runs))
    row = dict(zip(table.headings, table.rows[0], strict=True))
    assert row["test error, best"] == Cell("6.00%", "epoch 3")
    assert row["end − best"].text == "+1.50"
    assert "lowest at epoch 3, 6.00%, and ends at 7.50%" in only(runs, "over-training").text
    (ring,) = [t for t in turning_figure(group_runs(runs), "test/error", height=300).plot["data"] if "text" in t]
    assert (ring["x"], ring["text"]) == ([3], ["6.00% at 3"])
