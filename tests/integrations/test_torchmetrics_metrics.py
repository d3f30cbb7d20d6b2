"""The torchmetrics metrics: the same numbers as the functions, through everything a metric goes through."""

import copy
import io
import pickle
import sys

import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from torchmetrics import MetricCollection

from mixscope.integrations.torchmetrics import (
    CalibrationError,
    CalibrationSummary,
    NearestClassMean,
    NeuralCollapse,
    SignedCalibrationGap,
)
from mixscope.metrics import CalibrationBins, ClassStatistics, find_metric, neural_collapse
from mixscope.metrics.collapse.nearest_mean import NearestMeanCounts

K, D, N = 4, 6, 120
EXACT = {"rtol": 1e-10, "atol": 1e-12}  # float64 sums in another order: seen 1e-15.


def features_and_labels(num=N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num) % K
    centers = torch.randn(K, D, generator=generator, dtype=torch.float64)
    noise = torch.randn(num, D, generator=generator, dtype=torch.float64)
    return 5 + centers[labels] + 0.3 * noise, labels


def probabilities_and_labels(num=N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(num, K, generator=generator, dtype=torch.float64)
    return logits.softmax(dim=1), torch.randint(K, (num,), generator=generator)


def make_head(seed=0, bias=True):
    head = nn.Linear(D, K, bias=bias)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return head


def statistics_of(features, labels):
    statistics = ClassStatistics(K, D)
    statistics.update(features, labels)
    return statistics


def collapse_of(features, labels, head):
    return neural_collapse(statistics_of(features, labels), head.weight, head.bias).as_dict()


def check_close(values, expected):
    assert values.keys() == expected.keys()
    for name, value in values.items():
        assert value.dtype is torch.float64
        torch.testing.assert_close(value, torch.tensor(expected[name], dtype=torch.float64), **EXACT, msg=name)


def calibration_of(probabilities, labels):
    bins = CalibrationBins()
    bins.update(probabilities, labels)
    return {
        "ece": bins.expected_calibration_error,
        "mce": bins.maximum_calibration_error,
        "signed_gap": bins.signed_gap,
        "mean_confidence": bins.mean_confidence,
        "accuracy": bins.accuracy,
    }


# Every metric with the arguments of one update after another: what holds for all of them is tested on all of them.


def collapse_case():
    features, labels = features_and_labels()
    return NeuralCollapse(make_head()), list(zip(features.split(50), labels.split(50), strict=True))


def binned_case(metric):
    probabilities, labels = probabilities_and_labels()
    return metric, list(zip(probabilities.split(50), labels.split(50), strict=True))


def nearest_case():
    features, labels = features_and_labels()
    means = statistics_of(*features_and_labels(seed=1)).means
    parts = zip(features.split(50), labels.split(50), strict=True)
    return NearestClassMean(make_head()), [(*part, means) for part in parts]


CASES = {
    "collapse": collapse_case,
    "ece": lambda: binned_case(CalibrationError(num_bins=7)),
    "gap": lambda: binned_case(SignedCalibrationGap()),
    "summary": lambda: binned_case(CalibrationSummary()),
    "nearest": nearest_case,
}
every_metric = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def gather(metric, batches):
    for batch in batches:
        metric.update(*batch)
    return metric.compute()


def together(batches):
    """All updates as one; the class means, the same in every batch, stay single."""
    columns = list(zip(*batches, strict=True))
    return tuple(column[0] if column[0] is column[-1] else torch.cat(column) for column in columns)


def assert_same(values, expected):
    torch.testing.assert_close(values, expected, **EXACT)


@every_metric
def test_the_split_into_batches_does_not_matter(case):
    metric, batches = case()
    split = gather(metric, batches)
    metric.reset()
    assert_same(split, gather(metric, [together(batches)]))


@every_metric
def test_forward_gives_the_value_of_the_batch_and_keeps_all_of_them(case):
    metric, batches = case()
    single, _ = case()
    for batch in batches:
        single.reset()
        assert_same(metric(*batch), gather(single, [batch]))
    single.reset()
    assert_same(metric.compute(), gather(single, batches))


@every_metric
def test_a_reset_metric_has_seen_nothing(case):
    metric, batches = case()
    gather(metric, batches)
    metric.reset()
    assert_same(gather(metric, batches[:1]), gather(case()[0], batches[:1]))


@every_metric
def test_states_never_grow(case):
    metric, batches = case()
    sizes = [state.shape for state in metric.metric_state.values()]
    gather(metric, batches)
    assert [state.shape for state in metric.metric_state.values()] == sizes


@every_metric
def test_a_pickled_metric_goes_on_where_it_was(case):
    metric, batches = case()
    gather(metric, batches[:1])
    restored = pickle.loads(pickle.dumps(metric))
    assert_same(gather(restored, batches[1:]), gather(metric, batches[1:]))


@every_metric
def test_a_clone_goes_on_apart(case):
    metric, batches = case()
    before = gather(metric, batches[:1])
    clone = metric.clone()
    gather(clone, batches[1:])
    assert_same(metric.compute(), before)


@every_metric
def test_persistent_states_are_saved_and_loaded(case):
    metric, batches = case()
    assert not metric.state_dict()
    metric.persistent(True)
    before = gather(metric, batches[:1])
    buffer = io.BytesIO()
    torch.save(metric.state_dict(), buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    restored, _ = case()
    restored.load_state_dict(saved)
    restored.update(*batches[1])  # also shows that the loaded tensors are not written to
    other, _ = case()
    other.load_state_dict(saved)
    other.update(*batches[1])
    metric.update(*batches[1])
    assert_same(restored.compute(), metric.compute())
    assert_same(other.compute(), metric.compute())
    assert not torch.equal(torch.cat([t.flatten() for t in saved.values()]), _flat_state(metric))
    assert before is not None


def _flat_state(metric):
    return torch.cat([state.flatten() for state in metric.metric_state.values()])


@every_metric
def test_merged_states_equal_one_metric_that_saw_everything(case):
    metric, batches = case()
    expected = gather(metric, batches)
    first, second = case()[0], case()[0]
    gather(first, batches[:1])
    gather(second, batches[1:])
    first.merge_state(second)
    first._computed = None  # torchmetrics 1.9 keeps the value from before the merge
    assert_same(first.compute(), expected)


@every_metric
def test_casting_the_module_around_it_leaves_the_states_in_float64(case):
    metric, batches = case()
    module = nn.Module()
    module.metric = metric
    gather(metric, batches[:1])
    before = _flat_state(metric)
    for cast in (module.half, module.bfloat16, module.float, lambda: module.to(torch.bfloat16)):
        cast()
        assert torch.equal(_flat_state(metric), before)
    metric.set_dtype(torch.float16)
    assert torch.equal(_flat_state(metric), before)
    metric.reset()
    assert all(state.dtype is torch.float64 for state in metric.metric_state.values())


@every_metric
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
def test_states_follow_the_device_of_the_module(case):
    metric, batches = case()
    expected = gather(metric, batches)
    metric.reset()
    metric.update(*batches[0])
    nn.Sequential(metric).to("cuda")
    for batch in batches[1:]:
        metric.update(*(part.cuda() for part in batch))
    values = metric.compute()
    assert all(state.is_cuda for state in metric.metric_state.values())
    assert metric.device.type == "cuda"
    assert all(value.is_cuda for value in (values.values() if isinstance(values, dict) else [values]))
    torch.testing.assert_close(values, expected, check_device=False, **EXACT)


@every_metric
def test_states_from_inference_mode_are_updated_outside_it(case):
    metric, batches = case()
    with torch.inference_mode():
        metric.reset()
        metric.update(*batches[0])
    metric.update(*batches[1])
    metric.update(*batches[2])
    assert_same(metric.compute(), gather(case()[0], batches))


@every_metric
def test_a_call_that_raises_changes_nothing(case):
    metric, batches = case()
    before = gather(metric, batches)
    bad = (batches[0][0] * torch.nan, *batches[0][1:])
    with pytest.raises(ValueError, match="must be finite"):
        metric(*bad)
    with pytest.raises(ValueError, match="must be finite"):
        metric.update(*bad)
    assert_same(metric.compute(), before)
    metric.update(*batches[0])
    assert_same(metric.compute(), gather(case()[0], [*batches, batches[0]]))


@every_metric
def test_no_graph_is_kept(case):
    metric, batches = case()
    features = batches[0][0].clone().requires_grad_()
    metric.update(features, *batches[0][1:])
    metric(features, *batches[0][1:])
    assert not any(state.requires_grad for state in metric.metric_state.values())
    assert metric.is_differentiable is False


@every_metric
def test_computing_before_the_first_example_says_so(case):
    metric, _ = case()
    with (
        pytest.warns(UserWarning, match="was called before the ``update``"),
        pytest.raises(ValueError, match=r"at least one example|example of every class"),
    ):
        metric.compute()


# The values


def test_every_number_has_its_card():
    features, labels = features_and_labels()
    head = make_head()
    collapse, nearest, summary = NeuralCollapse(head), NearestClassMean(head), CalibrationSummary()
    collapse.update(features, labels)
    nearest.update(features, labels, collapse.class_means())
    summary.update(*probabilities_and_labels())
    keys = {f"nc/{name}" for name in (*collapse.compute(), *nearest.compute()) if name != "classifier_accuracy"}
    assert all(find_metric(key) for key in keys | {f"test/{name}" for name in summary.compute()})


def test_collapse_equals_the_function_on_all_examples():
    metric, batches = collapse_case()
    check_close(gather(metric, batches), collapse_of(*features_and_labels(), make_head()))


def test_collapse_works_for_a_head_without_bias_and_features_in_half_precision():
    features, labels = features_and_labels()
    head = make_head(bias=False)
    metric = NeuralCollapse(head)
    metric.update(features.bfloat16(), labels)
    check_close(metric.compute(), collapse_of(features.bfloat16(), labels, head))


def test_collapse_reads_the_head_as_it_is_when_computed():
    features, labels = features_and_labels()
    head = make_head()
    metric = NeuralCollapse(head)
    gather(metric, [(features, labels)])
    with torch.no_grad():
        head.weight.copy_(make_head(seed=1).weight)
    check_close(metric.compute(), collapse_of(features, labels, head))


def test_the_head_stays_the_models_own():
    head = make_head()
    for metric in (NeuralCollapse(head), NearestClassMean(head)):
        metric.persistent(True)
        assert not list(metric.parameters())
        assert list(metric.modules()) == [metric]
        assert set(metric.state_dict()) == set(metric.metric_state)


def test_a_clone_reads_the_same_head_and_a_copied_model_its_own():
    model = nn.Module()
    model.head = make_head()
    model.metric = NeuralCollapse(model.head)
    features, labels = features_and_labels()
    clone, copied = model.metric.clone(), copy.deepcopy(model)
    with torch.no_grad():
        model.head.weight.copy_(make_head(seed=1).weight)
        copied.head.weight.copy_(make_head(seed=2).weight)
    check_close(gather(clone, [(features, labels)]), collapse_of(features, labels, model.head))
    check_close(gather(copied.metric, [(features, labels)]), collapse_of(features, labels, copied.head))


def test_a_batch_without_every_class_has_no_collapse_numbers_but_is_kept():
    features, labels = features_and_labels()
    some = labels < 2
    metric = NeuralCollapse(make_head())
    assert all(value.isnan() for value in metric(features[some], labels[some]).values())
    with pytest.raises(ValueError, match=r"must see an example of every class .*, got none of 2, 3"):
        metric.compute()
    metric(features[~some], labels[~some])
    check_close(metric.compute(), collapse_of(features, labels, make_head()))


def test_class_means_are_those_of_the_examples_seen():
    metric, batches = collapse_case()
    with pytest.raises(ValueError, match="class_means needs an example of every class, got none of 0, 1, 2, 3"):
        metric.class_means()
    gather(metric, batches)
    torch.testing.assert_close(metric.class_means(), statistics_of(*features_and_labels()).means, **EXACT)
    metric.class_means().zero_()  # a copy
    assert metric.class_means().any()


def test_calibration_equals_the_bins_on_all_examples():
    expected = calibration_of(*probabilities_and_labels())
    check_close(gather(*CASES["summary"]()), expected)
    check_close({"gap": gather(*CASES["gap"]())}, {"gap": expected["signed_gap"]})
    metric = CalibrationError()
    check_close({"ece": gather(metric, [probabilities_and_labels()])}, {"ece": expected["ece"]})
    assert metric.higher_is_better is False


def test_the_nearest_mean_worked_by_hand():
    head = nn.Linear(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))  # class 1 where the first coordinate is above 2.05
        head.bias.copy_(torch.tensor([2.05, 0.0]))
    means = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    features = torch.tensor([[1.0, 3.0], [1.9, 0.0], [2.02, 0.0], [5.0, 0.0]])
    metric = NearestClassMean(head)
    metric.update(features, torch.tensor([0, 1, 1, 1]), means)
    values = {name: float(value) for name, value in metric.compute().items()}
    assert values == {"nc4_mismatch": 0.25, "nearest_mean_accuracy": 0.75, "classifier_accuracy": 0.5}


def test_the_mismatch_equals_nc4():
    features, labels = features_and_labels()
    means, head = statistics_of(features, labels).means, make_head()
    metric = NearestClassMean(head)
    metric.update(features, labels, means)
    value = float(metric.compute()["nc4_mismatch"])
    nearest, chosen = NearestMeanCounts(means, head.weight, head.bias).decide(features)
    assert value == float((nearest != chosen).double().mean())
    assert 0 < value < 1


# In a collection


def collection():
    return MetricCollection(
        {
            "collapse": NeuralCollapse(make_head()),
            "nearest": NearestClassMean(make_head()),
            "ece": CalibrationError(),
            "gap": SignedCalibrationGap(),
        },
        prefix="val/",
    )


def feed(metrics, call):
    features, labels = features_and_labels()
    probabilities, _ = probabilities_and_labels()
    means = statistics_of(features, labels).means
    for rows in torch.arange(N).split(50):
        call(
            metrics,
            features=features[rows],
            labels=labels[rows],
            probabilities=probabilities[rows],
            class_means=means,
        )


@pytest.mark.parametrize("call", [lambda m, **batch: m.update(**batch), lambda m, **batch: m(**batch)])
def test_a_collection_gives_every_number_under_its_prefix(call):
    metrics = collection()
    feed(metrics, call)
    values = metrics.compute()
    features, labels = features_and_labels()
    expected = {f"val/{name}": value for name, value in collapse_of(features, labels, make_head()).items()}
    bins = calibration_of(probabilities_and_labels()[0], labels)
    expected |= {"val/ece": bins["ece"], "val/gap": bins["signed_gap"]}
    means = statistics_of(features, labels).means
    nearest = gather(NearestClassMean(make_head()), [(features, labels, means)])
    expected |= {f"val/{name}": float(value) for name, value in nearest.items()}
    check_close(values, expected)


def test_metrics_on_the_same_bins_share_one_state_in_a_collection():
    metrics = collection()
    feed(metrics, lambda m, **batch: m.update(**batch))
    assert ["ece", "gap"] in [sorted(group) for group in metrics.compute_groups.values()]


def test_a_cloned_collection_goes_on_apart_under_another_prefix():
    metrics = collection()
    feed(metrics, lambda m, **batch: m.update(**batch))
    clone = metrics.clone(prefix="test/")
    clone.reset()
    feed(clone, lambda m, **batch: m.update(**batch))
    values, cloned = metrics.compute(), clone.compute()
    assert_same({name.replace("test/", "val/"): value for name, value in cloned.items()}, values)


# What is refused


def test_a_head_that_is_not_linear_is_refused():
    for metric in (NeuralCollapse, NearestClassMean):
        with pytest.raises(ValueError, match=r"head must be a torch.nn.Linear, got a Conv2d"):
            metric(nn.Conv2d(1, 1, 1))
        with pytest.raises(ValueError, match=r"head must know its number of features \(run the model once\)"):
            metric(nn.LazyLinear(3))


def test_logits_are_refused_as_probabilities():
    with pytest.raises(ValueError, match="take softmax of logits"):
        CalibrationError().update(torch.tensor([[3.0, -2.0]]), torch.tensor([0]))


def test_without_torchmetrics_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.delitem(sys.modules, "mixscope.integrations.torchmetrics")
    with pytest.raises(ImportError, match=r"needs torchmetrics: pip install 'mixscope\[torchmetrics\]'"):
        __import__("mixscope.integrations.torchmetrics")


def test_a_calibration_metric_plots_its_reliability_diagram():
    generator = torch.Generator().manual_seed(0)
    probabilities, labels = torch.rand(60, 3, generator=generator).softmax(dim=1), torch.arange(60) % 3
    metric = CalibrationError(num_bins=20)
    with pytest.raises(ValueError, match="at least one example"):
        metric.plot()
    metric.update(probabilities, labels)
    before = metric.compute()
    figure, axes = metric.plot()
    assert [own.get_ylabel() for own in figure.axes] == ["accuracy", "examples"]
    assert axes is figure.axes[0]
    diagram = metric.instrument.reliability
    (line,) = [line for line in axes.lines if line.get_marker() == "None" and line.get_linestyle() == "-"][-1:]
    assert list(line.get_ydata()) == [value for value in diagram.accuracy.tolist() if value == value]
    assert torch.equal(metric.compute(), before)


def test_a_calibration_metric_plots_into_given_axes_and_in_a_collection():
    own = Figure().subplots()
    probabilities, labels = torch.eye(3), torch.arange(3)
    collection = MetricCollection([CalibrationError(), CalibrationSummary()])
    collection.update(probabilities=probabilities, labels=labels)
    figure, axes = collection["CalibrationError"].plot(ax=own)
    assert axes is own
    assert figure.axes == [own]
    assert own.get_ylabel() == "accuracy"
    # Values that are given are drawn as torchmetrics draws them.
    _, axes = collection["CalibrationError"].plot([torch.tensor(0.1), torch.tensor(0.2)], ax=Figure().subplots())
    assert list(axes.lines[0].get_ydata()) == pytest.approx([0.1, 0.2])
