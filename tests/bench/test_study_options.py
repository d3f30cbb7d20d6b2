"""What studies ask of a run: part of the test images, wrong labels, a given classifier, unsupervised mixing."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from mixscope.base.errors import UserError
from mixscope.bench.description import describe_images
from mixscope.bench.options import ConsistencyOptions, DataOptions, MeasureOptions, MixingOptions, TrainOptions
from mixscope.bench.run import read_options, run_training
from mixscope.bench.run_images import choose_labelled, choose_unlabelled, prepare_images, prepare_whole_images
from mixscope.records.store import read_run
from mixscope.training.recipe import Recipe


class Silent:
    """An observer that stops the run after an epoch, where it is told to."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after

    def loading(self, task, done, total):
        pass

    def note(self, message):
        pass

    def epoch_done(self, epoch, num_epochs, values):
        if epoch == self.stop_after:
            raise KeyboardInterrupt


def describe(*, epochs=4, **options):
    options = {
        "data": DataOptions(data="digits", test_size=1500, test_subset=200),
        "training": Recipe(epochs=epochs, batch_size=100, learning_rate=0.02),
        "measuring": MeasureOptions(num_pairs=60, linearity_pairs=20, plane_images=30),
        "measure_every": 1,
        "model": "mlp-32x1",
        "device": "cpu",
    } | options
    return TrainOptions(**options)


def numbers(folder):
    return [{k: v for k, v in line.items() if k != "wall_seconds"} for line in read_run(folder).metrics]


def weights(folder):
    return load_file(folder / "checkpoints" / "weights.safetensors")


def assert_resumes_bit_for_bit(options, tmp_path):
    run_training(options, tmp_path / "whole", observer=Silent(), report=False)
    with pytest.raises(KeyboardInterrupt):
        run_training(options, tmp_path / "broken", observer=Silent(stop_after=3), report=False)
    assert read_options(tmp_path / "broken") == options
    run_training(options, tmp_path / "broken", observer=Silent(), resume=True, report=False)
    assert numbers(tmp_path / "broken") == numbers(tmp_path / "whole")
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(tensor, weights(tmp_path / "broken")[name]), name


def test_a_given_classifier_stays_a_frame_while_the_rest_learns_and_the_run_resumes_bit_for_bit(tmp_path):
    plain = {"mixing": MixingOptions(mixing="none"), "training": Recipe(epochs=6, batch_size=30, learning_rate=0.1)}
    assert_resumes_bit_for_bit(describe(classifier="fixed-etf", **plain), tmp_path)
    head = weights(tmp_path / "whole")["head.weight"]
    gram = (10 / 9) * (torch.eye(10) - 1 / 10)
    torch.testing.assert_close(head @ head.T, gram, rtol=0, atol=1e-6)  # float32: as it was set
    run = read_run(tmp_path / "whole")
    assert run.method == "ERM, fixed classifier"
    assert run.metrics[-1]["test/accuracy"] > run.metrics[0]["test/accuracy"] + 0.2


def test_a_frame_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="classifier fixed-etf needs"):
        run_training(
            describe(classifier="fixed-etf", model="mlp-4x1"), tmp_path / "run", observer=Silent(), report=False
        )
    assert not (tmp_path / "run").exists()


def test_the_test_subset_is_balanced_and_chosen_by_the_split_seed():
    def choose(seed):
        options = DataOptions(data="digits", test_size=1000, test_subset=100, split_seed=seed)
        return prepare_images(options, Silent())

    first, again, other = choose(0), choose(0), choose(1)
    assert torch.bincount(first.test_labels).tolist() == [10] * 10
    assert torch.equal(first.test_images, again.test_images)
    assert not torch.equal(first.test_images, other.test_images)


