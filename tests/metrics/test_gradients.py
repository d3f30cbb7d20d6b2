import copy

import pytest
import torch
from torch import Tensor, nn

from mixscope.metrics.overtraining.sharpness import gradient_norm
from mixscope.mixing.mixture import blend, blend_targets, soft_cross_entropy
from mixscope.mixing.mixup import Mixup


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(*, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 4))
    layers[1].running_mean += 0.3
    return layers.to(dtype)


def blends(num: int = 50, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    inputs, labels = torch.randn(num, 6, generator=stream(1)).to(dtype), torch.arange(num) % 4
    mixture = Mixup(alpha=1.0, per_example=True).draw(inputs, labels, generator=stream(2))
    return blend(inputs, mixture), blend_targets(labels, mixture, num_classes=4)


def naive_norm(model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """One backward pass over a float64 copy in evaluation mode."""
    twin = copy.deepcopy(model).double().eval()
    soft_cross_entropy(twin(inputs.double()), targets.double()).backward()
    return sum(float(p.grad.square().sum()) for p in twin.parameters()) ** 0.5


def test_norm_agrees_with_one_backward_pass_over_all_blends() -> None:
    inputs, targets = blends()
    model = network()
    expected = naive_norm(model, inputs, targets)
    # float32 products of 12 terms: seen 1e-7, allowed 1e-5.
    assert gradient_norm(model, [(inputs, targets)], loss=soft_cross_entropy) == pytest.approx(expected, rel=1e-5)
    double = network(dtype=torch.float64)
    found = gradient_norm(double, [(inputs.double(), targets)], loss=soft_cross_entropy)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("sizes", [[50], [25, 25], [20, 20, 10], [49, 1], [1] * 50])
def test_how_batches_are_cut_does_not_matter(sizes: list[int]) -> None:
    inputs, targets = blends(dtype=torch.float64)
    model = network(dtype=torch.float64)
    batches = zip(inputs.split(sizes), targets.split(sizes), strict=True)
    found = gradient_norm(model, batches, loss=soft_cross_entropy)
    assert found == pytest.approx(gradient_norm(model, [(inputs, targets)], loss=soft_cross_entropy), rel=1e-12)


def test_network_is_left_as_it_was() -> None:
    inputs, targets = blends()
    model = network().train()
    model[3].eval()
    model[0].weight.grad = torch.full_like(model[0].weight, 7.0)
    before = copy.deepcopy(model.state_dict())
    for without_gradients in (torch.no_grad, torch.inference_mode):
        with without_gradients():
            gradient_norm(model, [(inputs, targets)], loss=soft_cross_entropy)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model] == [True, True, True, False, True]
    assert (model[0].weight.grad == 7).all()
    assert model[4].weight.grad is None


def test_batches_made_in_inference_mode_are_taken_too() -> None:
    inputs, targets = blends()
    model = network()
    expected = gradient_norm(model, [(inputs, targets)], loss=soft_cross_entropy)
    with torch.inference_mode():  # a Lightning validation loop, for example
        made_there = [(inputs * 1, targets * 1)]
        found = gradient_norm(model, made_there, loss=soft_cross_entropy)
    assert made_there[0][0].is_inference()
    assert found == expected


def test_gradient_at_a_minimum_is_zero() -> None:
    inputs = torch.randn(30, 4, dtype=torch.float64, generator=stream(3))
    outputs = torch.randn(30, 2, dtype=torch.float64, generator=stream(4))
    model = nn.Linear(4, 2, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.linalg.lstsq(inputs, outputs).solution.T)
    assert gradient_norm(model, [(inputs, outputs)], loss=nn.functional.mse_loss) < 1e-14


def test_frozen_and_unused_parameters_count_nothing() -> None:
    inputs, targets = blends(dtype=torch.float64)
    model = network(dtype=torch.float64)
    model.register_parameter("unused", nn.Parameter(torch.ones(3, dtype=torch.float64)))
    whole = gradient_norm(model, [(inputs, targets)], loss=soft_cross_entropy)
    assert whole == pytest.approx(naive_norm(network(), inputs, targets), rel=1e-6)
    model[4].requires_grad_(False)
    assert gradient_norm(model, [(inputs, targets)], loss=soft_cross_entropy) < whole


def test_bad_input_is_named() -> None:
    inputs, targets = blends()
    with pytest.raises(ValueError, match="batches must hold at least one example, got 0"):
        gradient_norm(network(), [], loss=soft_cross_entropy)
    with pytest.raises(ValueError, match="model must have a parameter that requires a gradient, got none"):
        gradient_norm(network().requires_grad_(False), [(inputs, targets)], loss=soft_cross_entropy)
    with pytest.raises(ValueError, match=r"loss must be a finite scalar, got \[nan\]"):
        gradient_norm(network(), [(inputs * torch.nan, targets)], loss=soft_cross_entropy)
    with pytest.raises(ValueError, match=r"loss must be a finite scalar, got \[0.0, 0.0, 0.0, 0.0\]"):
        gradient_norm(network(), [(inputs, targets)], loss=lambda logits, targets: 0 * logits.sum(dim=1).abs())
