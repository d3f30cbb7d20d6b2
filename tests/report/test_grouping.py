"""Runs grouped by method, and their names."""

from synthetic_runs import synthetic_run

from mixscope.report.runs.groups import group_runs


def test_runs_of_one_label_with_other_options_are_other_methods():
    runs = [synthetic_run("mixup", seed=seed) for seed in range(4)]
    for run, rate in zip(runs, (0.1, 0.1, 0.2, 0.2), strict=True):
        run.record["description"] |= {
            "training": {"learning_rate": rate, "epochs": 5},
            "seed": run.seed,
            "device": "cpu",
        }
    runs[1].record["description"]["device"] = "cuda"
    methods = group_runs(runs)
    assert [(method.name, len(method.runs)) for method in methods] == [
        ("mixup (learning_rate 0.1)", 2),
        ("mixup (learning_rate 0.2)", 2),
    ]


def test_options_in_names_are_words_and_an_option_at_null_is_the_same_as_none():
    runs = [synthetic_run("mixup", seed=seed) for seed in range(3)]
    for run, options in zip(runs, ({"subset": None}, {}, {"subset": 100, "flip": True}), strict=True):
        run.record["description"] = {"data": options, "seed": run.seed}
    assert [(method.name, len(method.runs)) for method in group_runs(runs)] == [
        ("mixup (subset –, flip –)", 2),
        ("mixup (subset 100, flip true)", 1),
    ]


def test_names_hold_at_most_three_options_those_that_tell_most_apart_and_no_two_are_equal():
    options = [
        {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1},
        {"a": 2, "b": 1, "c": 1, "d": 2, "e": 1},
        {"a": 2, "b": 2, "c": 1, "d": 3, "e": 1},
        {"a": 2, "b": 2, "c": 2, "d": 4, "e": 1},
        {"a": 2, "b": 2, "c": 2, "d": 4, "e": 2},
    ]
    runs = [synthetic_run("mixup") for _ in options]
    for run, description in zip(runs, options, strict=True):
        run.record["description"] = description
    assert [method.name for method in group_runs(runs)] == [
        "mixup (a 1, d 1, e 1, …)",
        "mixup (a 2, d 2, e 1, …)",
        "mixup (a 2, d 3, e 1, …)",
        "mixup (a 2, d 4, e 1, …)",
        "mixup (a 2, d 4, e 2, …)",
    ]
    path = "/somewhere/far/away/in/a/folder"
    for run, place in zip(runs, "12345", strict=True):
        run.record["description"] = {"data": f"/{place}{path}"}
    names = [method.name for method in group_runs(runs)]
    assert names[:2] == ["mixup (data …re/far/away/in/a/folder)", "mixup (data …re/far/away/in/a/folder) [2]"]
    assert len(set(names)) == 5
