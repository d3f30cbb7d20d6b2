import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from mixscope.capturing.capture import capture
from mixscope.measuring import (
    BlendLaw,
    Examination,
    PredictionMeter,
    capture_blends,
    examine,
    measure_last_layer,
    measure_linearity,
)
from mixscope.metrics.blends.channels import mixed_feature_geometry
from mixscope.metrics.blends.linearity import nonlinearity
from mixscope.metrics.calibration.prediction_meter import calibration_report
from mixscope.metrics.calibration.top_label import CalibrationBins
from mixscope.metrics.catalogue import find_metric
from mixscope.metrics.class_statistics.statistics import ClassStatistics
from mixscope.metrics.collapse.neural_collapse import neural_collapse
from mixscope.mixing.cutmix import CutMix
from mixscope.mixing.manifold import ManifoldMixup
from mixscope.mixing.mixup import FixedWeights, Mixup
from mixscope.mixing.schemes import MixingScheme

K, HEAD = 3, "6"
Batches = list[tuple[Tensor, Tensor]]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Net(nn.Sequential):
    """Convolution, batch norm, in-place ReLU, dropout, pooling and a linear head; counts its forward passes."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(2, 5, 3, padding=1),
            nn.BatchNorm2d(5),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, K),
        )
        self.num_rows = 0
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator(parameter.numel())))

    def forward(self, inputs: Tensor) -> Tensor:
        """Count the rows."""
        self.num_rows += len(inputs)
        return super().forward(inputs)


def batches(*sizes: int, seed: int = 0) -> Batches:
    stream = generator(seed)
    return [
        (torch.randn(size, 2, 4, 4, generator=stream) + 0.3, torch.arange(size) % K) for size in (sizes or (9, 9, 6, 1))
    ]


def split(data: Batches, size: int) -> Batches:
    inputs, labels = (torch.cat(part) for part in zip(*data, strict=True))
    return list(zip(inputs.split(size), labels.split(size), strict=True))


def linear(net: Net) -> nn.Linear:
    assert isinstance(net[6], nn.Linear)
    return net[6]


def law(mixing: MixingScheme | None = None, seed: int = 0) -> BlendLaw:
    return BlendLaw(Mixup(alpha=1.0, per_example=True) if mixing is None else mixing, generator(seed))


def collapse(net: nn.Module, data: Batches, *, head: str = HEAD, **options: object) -> dict[str, float]:
    values = examine(net, head=head, train=data, **options).values
    return {key.removeprefix("nc/"): value for key, value in values.items() if key.startswith("nc/")}


def num_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_one_pass_gives_every_number_of_collapse_that_the_instruments_give_one_by_one() -> None:
    net, data = Net(), batches()
    head = linear(net)
    seen = capture(net, data, sites=(f"{HEAD}:input",))
    features = seen.features[f"{HEAD}:input"]
    statistics = ClassStatistics(K, 5)
    statistics.update(features, seen.labels)
    expected = neural_collapse(statistics, head.weight, head.bias).as_dict()
    nearest = torch.cdist(features.double(), statistics.means).argmin(dim=1)
    expected["nc4_mismatch"] = float((nearest != head(features).argmax(dim=1)).double().mean())
    expected["nearest_mean_accuracy"] = float((nearest == seen.labels).double().mean())
    net.num_rows = 0
    found = collapse(net, data)
    assert net.num_rows == 25
    assert found == pytest.approx(expected, rel=1e-5)  # float32 residuals, cut into other batches
    assert 0 < found["nc4_mismatch"] < 1


def test_means_of_an_earlier_epoch_keep_nothing_and_give_their_own_nc4() -> None:
    net, data = Net(), batches()
    own = measure_last_layer(net, data, head=HEAD)
    again = measure_last_layer(net, data, head=HEAD, class_means=own.statistics.means)
    assert again.nearest_mean.mismatch == own.nearest_mean.mismatch
    assert again.nearest_mean.accuracy == own.nearest_mean.accuracy
    turned = own.statistics.means.roll(1, dims=0)
    # Every mean under the next class's name: the nearest mean is right where it was that class before.
    other, plain = collapse(net, data, class_means=turned), collapse(net, data)
    assert other["nearest_mean_accuracy"] != plain["nearest_mean_accuracy"]
    assert other["nc1_pinv"] == plain["nc1_pinv"]


def test_calibration_is_that_of_all_logits_at_once() -> None:
    net, data = Net(), batches()
    seen = capture(net, data)
    expected = calibration_report(seen.logits, seen.labels).as_dict()
    bins = CalibrationBins()
    bins.update_logits(seen.logits, seen.labels)
    net.num_rows = 0
    found = examine(net, test=data)
    assert net.num_rows == 25
    assert found.predictions is not None
    report = found.predictions.report()
    assert report.as_dict() == pytest.approx(expected, rel=1e-6)  # logits of another batch size: float32
    values = {f"test/{name}": value for name, value in report.as_dict().items()}
    assert found.values == values
    assert torch.equal(found.predictions.reliability.counts, bins.reliability.counts)
    assert torch.equal(torch.cat(found.predictions.labels), seen.labels)
    torch.testing.assert_close(torch.cat(found.predictions.logits), seen.logits)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(2, 4), torch.tensor([0, 1]), "must have 3 classes, got 4"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), r"labels must lie in \[0, 3\)"),
        (torch.full((2, 3), math.nan), torch.tensor([0, 1]), "logits must be finite"),
        (torch.zeros(2), torch.tensor([0, 1]), "logits must have 2 dimensions"),
    ],
)
def test_a_batch_of_logits_that_is_refused_leaves_no_trace(logits: Tensor, labels: Tensor, message: str) -> None:
    meter = PredictionMeter()
    with pytest.raises(ValueError, match="must be finite"):
        meter.update(torch.full((2, 5), math.nan), torch.tensor([0, 1]))  # nor does it settle the number of classes
    meter.update(torch.eye(3), torch.tensor([0, 1, 1]))
    before = meter.report()
    with pytest.raises(ValueError, match=message):
        meter.update(logits, labels)
    assert meter.report() == before


@pytest.mark.parametrize("num_points", [2, 3])
def test_linearity_is_that_of_all_features_at_once(num_points: int) -> None:
    net, data = Net(), batches(9, 9, 6)
    scheme, sites = Mixup(alpha=0.5, num_points=num_points, per_example=True), ("0", "1:input", "2", HEAD)
    (found,) = measure_linearity(net, data, sites=sites, laws=[law(scheme, 3)])
    mixed = capture(net, data, sites=sites, mixing=scheme, generator=generator(3))
    clean = capture(net, data, sites=sites)
    assert mixed.mixture is not None
    assert list(found) == list(sites)
    for site in sites:
        members = clean.features[site][mixed.mixture.members]
        expected = nonlinearity(mixed.features[site], members, mixed.mixture.weights).as_dict()
        # Convolutions of 2B and of B rows differ in their last float32 digit; an affine site has nothing else.
        assert found[site].as_dict() == pytest.approx(expected, rel=1e-4, abs=1e-6), site
    assert found["0"].relative_defect < 1e-6 < found["2"].relative_defect


def test_linearity_on_a_grid_of_weights_of_averaged_maps() -> None:
    net, data = Net(), batches(8, 8)
    scheme = FixedWeights(weights=((0.5, 0.5), (0.9, 0.1)))
    (found,) = measure_linearity(net, data, sites=("2",), laws=[law(scheme)], average_pooled=("2",))
    (pooled,) = measure_linearity(net, data, sites=("4",), laws=[law(scheme)])
    assert found["2"].as_dict() == pytest.approx(pooled["4"].as_dict(), rel=1e-5)
    (flat,) = measure_linearity(net, data, sites=("2",), laws=[law(scheme)])
    assert flat["2"].nonlinearity > 1.1 * found["2"].nonlinearity


def test_linearity_goes_through_once_where_the_means_are_known() -> None:
    net, data = Net(), batches(9, 9)
    mean = capture(net, data, sites=("2",)).features["2"].double().mean(dim=0)
    net.num_rows = 0
    (found,) = measure_linearity(net, iter(data), sites=("2",), laws=[law()], feature_means={"2": mean})
    assert net.num_rows == 2 * 18
    (twice,) = measure_linearity(net, data, sites=("2",), laws=[law()])
    assert net.num_rows == (2 + 3) * 18
    assert found["2"].as_dict() == pytest.approx(twice["2"].as_dict(), rel=1e-6)


def test_blends_by_several_laws_go_through_together_with_their_examples() -> None:
    net, data = Net(), batches(9, 9)
    schemes = [Mixup(alpha=alpha, per_example=True) for alpha in (0.1, 1.0)]
    together = measure_linearity(net, data, sites=("2",), laws=[law(scheme) for scheme in schemes])
    assert net.num_rows == 18 + 3 * 18
    for found, scheme in zip(together, schemes, strict=True):
        (alone,) = measure_linearity(net, data, sites=("2",), laws=[law(scheme)])
        assert found["2"].as_dict() == pytest.approx(alone["2"].as_dict(), rel=1e-6)  # float32 convolutions


def test_an_in_place_layer_after_a_site_does_not_change_what_is_measured() -> None:
    net, data = Net(), batches(9)
    (reports,) = measure_linearity(net, data, sites=("1", "2"), laws=[law(Mixup())])
    assert reports["1"].relative_defect < 1e-6 < reports["2"].relative_defect
    blends = capture_blends(net, data, site="1", law=law(Mixup()))
    assert float(blends.mixed.min()) < 0  # "2" sets them to 0 in place
    assert float(blends.examples.min()) < 0


def test_channels_are_those_of_features_captured_apart() -> None:
    net, data = Net(), batches(30, 30)
    head, site = linear(net), f"{HEAD}:input"
    examined = examine(net, head=HEAD, train=data, pairs=data, pair_law=law(seed=5))
    means = measure_last_layer(net, data, head=HEAD).statistics.means
    scheme = Mixup(alpha=1.0, per_example=True)
    mixed = capture(net, data, sites=(site,), mixing=scheme, generator=generator(5))
    clean = capture(net, data, sites=(site,))
    assert mixed.mixture is not None
    members = mixed.mixture.members
    expected = mixed_feature_geometry(
        mixed.features[site],
        clean.features[site][members],
        weights=mixed.mixture.weights[:, 0],
        member_labels=clean.labels[members],
        class_means=means,
        head_weight=head.weight,
    )
    for name, value in expected.as_dict().items():
        assert examined.values[f"channels/{name}"] == pytest.approx(value, rel=1e-4, nan_ok=True)  # float32 features
    blends = examined.blends
    assert blends is not None
    assert torch.equal(blends.labels, clean.labels[members])
    torch.testing.assert_close(blends.examples, clean.features[site][members])


def examine_all(net: nn.Module, data: Batches, *, seed: int = 2, **changes: object) -> Examination:
    stream = generator(seed)
    arguments = {
        "head": HEAD,
        "train": data,
        "test": batches(7, 7, 4, seed=1),
        "pairs": data[:2],
        "pair_law": BlendLaw(Mixup(alpha=1.0, per_example=True), stream),
        "layer_pairs": data[:1],
        "layer_laws": [BlendLaw(Mixup(alpha=0.5, per_example=True), stream)],
        "sites": ("0", f"{HEAD}:input"),
    }
    return examine(net, **{**arguments, **changes})


def everything(net: nn.Module, data: Batches, **changes: object) -> dict[str, float]:
    return examine_all(net, data, **changes).values


def test_a_network_is_measured_in_one_call_by_the_keys_of_the_catalogue() -> None:
    net, data = Net(), batches()
    test = batches(7, 7, 4, seed=1)
    values = everything(net, data)
    for key, value in values.items():
        assert isinstance(value, float), key
        find_metric(key)
    assert values.items() >= {f"nc/{name}": value for name, value in collapse(net, data).items()}.items()
    of_test = examine(net, test=test).values
    assert {key: values[key] for key in of_test} == pytest.approx(of_test)
    of_train = examine(net, test=data).values
    assert values["train/accuracy_clean"] == of_train["test/accuracy"]
    assert values["train/loss_clean"] == pytest.approx(of_train["test/loss"])
    means = measure_last_layer(net, data, head=HEAD).statistics.means
    nearest = measure_last_layer(net, test, head=HEAD, class_means=means).nearest_mean
    assert values["nc_test/nc4_mismatch"] == nearest.mismatch
    assert values["nc_test/nearest_mean_accuracy"] == nearest.accuracy
    assert {key.split("/")[0] for key in values} == {"nc", "train", "test", "nc_test", "channels", "linearity"}
    assert values["linearity/0/relative_defect"] < 1e-6


def test_collapse_calibration_and_loss_come_from_the_same_pass() -> None:
    net = Net()
    everything(net, batches())
    # 25 training and 18 test examples once; 18 + 18 for channels; 9 for the means and 9 + 9 for linearity.
    assert net.num_rows == 25 + 18 + 36 + 27


def test_pairs_known_as_training_examples_do_not_go_through_again() -> None:
    net, data = Net(), batches(9, 9, 7)
    rows = torch.arange(25).roll(4)[:16]
    inputs, labels = (torch.cat(part)[rows] for part in zip(*data, strict=True))
    options = {"head": HEAD, "train": data, "pairs": split([(inputs, labels)], 8)}
    apart = examine(net, **options, pair_law=law())
    net.num_rows = 0
    shared = examine(net, **options, pair_law=law(), pair_rows=rows)
    assert net.num_rows == 25 + 16
    assert shared.values == pytest.approx(apart.values, rel=1e-5, nan_ok=True)  # float32 features of other batches


def test_what_is_not_given_is_not_measured() -> None:
    net, data = Net(), batches()
    measured = examine(net, head=HEAD, train=data)
    assert {key.split("/")[0] for key in measured.values} == {"nc", "train"}
    assert measured.predictions is None
    assert measured.blends is None
    assert measured.linearity == []
    assert measured.train is not None
    again = examine(net, head=HEAD, train=data, class_means=measured.train.statistics.means)
    assert again.values == pytest.approx(measured.values)
    assert again.train is not None
    assert again.train.features is None
    assert examine(net) == Examination({}, linearity=[])


def test_batch_size_does_not_matter() -> None:
    net, data = Net(), batches()
    expected = everything(net, data)
    for size in (1, 4, 25):
        found = everything(net, split(data, size))
        for group in ("nc", "train", "test", "nc_test"):
            for key in (key for key in expected if key.startswith(f"{group}/")):
                assert found[key] == pytest.approx(expected[key], rel=1e-4, abs=1e-6), key  # float32 forward passes


def test_draws_repeat_with_their_generator() -> None:
    net, data = Net(), batches()
    assert everything(net, data) == pytest.approx(everything(net, data), nan_ok=True)
    assert everything(net, data, seed=9) != pytest.approx(everything(net, data), nan_ok=True)


def test_the_model_and_the_surroundings_are_as_before() -> None:
    net, data = Net().train(), batches()
    net[1].eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.get_rng_state()
    everything(net, data)
    assert [module.training for module in net] == [True, False, True, True, True, True, True]
    assert num_hooks(net) == 0
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    with pytest.raises(ValueError, match="must be finite"):
        measure_linearity(net, [(data[0][0] * math.inf, data[0][1])], sites=("0",), laws=[law()])
    assert num_hooks(net) == 0
    assert [module.training for module in net] == [True, False, True, True, True, True, True]


@pytest.mark.parametrize("context", [torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)])
def test_measuring_works_inside_inference_mode_and_autocast(context) -> None:
    net, data = Net(), batches()
    expected = everything(net, data)
    with context:
        found = everything(net, data)
    # bfloat16 convolutions keep 3 digits; inference mode changes nothing.
    rel = 1e-12 if isinstance(context, torch.inference_mode) else 0.1
    assert found["test/loss"] == pytest.approx(expected["test/loss"], rel=rel)
    assert found["nc/nc1_trace"] == pytest.approx(expected["nc/nc1_trace"], rel=rel)


def test_a_half_precision_model_is_measured_in_float64() -> None:
    net, data = Net().bfloat16(), [(inputs.bfloat16(), labels) for inputs, labels in batches()]
    values = everything(net, data, test=data)
    seen = capture(net, data, sites=(f"{HEAD}:input",))
    assert seen.features[f"{HEAD}:input"].dtype is torch.bfloat16
    wide = collapse(
        nn.Sequential(*([nn.Identity()] * 6), linear(net).double()),
        [(seen.features[f"{HEAD}:input"].double(), seen.labels)],
    )
    assert values["nc/nc1_pinv"] == pytest.approx(wide["nc1_pinv"], rel=1e-5)


def used_up() -> Iterator[tuple[Tensor, Tensor]]:
    yield from batches(9)


def test_what_cannot_be_measured_is_named() -> None:
    net, data = Net(), batches(9)
    options = {"sites": ("0",), "laws": [law(Mixup())]}
    shared = nn.Sequential(nn.Flatten(), nn.Linear(32, K), nn.Linear(K, 4))
    tokens = nn.Sequential(nn.Linear(4, K), nn.Flatten(), nn.Linear(8 * K, K))
    for call, message in (
        (
            lambda: collapse(net, data, head="5"),
            "head must be a linear classifier .torch.nn.Linear., got '5', which is Flatten",
        ),
        (lambda: collapse(net, data, head="66"), r"head must name a module of the model, got '66' \(did you mean"),
        (lambda: collapse(shared, data, head="1"), "head '1' must turn one row of 32 features per example into"),
        (lambda: collapse(tokens, data, head="0"), "head '0' must turn one row of 4 features per example into"),
        (lambda: collapse(net, []), "batches must hold at least one example, got none"),
        (lambda: collapse(net, batches(2)), "an example of every class, got none of 2"),
        (
            lambda: collapse(net, data, class_means=torch.zeros(K, 4)),
            r"class_means must have shape \(3, 5\), got \(3, 4\)",
        ),
        (lambda: examine(nn.Identity(), test=data), r"the model's output must be \(9, K\) logits, got shape"),
        (lambda: examine(net, test=[(data[0][0], data[0][1] + 1)]), r"labels must lie in \[0, 3\), got values"),
        (lambda: examine(net, test=[(data[0][0], data[0][1][:4])]), "labels must have one entry per input .9., got 4"),
        (lambda: examine(net, test=[(data[0][0] * math.nan, data[0][1])]), "logits must be finite, got 27 NaN"),
        (lambda: measure_linearity(net, data, **{**options, "sites": ()}), "sites must name at least one place"),
        (lambda: measure_linearity(net, data, **{**options, "sites": ("O",)}), "sites must name modules of the model"),
        (lambda: measure_linearity(net, [], **options), "batches must hold at least one example, got none"),
        (lambda: measure_linearity(net, used_up(), **options), "got a generator that is used up after once"),
        (lambda: measure_linearity(net, data, **options, feature_means={}), "feature_means must have every site, got"),
        (
            lambda: measure_linearity(net, data, **options, average_pooled=("1",)),
            "average_pooled must name some of the",
        ),
        (
            lambda: measure_linearity(net, data, sites=("0",), laws=[law(ManifoldMixup(sites=("1",)))]),
            "mixing must blend inputs .site 'input'., got site '1'",
        ),
        (
            lambda: measure_linearity(net, data, sites=("0",), laws=[law(CutMix())]),
            "mixing must blend whole inputs, got a scheme that pastes regions",
        ),
        (
            lambda: everything(net, data, pair_law=law(Mixup(num_points=3))),
            "pairs: mixing must blend two examples for the channels, got 3",
        ),
        (lambda: BlendLaw(Mixup(), None), "generator must be a torch.Generator"),
        (lambda: everything(net, data, pair_law=None), "pairs and pair_law must be given together, got pairs alone"),
        (lambda: everything(net, data, head=None), "train and head must be given together, got train alone"),
        (lambda: everything(net, data, train=None, head=None), "pairs must be given together with train, got pairs al"),
        (
            lambda: everything(net, data, layer_pairs=None),
            "layer_pairs and layer_laws and sites must be given together, got layer_laws and sites alone",
        ),
        (lambda: everything(net, data, pair_rows=torch.arange(8)), "pairs: features must have one row per example"),
        (
            lambda: everything(net, data, pair_rows=torch.arange(9), class_means=torch.zeros(K, 5)),
            "pair_rows must be given with pairs and without class_means",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
        assert num_hooks(net) == 0


class Ending(nn.Module):
    """A network whose head is followed by something."""

    def __init__(self, end: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(5, K)
        self.end = end

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.end(self.head(inputs.flatten(1)[:, :5]))


@pytest.mark.parametrize(
    "end",
    [lambda z: 10 * z, lambda z: z.roll(1, dims=1)],
    ids=["scaled", "permuted"],
)
def test_a_model_whose_output_is_not_its_head_s_is_refused(end: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"train: head 'head' must give the model's logits .* a softmax, or"):
        examine(Ending(end), head="head", train=batches())


def test_a_constant_per_example_after_the_head_and_bfloat16_are_fine() -> None:
    plain = examine(Ending(lambda z: z), head="head", train=batches()).values
    normalised = examine(Ending(lambda z: z.log_softmax(1)), head="head", train=batches()).values
    assert normalised == pytest.approx(plain, rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = examine(Ending(lambda z: z), head="head", train=batches()).values
    assert rounded["train/loss_clean"] == pytest.approx(plain["train/loss_clean"], rel=0.02)


def test_a_network_s_errors_say_which_batches_are_meant() -> None:
    net, data = Net(), batches()
    with pytest.raises(ValueError, match=r"^test: batches must hold at least one example, got none"):
        examine(net, head=HEAD, train=data, test=[])
    one_class = [(inputs, torch.zeros_like(labels)) for inputs, labels in data]
    with pytest.raises(ValueError, match=r"^train: statistics must hold an example of every class, got none of 1"):
        examine(net, head=HEAD, train=one_class)
    with pytest.raises(ValueError, match=r"head must name a module of the model, got 'fc'; its linear layers are 6"):
        examine(net, head="fc", train=data)
