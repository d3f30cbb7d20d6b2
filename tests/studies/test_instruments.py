"""What the studies read off a network: against slow twins, and without a trace left in it."""

import copy
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mixscope.bench.build import build_bench
from mixscope.bench.observer import SILENT
from mixscope.bench.options import DataOptions, MixingOptions, TrainOptions
from mixscope.bench.recorder import Recorder
from mixscope.studies.engine.instruments import INSTRUMENTS, PLANE_POINTS
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.training.recipe import Recipe

OPTIONS = TrainOptions(
    data=DataOptions("digits", test_size=1597),
    mixing=MixingOptions(mixing="none"),
    training=Recipe(epochs=2, batch_size=50, learning_rate=0.05),
    device="cpu",
    threads=1,
)


@pytest.fixture(scope="module", params=["mlp", "convnet"])
def bench(request):
    return build_bench(replace(OPTIONS, model=request.param), folder=Path(), tracker=None, observer=SILENT)


def reader(bench, name):
    """Return a recorder that reads one instrument and nothing else."""
    return Recorder(bench, instruments={name: INSTRUMENTS[name]}, is_measured=False)


def read(bench, name):
    return reader(bench, name).measure(0, test=False)[1]


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_an_instrument_leaves_the_network_as_it_was_and_reads_the_same_twice(bench, name):
    recorder, before = reader(bench, name), copy.deepcopy(bench.model.state_dict())
    modes = [module.training for module in bench.model.modules()]
    (_, first), (_, again) = recorder.measure(0), recorder.measure(0)
    assert first == pytest.approx(again, nan_ok=True)
    assert all(picture == recorder.pictures[name][0] for picture in recorder.pictures.get(name, []))
    assert all(torch.equal(value, before[key]) for key, value in bench.model.state_dict().items())
    assert modes == [module.training for module in bench.model.modules()]
    assert all(parameter.grad is None for parameter in bench.model.parameters())


def test_confidence_is_that_of_right_and_of_wrong_predictions(bench):
    values = read(bench, "confidence")
    right, wrong = [], []
    bench.model.eval()
    with torch.no_grad():
        for inputs, labels in bench.probe.test:
            for row, label in zip(bench.model(inputs).double().softmax(dim=1), labels, strict=True):
                (right if int(row.argmax()) == int(label) else wrong).append(float(row.max()))
    assert values["test/confidence_right"] == pytest.approx(sum(right) / len(right), abs=1e-12)
    assert values["test/confidence_wrong"] == pytest.approx(sum(wrong) / len(wrong), abs=1e-12)


def test_the_gradient_is_that_of_the_loss_on_clean_images_without_mixing(bench):
    bench.model.eval()
    inputs = torch.cat([inputs for inputs, _ in bench.probe.train])
    labels = torch.cat([labels for _, labels in bench.probe.train])
    loss = torch.nn.functional.cross_entropy(bench.model(inputs), labels)
    gradients = torch.autograd.grad(loss, list(bench.model.parameters()))
    expected = float(sum(gradient.double().square().sum() for gradient in gradients).sqrt())
    value = read(bench, "objective-gradient")["train/objective_gradient_norm"]
    assert value == pytest.approx(expected, rel=1e-4)  # float32 gradients, summed in another order


def test_the_classifier_mean_moves_by_what_is_added_to_every_row(bench):
    recorder = reader(bench, "classifier-mean")
    weight = bench.model.head.weight
    shift = torch.zeros_like(weight[0])
    shift[0] = 1.0
    length = float(weight.detach().double().mean(dim=0).norm())
    assert recorder.measure(0)[1]["nc/classifier_mean_drift"] == 0
    with torch.no_grad():
        weight += shift
    assert recorder.measure(1)[1]["nc/classifier_mean_drift"] == pytest.approx(1 / length, rel=1e-5)
    with torch.no_grad():
        weight -= shift


def test_the_plane_shows_training_mode_apart_only_where_it_matters(bench):
    recorder = reader(bench, "planes")
    recorder.measure(0)
    (picture,) = recorder.pictures["planes"]
    assert len(picture["weight"]) == len(picture["same"]) == len(picture["eval"]["x"]) == len(picture["train"]["y"])
    has_batch_norm = any(isinstance(module, torch.nn.BatchNorm2d) for module in bench.model.modules())
    assert (picture["eval"] != picture["train"]) == has_batch_norm


