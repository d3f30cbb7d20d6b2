from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from mixscope.capturing.capture import capture, capture_batches, evaluation_mode, record_sites
from mixscope.capturing.sites import forward_watched
from mixscope.mixing.mixture import Mixture, blend


@dataclass(frozen=True)
class Reversed:
    """Blends every row with its mirror image in the batch, by a drawn weight."""

    def draw(self, inputs: Tensor, labels: Tensor, *, generator: torch.Generator) -> Mixture:
        rows = torch.arange(len(inputs))
        weight = torch.rand(len(inputs), generator=generator)
        return Mixture(members=torch.stack([rows, rows.flip(0)], 1), weights=torch.stack([weight, 1 - weight], 1))


@dataclass(frozen=True)
class Drawn:
    """Returns whatever a function of the batch returns."""

    make: Callable[[Tensor], Mixture]

    def draw(self, inputs: Tensor, labels: Tensor, *, generator: torch.Generator) -> Mixture:
        return self.make(inputs)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_net() -> nn.Sequential:
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(48, 4),
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(parameter.numel())))
    return net


def batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    stream = generator()
    return [
        (torch.randn(size, 1, 4, 4, generator=stream), torch.randint(4, (size,), generator=stream)) for size in sizes
    ]


def two_point(inputs: Tensor, **changes: object) -> Mixture:
    rows = torch.arange(len(inputs))
    settings = {"members": torch.stack([rows, rows.flip(0)], 1), "weights": torch.full((len(inputs), 2), 0.5)}
    return Mixture(**{**settings, **changes})


def num_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_features_logits_and_labels_come_in_order_with_a_last_batch_of_one() -> None:
    net, data = small_net(), batches(5, 5, 1)
    captured = capture(net, data, sites=("0", "5:input"))
    net.eval()
    inputs = torch.cat([rows for rows, _ in data])
    with torch.no_grad():
        first = net[0](inputs)
        last = net[:5](inputs)
        logits = net(inputs)
    assert captured.features["0"].shape == (11, 48)
    torch.testing.assert_close(captured.features["0"], first.flatten(1))
    torch.testing.assert_close(captured.features["5:input"], last)
    torch.testing.assert_close(captured.logits, logits)
    assert torch.equal(captured.labels, torch.cat([labels for _, labels in data]))
    assert captured.mixture is None


def test_the_head_reads_exactly_its_recorded_input() -> None:
    net = small_net()
    captured = capture(net, batches(4), sites=("5:input", "5"))
    head = net[5]
    torch.testing.assert_close(captured.features["5:input"] @ head.weight.T + head.bias, captured.logits)
    assert torch.equal(captured.features["5"], captured.logits)


def test_an_in_place_layer_after_a_site_does_not_change_what_was_recorded() -> None:
    captured = capture(small_net(), batches(6), sites=("1", "2:input", "2"))
    assert float(captured.features["1"].min()) < 0
    assert torch.equal(captured.features["1"], captured.features["2:input"])
    assert torch.equal(captured.features["2"], captured.features["1"].relu())


def test_batch_size_does_not_matter() -> None:
    net, (inputs, labels) = small_net(), batches(12)[0]
    whole = capture(net, [(inputs, labels)], sites=("2",))
    parts = capture(net, zip(inputs.split(5), labels.split(5), strict=True), sites=("2",))
    torch.testing.assert_close(parts.features["2"], whole.features["2"])
    torch.testing.assert_close(parts.logits, whole.logits)


def test_the_model_is_as_before_flags_statistics_hooks_and_gradients() -> None:
    net = small_net().train()
    net[1].eval()  # a frozen batch norm inside a training model
    net[3].eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    captured = capture(net, batches(6), sites=("0", "5:input"))
    assert [module.training for module in net] == [True, False, True, False, True, True]
    assert net.training
    assert num_hooks(net) == 0
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert not captured.logits.requires_grad
    assert not any(rows.requires_grad for rows in captured.features.values())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.is_grad_enabled()


def test_captured_rows_can_be_used_in_a_graph() -> None:
    rows = capture(small_net(), batches(6), sites=("0",)).features["0"]
    weight = torch.zeros(48, 2, requires_grad=True)
    (rows @ weight).sum().backward()
    assert weight.grad is not None


