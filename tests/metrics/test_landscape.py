import copy
import math

import pytest
import torch
from torch import Tensor, nn

from mixscope.metrics.overtraining.loss_slices import filter_normalised_direction, loss_slice
from mixscope.metrics.overtraining.sharpness import sharpness

CURVATURE = torch.tensor([1.0, 2.0, 5.0, 0.5, 3.0, 4.0], dtype=torch.float64)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Bowl(nn.Module):
    """Two filters of three weights; the loss is sum_i a_i w_i^2 / 2 + w_1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, -2.0, 2.0], [0.0, 0.0, 0.5]], dtype=torch.float64))


def bowl_loss(model: nn.Module) -> float:
    weight = model.weight.detach().flatten()
    return float((CURVATURE * weight.square()).sum() / 2 + weight[0])


def relu_network(*, bias: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(5, 8, bias=bias), nn.ReLU(), nn.Linear(8, 8, bias=bias), nn.ReLU(), nn.Linear(8, 3, bias=bias)]
    return nn.Sequential(*layers).double()


def norm_network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).double()
    with torch.no_grad():
        net.train()(torch.randn(20, 2, 6, 6, dtype=torch.float64, generator=stream(8)))  # statistics of their own
    return net.eval()


INPUTS, LABELS = torch.randn(40, 5, dtype=torch.float64, generator=stream(1)), torch.arange(40) % 3
IMAGES = torch.randn(40, 2, 6, 6, dtype=torch.float64, generator=stream(2))


def mlp_loss(model: nn.Module) -> float:
    return float(nn.functional.cross_entropy(model(INPUTS), LABELS).detach())


def image_loss(model: nn.Module) -> float:
    return float(nn.functional.cross_entropy(model(IMAGES), LABELS).detach())


def test_every_filter_of_a_direction_is_as_long_as_that_of_the_network() -> None:
    model = norm_network()
    direction = filter_normalised_direction(model, generator=stream())
    assert set(direction) == {"0.weight", "4.weight"}
    for name, tensor in direction.items():
        lengths = tensor.flatten(1).norm(dim=1)
        torch.testing.assert_close(
            lengths, model.get_parameter(name).detach().flatten(1).norm(dim=1), rtol=1e-12, atol=0
        )


def test_filters_of_zeros_do_not_move_and_nothing_is_nan() -> None:
    model = relu_network(bias=True)
    with torch.no_grad():
        model[0].weight[2] = 0
        model[2].weight.zero_()
    for include_vectors in (False, True):
        direction = filter_normalised_direction(model, generator=stream(), include_vectors=include_vectors)
        assert (direction["0.weight"][2] == 0).all()
        assert (direction["2.weight"] == 0).all()
        assert all(torch.isfinite(tensor).all() for tensor in direction.values())


def test_biases_and_norms_move_only_when_asked_and_then_by_their_own_size() -> None:
    model = norm_network()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([1.0, -2.0, 0.0, 0.5]))
    direction = filter_normalised_direction(model, generator=stream(), include_vectors=True)
    assert set(direction) == {name for name, _ in model.named_parameters()}
    assert torch.equal(direction["1.weight"].abs(), torch.tensor([1.0, 2.0, 0.0, 0.5], dtype=torch.float64))


LAYERS = {
    "linear": (lambda: nn.Linear(5, 3), (4, 5)),
    "linear of one input": (lambda: nn.Linear(1, 3), (4, 1)),
    "bilinear": (lambda: nn.Bilinear(5, 4, 3), ((4, 5), (4, 4))),
    "convolution": (lambda: nn.Conv2d(4, 6, 3), (2, 4, 5, 5)),
    "grouped convolution": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
    "depthwise convolution": (lambda: nn.Conv1d(4, 4, 3, groups=4), (2, 4, 5)),
    "transposed convolution": (lambda: nn.ConvTranspose2d(4, 6, 3), (2, 4, 5, 5)),
    "grouped transposed convolution": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
    "transposed convolution of a line": (lambda: nn.ConvTranspose1d(3, 2, 4), (2, 3, 5)),
    "depthwise transposed convolution of a volume": (lambda: nn.ConvTranspose3d(2, 2, 2, groups=2), (1, 2, 3, 3, 3)),
    "linear under spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(5, 3)).eval(), None),
    "transposed convolution under weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.ConvTranspose2d(4, 6, 3, groups=2)),
        None,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_what_makes_one_output_is_one_filter_in_every_kind_of_layer(name: str) -> None:
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    layer = make().double()
    direction = filter_normalised_direction(nn.Sequential(layer), generator=stream())
    assert len(direction) == 1  # no bias, no lengths of weight normalisation
    (key,) = direction
    weight, moved = layer.get_parameter(key.removeprefix("0.")), direction[key]
    plain = layer
    if shape is None:  # the same layer without its parametrisation: the numbers have its weight's shape
        plain = nn.ConvTranspose2d(4, 6, 3, groups=2).double() if "transposed" in name else nn.Linear(5, 3).double()
        shape = (2, 4, 5, 5) if "transposed" in name else (4, 5)
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    outputs = plain(*(torch.rand(part, dtype=torch.float64) for part in shapes)).movedim(1, 0).flatten(1).sum(dim=1)
    for output in outputs:
        (slopes,) = torch.autograd.grad(output, plain.weight, retain_graph=True)
        filter_of_it = slopes != 0  # inputs are positive: whatever this output channel is computed from
        assert float(moved[filter_of_it].norm()) == pytest.approx(
            float(weight.detach()[filter_of_it].norm()), rel=1e-12
        )


@pytest.mark.parametrize(
    "norm",
    [
        lambda: nn.LayerNorm((4, 6, 6)),
        lambda: nn.RMSNorm((6, 6)),
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.InstanceNorm2d(4, affine=True),
        lambda: nn.BatchNorm2d(4),
    ],
    ids=["layer norm of three dimensions", "rms norm of two", "group norm", "instance norm", "batch norm"],
)
def test_norm_layers_stay_or_move_number_by_number_whatever_their_shape(norm) -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), norm())
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(model[1].weight.shape, generator=stream(4)))
    assert set(filter_normalised_direction(model, generator=stream())) == {"0.weight"}
    direction = filter_normalised_direction(model, generator=stream(), include_vectors=True)
    torch.testing.assert_close(direction["1.weight"].abs(), model[1].weight.detach().abs())


def test_a_bias_of_three_dimensions_stays_and_so_do_lengths_of_weight_norm() -> None:
    attention = nn.MultiheadAttention(8, 2, add_bias_kv=True)
    assert set(filter_normalised_direction(attention, generator=stream())) == {"in_proj_weight", "out_proj.weight"}
    with pytest.warns(FutureWarning, match="weight_norm"):
        old = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)))
    assert set(filter_normalised_direction(old, generator=stream())) == {"0.weight_v"}
    new = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    assert set(filter_normalised_direction(new, generator=stream())) == {"parametrizations.weight.original1"}
    everything = filter_normalised_direction(new, generator=stream(), include_vectors=True)
    lengths = new.parametrizations.weight.original0.detach()
    torch.testing.assert_close(everything["parametrizations.weight.original0"].abs(), lengths.abs())


def test_each_token_of_an_embedding_moves_by_its_own_length_and_padding_stays() -> None:
    model = nn.Embedding(5, 3, padding_idx=2)
    direction = filter_normalised_direction(model, generator=stream())["weight"]
    torch.testing.assert_close(direction.norm(dim=1), model.weight.detach().norm(dim=1))
    assert (direction[2] == 0).all()


def test_frozen_parameters_stay_and_directions_come_from_the_generator_alone() -> None:
    model = relu_network()
    model[0].requires_grad_(False)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = filter_normalised_direction(model, generator=stream(3))
    assert set(first) == {"2.weight", "4.weight"}
    assert torch.equal(torch.get_rng_state(), state)
    again = filter_normalised_direction(model, generator=stream(3))
    other = filter_normalised_direction(model, generator=stream(4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["2.weight"], other["2.weight"])
    single = filter_normalised_direction(copy.deepcopy(model).float(), generator=stream(3))
    torch.testing.assert_close(single["2.weight"].double(), first["2.weight"], rtol=1e-6, atol=1e-7)


def test_slice_of_a_bowl_is_the_known_parabola() -> None:
    model = Bowl()
    direction = filter_normalised_direction(model, generator=stream())
    start, line = model.weight.detach().flatten(), direction["weight"].flatten()
    steps = (-1.0, -0.25, 0.0, 0.5, 2.0)
    slope = float((CURVATURE * start * line).sum() + line[0])
    bend = float((CURVATURE * line * line).sum())
    expected = [bowl_loss(model) + step * slope + step**2 * bend / 2 for step in steps]
    found = loss_slice(model, bowl_loss, direction=direction, steps=steps)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert float(found[2]) == bowl_loss(model)  # a step of 0 is exact


def test_rescaling_layers_against_one_another_leaves_the_landscape_alone() -> None:
    # ReLU(c x) = c ReLU(x): the second network computes the same function with other weights.
    model, twin = relu_network(), relu_network()
    with torch.no_grad():
        twin[0].weight.mul_(50)
        twin[2].weight.mul_(0.1)
        twin[4].weight.mul_(0.2)
    steps = (-1.0, -0.3, 0.0, 0.3, 1.0)
    slices, raw = [], []
    for network in (model, twin):
        direction = filter_normalised_direction(network, generator=stream(6))
        slices.append(loss_slice(network, mlp_loss, direction=direction, steps=steps))
        plain = {name: torch.ones_like(value) for name, value in network.named_parameters()}
        raw.append(loss_slice(network, mlp_loss, direction=plain, steps=steps))
    torch.testing.assert_close(slices[0], slices[1], rtol=1e-10, atol=1e-12)
    assert float((raw[0] - raw[1]).abs().max()) > 0.1  # without the normalisation it does not hold
    reports = [sharpness(network, mlp_loss, generator=stream(7)) for network in (model, twin)]
    torch.testing.assert_close(reports[0].increases, reports[1].increases, rtol=1e-9, atol=1e-12)


def test_sharpness_of_a_bowl_is_its_curvature_along_the_directions() -> None:
    model = Bowl()
    report = sharpness(model, bowl_loss, generator=stream(9), radius=0.5, num_directions=6)
    drawn = stream(9)
    for increase in report.increases.tolist():
        line = filter_normalised_direction(model, generator=drawn)["weight"].flatten()
        # The slope of the bowl drops out: the two ends are averaged.
        assert increase == pytest.approx(0.5**2 * float((CURVATURE * line * line).sum()) / 2, rel=1e-10)
    assert report.loss == bowl_loss(model)
    assert len(report.increases) == 6


def test_batch_norm_keeps_its_trained_statistics_by_default() -> None:
    model = norm_network().train()
    direction = {"0.weight": model[0].weight.detach().clone(), "0.bias": model[0].bias.detach().clone()}
    trained = copy.deepcopy(model).eval()
    found = loss_slice(model, image_loss, direction=direction, steps=(0.0, 1.0))
    assert float(found[0]) == image_loss(trained)
    with torch.no_grad():
        trained[0].weight.mul_(2)
        trained[0].bias.mul_(2)
    assert float(found[1]) == pytest.approx(image_loss(trained), rel=1e-12)


def test_batch_norm_with_new_statistics_does_not_notice_the_size_of_the_layer_before() -> None:
    model = norm_network()
    model[1].eps = 1e-14  # torch refuses 0
    direction = {"0.weight": model[0].weight.detach().clone(), "0.bias": model[0].bias.detach().clone()}
    steps = (0.0, 1.0, 5.0)
    renewed = loss_slice(
        model, image_loss, direction=direction, steps=steps, statistics_batches=(IMAGES[:20], IMAGES[20:])
    )
    torch.testing.assert_close(renewed, renewed[:1].expand(3), rtol=1e-10, atol=0)
    kept = loss_slice(model, image_loss, direction=direction, steps=steps)
    assert float((kept - kept[0]).abs().max()) > 0.05


def test_new_statistics_are_the_mean_over_the_batches() -> None:
    model = norm_network()
    seen: list[Tensor] = []

    def look(network: nn.Module) -> float:
        assert not any(module.training for module in network.modules())
        seen.extend((network[1].running_mean.clone(), network[1].running_var.clone()))
        return 0.0

    loss_slice(model, look, direction={}, steps=(0.0,), statistics_batches=(IMAGES[:20], IMAGES[20:]))
    with torch.no_grad():
        parts = [model[0](images).transpose(0, 1).flatten(1) for images in (IMAGES[:20], IMAGES[20:])]
    torch.testing.assert_close(seen[0], (parts[0].mean(dim=1) + parts[1].mean(dim=1)) / 2)
    torch.testing.assert_close(seen[1], (parts[0].var(dim=1) + parts[1].var(dim=1)) / 2)
    assert model[1].momentum == 0.1


@pytest.mark.parametrize("statistics_batches", [None, (IMAGES,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_is_put_back_bit_for_bit_also_after_an_exception(statistics_batches, dtype: torch.dtype) -> None:
    model = norm_network().to(dtype).train()
    model[2].eval()
    batches = None if statistics_batches is None else tuple(images.to(dtype) for images in statistics_batches)
    before = copy.deepcopy(model.state_dict())
    direction = filter_normalised_direction(model, generator=stream(), include_vectors=True)

    def fail(network: nn.Module) -> float:
        network[1].num_batches_tracked += 1
        raise RuntimeError("the data ran out")

    def loss(network: nn.Module) -> float:
        return float(network(IMAGES.to(dtype)).square().mean())

    loss_slice(model, loss, direction=direction, steps=(0.1, 3.3), statistics_batches=batches)
    with pytest.raises(RuntimeError, match="the data ran out"):
        loss_slice(model, fail, direction=direction, steps=(0.1,), statistics_batches=batches)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert [module.training for module in model] == [True, True, False, True, True]
    assert model[1].momentum == 0.1


def test_a_loss_that_overflows_is_shown_in_a_slice_and_named_in_sharpness() -> None:
    model = Bowl()
    direction = filter_normalised_direction(model, generator=stream())
    assert math.isinf(loss_slice(model, lambda net: math.inf, direction=direction, steps=(1.0,))[0])
    with pytest.raises(ValueError, match=r"evaluate must return finite losses at radius 0\.3, got rises"):
        sharpness(model, lambda net: math.inf, generator=stream())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda model: loss_slice(model, bowl_loss, direction={"wieght": torch.zeros(2, 3)}, steps=(1,)),
            r"direction\['wieght'\] must have the name of a parameter, got shape \(2, 3\)",
        ),
        (
            lambda model: loss_slice(model, bowl_loss, direction={"weight": torch.zeros(3)}, steps=(1,)),
            r"direction\['weight'\] must have shape \(2, 3\), got shape \(3,\)",
        ),
        (
            lambda model: loss_slice(model, lambda net: math.nan, direction={}, steps=(0.5,)),
            r"evaluate must return a number, got nan at step 0.5",
        ),
        (
            lambda model: loss_slice(model, bowl_loss, direction={}, steps=(1,), statistics_batches=()),
            "statistics_batches must hold at least one batch, got none",
        ),
        (lambda model: sharpness(model, bowl_loss, generator=stream(), radius=0), "radius must be positive"),
        (
            lambda model: sharpness(model, bowl_loss, generator=stream(), num_directions=1),
            "num_directions must be at least 2, got 1",
        ),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Bowl())
