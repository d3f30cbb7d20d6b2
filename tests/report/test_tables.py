"""The tables' rows and columns, and the command that repeats a run."""

from synthetic_runs import synthetic_run, synthetic_runs

from mixscope.report.runs.groups import group_runs
from mixscope.report.runs.runs_page import render_report
from mixscope.report.runs.tables import channel_table, number_rows, option_rows, repeat_command


def test_numbers_are_listed_with_the_catalogue_s_titles_for_every_method():
    changes = {"nc/nc2_etf_means": 1.1e-16, "nc/nc3_alignment": 0.25}
    for run in (synthetic_run(kind="measure", epochs=[0], **changes), synthetic_run(epochs=[0, 10], **changes)):
        rows = {row.title: row.cells[0].text for row in number_rows(group_runs([run]), "nc/")}
        assert rows["NC2: class means against a simplex"] == "0"
        assert rows["NC3: angle between classifier and class mean"] == "0.25"
        assert len(rows) == sum(key.startswith("nc/") for key in run.metrics[-1])
        assert "NC3: angle between classifier and class mean" in render_report([run], title="A title")
    runs = [synthetic_run("erm", epochs=[0, 10]), synthetic_run(kind="measure", epochs=[0])]
    assert all(len(row.cells) == 2 for row in number_rows(group_runs(runs), "nc/"))
    assert number_rows(group_runs(runs), "nowhere/") == []


def test_numbers_beside_curves_are_folded_away_and_numbers_without_curves_are_open():
    fold = "numbers after the last epoch</summary>"
    assert fold in render_report([synthetic_run(epochs=[0, 10])], title="A title")
    assert fold not in render_report([synthetic_run(kind="measure", epochs=[0], has_pictures=False)], title="A title")


def test_two_classes_have_no_order_columns_but_a_note():
    runs = [synthetic_run(class_names=["cat", "dog"]), synthetic_run("erm")]
    table = channel_table(group_runs(runs[:1]))
    assert table is not None
    assert not [column for column in table.columns if "order" in column.heading]
    assert "there is no order along a channel" in render_report(runs[:1], title="A title")
    table = channel_table(group_runs(runs))
    assert table is not None
    place = [column.heading for column in table.columns].index("order, even")
    assert [cells[place].text for _, cells in table.rows[1:]] == ["–", "6.62"]


def test_options_that_differ_come_first_and_seeds_are_joined():
    different, shared = option_rows(group_runs(synthetic_runs(num_seeds=2)))
    assert "mixing.type" in dict(different)
    assert dict(shared)["seed"] == ["0, 1"] * 3
    assert dict(shared)["training.batch_size"] == ["50"] * 3


def test_the_command_repeats_the_run_and_is_quoted_for_the_shell():
    assert repeat_command(synthetic_run("mixup, then off")) == "mixscope train --from 'runs/mixup, then off-seed0'"


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