def test_blends_in_a_linear_network_fill_the_way_across_evenly():
    model = f"{Path(__file__).with_name('linear_model.py')}:LinearModel"
    options = replace(OPTIONS, model=model, training=replace(OPTIONS.training, epochs=30))
    bench = build_bench(options, folder=Path(), tracker=None, observer=SILENT)
    for _ in bench.training.epochs():
        pass
    values = read(bench, "channel")
    # On the line between two examples x1 - x2 is linear in the weight: 1 up to the scatter of the ends, where a channel
    # gives 1.5 and more; and same-class blends lie where their class does, whatever the weight.
    assert 0.8 < values["channels/middle_density"] < 1.3
    assert values["channels/spread_same"] < 0.1
    bent = build_bench(replace(OPTIONS, training=Recipe(epochs=1)), folder=Path(), tracker=None, observer=SILENT)
    assert read(bent, "channel") != values


def test_training_follows_the_curve_and_measures_where_it_is_told():
    work = NetworkTraining(OPTIONS, curve_every=1, measure_at=(0,), instruments=("classifier-mean",))
    measured = work.run()
    assert measured.tables["curve"]["epoch"] == [0, 1, 2]
    assert measured.tables["measured"]["epoch"] == [0, 2]
    assert measured.tables["measured"]["nc/classifier_mean_drift"][0] == 0
    assert measured.values["test/error"] == measured.tables["curve"]["test/error"][-1]
    assert measured.tables["curve"]["train/loss"][0] is None
    assert measured.problem == ""
    assert NetworkTraining(OPTIONS, 1, is_measured=False).run().tables.keys() == {"curve"}


class Counting(torch.nn.Module):
    """A network that keeps what goes through it, each row's bytes with the mode it is in."""

    def __init__(self, model):
        super().__init__()
        self.model, self.rows = model, []

    def forward(self, inputs):
        self.rows += [(self.training, row.numpy().tobytes()) for row in inputs]
        return self.model(inputs)


def test_no_row_goes_through_the_network_twice_without_need():
    bench = build_bench(OPTIONS, folder=Path(), tracker=None, observer=SILENT)
    counting = Counting(bench.model)
    bench = replace(bench, model=counting, head="model.head", sites=tuple(f"model.{site}" for site in bench.sites))
    names = ("confidence", "channel", "planes", "linearity", "classifier-mean")
    Recorder(bench, instruments={name: INSTRUMENTS[name] for name in names}).measure(2, draw_pictures=True)
    probe = bench.probe
    train, test = ([row for inputs, _ in batches for row in inputs] for batches in (probe.train, probe.test))
    num_layer_pairs = sum(len(labels) for _, labels in probe.layer_pairs)
    # Layers are compared while they pass by, so their examples go through for the means, and again with their blends.
    num_clean = len(train) + len(test) + 2 * num_layer_pairs
    num_blends = len(probe.pair_rows) + 3 * num_layer_pairs + len(probe.plane[0][1]) + 2 * PLANE_POINTS
    assert len(counting.rows) == num_clean + num_blends
    seen = Counter(counting.rows)
    again = {row.numpy().tobytes() for inputs, _ in probe.layer_pairs for row in inputs}
    assert {seen[False, key] for row in test if (key := row.numpy().tobytes()) not in again} == {1}


def test_a_description_leaves_out_what_changes_no_number():
    work = NetworkTraining(OPTIONS, curve_every=1)
    assert work.describe() == replace(work, options=replace(OPTIONS, label="a name", measure_every=3)).describe()
    assert work.describe() != replace(work, options=replace(OPTIONS, seed=1)).describe()


def test_a_run_that_diverges_is_a_result_with_a_problem():
    model = f"{Path(__file__).with_name('linear_model.py')}:FailingModel"
    measured = NetworkTraining(replace(OPTIONS, model=model), curve_every=1, is_measured=False).run()
    assert measured.problem.startswith("diverged: the training loss stopped being finite in epoch ")