def test_wrong_labels_are_put_into_both_parts_before_subsets_are_chosen():
    clean = prepare_whole_images(DataOptions(data="digits", test_size=800), Silent())
    noisy = prepare_whole_images(DataOptions(data="digits", test_size=800, label_noise=0.2), Silent())
    assert torch.equal(noisy.train_images, clean.train_images)
    assert int((noisy.train_labels != clean.train_labels).sum()) == round(0.2 * 997)
    assert int((noisy.test_labels != clean.test_labels).sum()) == 160
    assert noisy.notes == f"{clean.notes}; 0.2 of all labels replaced by another class"
    subset = prepare_images(DataOptions(data="digits", test_size=800, label_noise=0.2, subset=100), Silent())
    assert torch.bincount(subset.train_labels).tolist() == [10] * 10
    assert torch.equal(subset.test_labels, noisy.test_labels)
    again = prepare_whole_images(DataOptions(data="digits", test_size=800, label_noise=0.2), Silent())
    assert torch.equal(again.train_labels, noisy.train_labels)


def test_mixing_labels_alone_trains_on_inputs_as_they_are(tmp_path):
    options = describe(mixing=MixingOptions(mixing="label-mixup"), epochs=2)
    run_training(options, tmp_path / "run", observer=Silent(), report=False)
    run = read_run(tmp_path / "run")
    assert run.method == "mixup of labels alone"
    assert run.metrics[-1]["train/blend_entropy"] > 0.1


def describe_consistency(**consistency):
    options = ConsistencyOptions(**({"consistency_points": 3, "consistency_batch": 70} | consistency))
    data = DataOptions(data="digits", test_size=1500, subset=50, test_subset=200)
    recipe = Recipe(epochs=5, batch_size=20, optimizer="adam", learning_rate=0.002)
    return describe(data=data, consistency=options, mixing=MixingOptions(mixing="none"), training=recipe)


@pytest.mark.parametrize("teacher", ["same", "ema"])
def test_unsupervised_mixing_is_recorded_and_resumes_bit_for_bit(tmp_path, teacher):
    assert_resumes_bit_for_bit(describe_consistency(consistency_teacher=teacher, consistency_ramp=0.8), tmp_path)
    run = read_run(tmp_path / "whole")
    assert run.record["data"]["num_train"] == 50
    assert run.record["data"]["num_unlabelled"] == 297
    assert run.record["description"]["consistency"]["consistency_teacher"] == teacher
    assert all(line["train/consistency"] > 0 for line in run.metrics[1:])


def test_unsupervised_mixing_of_weight_0_is_plain_training_bit_for_bit(tmp_path):
    none = describe_consistency(consistency_weight=0.0)
    run_training(none, tmp_path / "none", observer=Silent(), report=False)
    run_training(replace(none, consistency=ConsistencyOptions()), tmp_path / "plain", observer=Silent(), report=False)
    assert numbers(tmp_path / "none") == numbers(tmp_path / "plain")
    for name, tensor in weights(tmp_path / "plain").items():
        assert torch.equal(tensor, weights(tmp_path / "none")[name]), name


def test_the_unlabelled_images_are_part_of_what_a_run_must_find_again():
    whole = prepare_whole_images(DataOptions(data="digits", test_size=1500), Silent())
    data = choose_labelled(whole, DataOptions(data="digits", subset=50))
    prints = [
        describe_images(data, unlabelled=images)["fingerprint"] for images in (None, *whole.train_images[:20].split(10))
    ]
    assert len(set(prints)) == 3


@pytest.mark.parametrize("is_disjoint", [False, True])
def test_unlabelled_images_are_those_before_the_subset_less_the_labelled_ones_where_said(is_disjoint):
    options = DataOptions(data="digits", test_size=1500, subset=50)
    whole = prepare_whole_images(options, Silent())
    labelled = choose_labelled(whole, options).train_images
    consistency = ConsistencyOptions(consistency_points=2, unlabelled_disjoint=is_disjoint)
    chosen = choose_unlabelled(whole, options, consistency)
    assert len(chosen) == 297 - 50 * is_disjoint
    overlap = (chosen[:, None] == labelled[None]).flatten(2).all(dim=2).any(dim=0)
    assert bool(overlap.any()) is not is_disjoint
    assert bool(overlap.all()) is not is_disjoint
    assert choose_unlabelled(whole, options, ConsistencyOptions()) is None
