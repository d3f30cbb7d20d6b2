"""What was run on what, and the cautions."""

from synthetic_runs import synthetic_run, synthetic_runs

from mixscope.report.runs.facts import describe_runs, find_cautions
from mixscope.report.runs.groups import group_runs


def test_what_was_run_is_said_of_all_runs_or_as_a_range():
    runs = [synthetic_run("erm"), synthetic_run("mixup")]
    assert describe_runs(group_runs(runs)) == (
        "2 runs of 2 methods on shapes (synthetic) (200 training images, 797 test images, 10 classes), network mlp "
        "(85,002 parameters)."
    )
    runs[1].record["data"]["num_train"] = 1437
    runs[1].record["model"] = {"name": "convnet", "num_parameters": 390890}
    assert describe_runs(group_runs(runs)) == (
        "2 runs of 2 methods on shapes (synthetic) (200 to 1,437 training images, 797 test images, 10 classes), "
        "several networks: mlp and convnet."
    )
    cautions = " ".join(find_cautions(group_runs(runs)))
    assert "The methods use different networks: mlp (85,002 parameters) and convnet (390,890 parameters)." in cautions
    assert "The numbers of training images differ: erm 200 and mixup 1,437." in cautions


def test_equal_runs_need_no_caution():
    assert find_cautions(group_runs(synthetic_runs())) == []


def test_cautions_name_what_only_measured_the_untrained_network():
    runs = [synthetic_run("erm", epochs=[0], status="failed"), synthetic_run("mixup", epochs=[0, 9])]
    cautions = find_cautions(group_runs(runs))
    assert cautions == [
        "Only the untrained network was measured (epoch 0), so that nothing is said about the method: "
        "erm: erm-seed0 (failed).",
        "One seed only: mixup. Nothing is known of its spread.",
    ]


def test_cautions_name_runs_of_one_seed():
    runs = [synthetic_run("mixup", seed=0), synthetic_run("mixup", seed=0)]
    assert find_cautions(group_runs(runs)) == [
        "mixup: runs of one seed count as several and show no spread: mixup-seed0 (seed 0) and mixup-seed0 (seed 0)."
    ]


def test_cautions_of_many_methods_are_short():
    runs = [synthetic_run(f"method {number:02}", epochs=[0, 1]) for number in range(40)]
    (caution,) = find_cautions(group_runs(runs))
    assert "method 05 and 34 more." in caution


def test_cautions_name_unfinished_runs_other_data_and_other_ends():
    runs = [synthetic_run("erm", seed=0, epochs=[0, 5]), synthetic_run("erm", seed=1, epochs=[0], status="failed")]
    runs[1].record["description"] = runs[0].record["description"] | {"seed": 1}
    runs += [synthetic_run("mixup", seed=0, epochs=[0, 9])]
    runs[-1].record["data"]["name"] = "others"
    cautions = " ".join(find_cautions(group_runs(runs)))
    assert "left out of every number because it did not finish: erm-seed1 (failed)" in cautions
    assert "different data" in cautions
    assert "erm 5 and mixup 9" in cautions