def test_everything_is_put_back_when_the_model_raises() -> None:
    net = small_net().train()
    broken = [*batches(3), (torch.zeros(2, 1, 9, 9), torch.zeros(2, dtype=torch.int64))]
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        capture(net, broken, sites=("0",))
    assert num_hooks(net) == 0
    assert all(module.training for module in net.modules())
    with pytest.raises(ZeroDivisionError), record_sites(net, ("0", "1:input")):
        raise ZeroDivisionError
    assert num_hooks(net) == 0
    with pytest.raises(ValueError, match="got 'nowhere'"), record_sites(net, ("0", "nowhere")):
        pass
    assert num_hooks(net) == 0
    with record_sites(net, ("0", "1:input")):
        assert num_hooks(net) == 2


def test_evaluation_mode_of_a_mixed_model() -> None:
    net = small_net().train()
    net[3].eval()
    with evaluation_mode(net):
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net] == [True, True, True, False, True, True]


def test_features_keep_the_dtype_of_the_model() -> None:
    net = small_net().double()
    inputs, labels = batches(3)[0]
    captured = capture(net, [(inputs.double(), labels)], sites=("0",))
    assert captured.features["0"].dtype is torch.float64
    assert captured.logits.dtype is torch.float64


def test_a_channels_last_model_gives_rows_in_the_usual_order() -> None:
    net, data = small_net(), batches(3)
    plain = capture(net, data, sites=("0",)).features["0"]
    last = net.to(memory_format=torch.channels_last)
    data = [(inputs.to(memory_format=torch.channels_last), labels) for inputs, labels in data]
    torch.testing.assert_close(capture(last, data, sites=("0",)).features["0"], plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_stay_as_they_are(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).to(dtype)
    inputs, labels = batches(3)[0]
    captured = capture(net, [(inputs.to(dtype), labels)], sites=("1:input",), average_pooled=())
    assert captured.features["1:input"].dtype is dtype
    assert torch.equal(captured.features["1:input"], inputs.to(dtype).flatten(1))


def test_maps_are_averaged_where_asked_and_flattened_elsewhere() -> None:
    net, data = small_net(), batches(5, 1)
    flat = capture(net, data, sites=("0", "2")).features
    pooled = capture(net, data, sites=("0", "2"), average_pooled=("0",)).features
    assert pooled["0"].shape == (6, 3)
    torch.testing.assert_close(pooled["0"], flat["0"].view(6, 3, 16).mean(dim=2))
    assert torch.equal(pooled["2"], flat["2"])


def test_tokens_are_averaged_over_the_tokens() -> None:
    net = nn.Sequential(nn.Flatten(2), nn.Linear(4, 5), nn.Flatten(), nn.Linear(10, 4))
    stream = generator()
    data = [(torch.randn(3, 2, 2, 2, generator=stream), torch.tensor([0, 1, 2]))]
    flat, pooled = (capture(net, data, sites=("1",), average_pooled=names).features["1"] for names in ((), ("1",)))
    torch.testing.assert_close(pooled, flat.view(3, 2, 5).mean(dim=1))


def test_batches_come_one_at_a_time_with_the_model_as_it_was_in_between() -> None:
    net, data = small_net().train(), batches(4, 3)
    whole = capture(net, data, sites=("0", "5:input"))
    start = 0
    for batch in capture_batches(net, iter(data), sites=("0", "5:input")):
        assert net.training
        assert num_hooks(net) == 0
        assert torch.is_grad_enabled()
        rows = slice(start, start + len(batch.labels))
        assert torch.equal(batch.features["0"], whole.features["0"][rows])
        assert torch.equal(batch.logits, whole.logits[rows])
        assert torch.equal(batch.labels, whole.labels[rows])
        start = rows.stop
    assert start == 7


def test_the_draw_of_a_batch_indexes_its_own_rows() -> None:
    net, data = small_net(), batches(4, 3)
    draws = [batch.mixture for batch in capture_batches(net, data, mixing=Reversed(), generator=generator(7))]
    assert [draw.members[:, 1].tolist() for draw in draws if draw is not None] == [[3, 2, 1, 0], [2, 1, 0]]


def test_names_are_checked_before_the_first_batch_is_asked_for() -> None:
    net = small_net()
    with pytest.raises(ValueError, match="sites must name modules of the model, got 'nowhere'"):
        capture_batches(net, [], sites=("nowhere",))
    with pytest.raises(ValueError, match="generator must be given with mixing"):
        capture_batches(net, [], mixing=Reversed())
    with pytest.raises(
        ValueError, match=r"average_pooled must name some of the sites, got '1:inputs' \(did you mean 1:input\?\)"
    ):
        capture_batches(net, [], sites=("1:input",), average_pooled=("1:inputs",))
    with pytest.raises(ValueError, match="average_pooled must be a sequence of strings, got '0'"):
        capture_batches(net, [], sites=("0",), average_pooled="0")


def test_what_is_neither_maps_nor_tokens_cannot_be_averaged() -> None:
    message = r"average_pooled site '5:input' must have \(B, C, H, W\) maps or \(B, T, D\) tokens, got shape \(3, 48\)"
    with pytest.raises(ValueError, match=message):
        capture(small_net(), batches(3), sites=("5:input",), average_pooled=("5:input",))


def test_a_watcher_sees_a_layer_before_the_next_one_changes_it_in_place() -> None:
    net, (inputs, _) = small_net(), batches(6)[0]
    seen: dict[str, float] = {}
    output = forward_watched(net, inputs, {"1": lambda value: seen.update(low=float(value.min()))})
    assert seen["low"] < 0
    assert not output.requires_grad
    assert num_hooks(net) == 0


def test_an_exception_in_a_watcher_leaves_nothing_behind() -> None:
    net, (inputs, _) = small_net().train(), batches(6)[0]

    def fail(value: Tensor) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        forward_watched(net, inputs, {"0": fail, "5": fail})
    assert num_hooks(net) == 0
    assert all(module.training for module in net.modules())
    assert torch.is_grad_enabled()


def test_blends_are_indexed_over_all_examples() -> None:
    net, data = small_net(), batches(4, 3, 1)
    captured = capture(net, data, sites=("0", "2"), mixing=Reversed(), generator=generator(7))
    mixture = captured.mixture
    assert mixture is not None
    assert mixture.members.tolist() == [[0, 3], [1, 2], [2, 1], [3, 0], [4, 6], [5, 5], [6, 4], [7, 7]]
    assert mixture.weights.shape == (8, 2)
    assert mixture.weights.dtype is torch.float64
    torch.testing.assert_close(mixture.weights.sum(dim=1), torch.ones(8, dtype=torch.float64))
    # An affine layer: the feature of the blend is the blend of the clean features, row by row.
    clean = capture(net, data, sites=("0", "2"))
    torch.testing.assert_close(captured.features["0"], blend(clean.features["0"], mixture))
    assert not torch.allclose(captured.features["2"], blend(clean.features["2"], mixture))
    assert torch.equal(captured.labels, clean.labels)
    # The whole draw replayed on all inputs at once gives the same logits.
    inputs = blend(torch.cat([rows for rows, _ in data]), mixture)
    replayed = capture(net, [(inputs, captured.labels)])
    torch.testing.assert_close(replayed.logits, captured.logits)


def test_draws_repeat_with_their_generator() -> None:
    net, data = small_net(), batches(4, 4)
    first, again, other = (capture(net, data, mixing=Reversed(), generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.logits, again.logits)
    assert not torch.equal(first.logits, other.logits)


def test_region_masks_and_label_shares_are_kept() -> None:
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[..., :2, :] = True
    net, data = small_net(), batches(3, 2)
    region = Drawn(
        lambda inputs: two_point(inputs, mask=mask, target_weights=torch.tensor([[0.25, 0.75]] * len(inputs)))
    )
    captured = capture(net, data, mixing=region, generator=generator())
    assert captured.mixture is not None
    assert captured.mixture.mask is not None
    assert captured.mixture.mask.shape == (5, 1, 4, 4)
    assert captured.mixture.label_weights.tolist() == [[0.25, 0.75]] * 5
    inputs = blend(torch.cat([rows for rows, _ in data]), captured.mixture)
    torch.testing.assert_close(capture(net, [(inputs, captured.labels)]).logits, captured.logits)


def test_sites_that_are_no_modules_are_answered_with_near_names() -> None:
    net = nn.ModuleDict({"layer1": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    with pytest.raises(
        ValueError, match=r"sites must name modules of the model, got 'layer2' \(did you mean layer1\?\)"
    ):
        capture(net, [], sites=("layer2",))
    with pytest.raises(ValueError, match=r"got 'heads:input' \(did you mean head\?\)"):
        capture(net, [], sites=("head", "heads:input"))
    with pytest.raises(ValueError, match="sites must name modules of the model, got ''"):
        capture(net, [], sites=("",))
    with pytest.raises(ValueError, match="sites must be a sequence of strings, got 'head'"):
        capture(net, [], sites="head")
    assert num_hooks(net) == 0


class Twisted(nn.Module):
    """Runs one layer twice, one never, and one that gives a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)
        self.pair = nn.LSTM(4, 4)
        self.whole = nn.Identity()
        self.named = nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """Use the layers oddly."""
        hidden = self.shared(self.shared(inputs.flatten(1)[:, :4]))
        return self.named(input=self.pair(hidden)[0] + self.whole(hidden.sum()))


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ("shared", "site 'shared' must run once per forward pass, got a second run"),
        ("shared:input", "site 'shared:input' must run once per forward pass"),
        ("unused", "site 'unused' must run in the forward pass, got no run"),
        ("unused:input", "site 'unused:input' must run in the forward pass"),
        ("whole", r"site 'whole' must have one row per example \(3\), got shape \(\)"),
    ],
)
def test_modules_that_cannot_be_recorded_are_named(site: str, message: str) -> None:
    model = Twisted()
    with pytest.raises(ValueError, match=message):
        capture(model, batches(3), sites=(site,))
    assert num_hooks(model) == 0
    assert capture(model, batches(3), sites=("named",)).logits.shape == (3, 4)


class Outputs(nn.Module):
    def __init__(self, make: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.make = make

    def forward(self, inputs: Tensor) -> object:
        """Return anything."""
        return self.make(inputs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: {"scores": x}, r"the model's output must be a \(B, K\) tensor of logits, got dict"),
        (lambda x: x, r"the model's output must be \(3, K\) logits, got shape \(3, 1, 4, 4\)"),
        (lambda x: x.flatten(1)[:1], r"the model's output must be \(3, K\) logits, got shape \(1, 16\)"),
        (lambda x: x.flatten(1)[:, :1], r"labels must lie in \[0, 1\), got values"),
    ],
)
def test_outputs_that_are_no_logits_are_named(make: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        capture(Outputs(make), batches(3))


def test_mixing_that_cannot_be_captured_is_named() -> None:
    net, data = small_net(), batches(3, 2)

    def run(make: Callable[[Tensor], Mixture]) -> None:
        capture(net, data, mixing=Drawn(make), generator=generator())

    with pytest.raises(ValueError, match="generator must be given with mixing, got None"):
        capture(net, data, mixing=Reversed())
    with pytest.raises(ValueError, match="mixing must blend inputs \\(site 'input'\\), got site '0'"):
        run(lambda inputs: two_point(inputs, site="0"))
    with pytest.raises(ValueError, match=r"mixing must draw one blend per input \(3\), got 1"):
        run(lambda inputs: two_point(inputs[:1]))
    with pytest.raises(
        ValueError, match="the members drawn by mixing must have the same width in every batch, got 1 and 2"
    ):
        run(
            lambda inputs: (
                two_point(inputs) if len(inputs) == 3 else Mixture(torch.arange(2)[:, None], torch.ones(2, 1))
            )
        )
    mask = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="mixing must draw a mask for every batch or for none, got 1 of 2"):
        run(lambda inputs: two_point(inputs, mask=mask if len(inputs) == 3 else None))


def test_batches_that_do_not_fit_are_named() -> None:
    net = small_net()
    inputs, labels = batches(3)[0]
    with pytest.raises(ValueError, match="batches must hold at least one example, got none"):
        capture(net, [])
    with pytest.raises(ValueError, match=r"labels must have one entry per input \(3\), got 2"):
        capture(net, [(inputs, labels[:2])])
    with pytest.raises(ValueError, match=r"labels must be integers, got torch\.float32"):
        capture(net, [(inputs, labels.float())])
    pooled = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 4))
    sizes = [(inputs, labels), (inputs[..., :2, :2], labels)]
    with pytest.raises(
        ValueError, match="the features of site '0' must have the same width in every batch, got 4 and 16"
    ):
        capture(pooled, sites=("0",), batches=sizes)


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        (torch.zeros(2, 3), "a Tensor"),
        ((torch.zeros(2, 3),), r"a tuple of float32 \(2, 3\)"),
        (([torch.zeros(2, 3)], torch.zeros(2)), r"a tuple of list, float32 \(2,\)"),
    ],
)
def test_a_batch_that_is_no_pair_is_named(batch, found):
    with pytest.raises(
        ValueError, match=f"batches must be pairs of inputs and labels, two tensors, or hold them by name, got {found}"
    ):
        capture(torch.nn.Linear(3, 2), [batch])


def test_batches_without_examples_are_empty():
    empty = (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="batches must hold at least one example, got none"):
        capture(torch.nn.Linear(3, 2), [empty, empty])


def test_a_misspelt_input_of_a_module_that_exists_is_answered_with_both_of_its_sites():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"got '0:inputs' \(did you mean 0 or 0:input\?\)"):
        capture(model, [(torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64))], sites=("0:inputs",))
