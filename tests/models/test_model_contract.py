"""Promises every network of the table keeps: small ones run for real, large ones on the meta device, at no cost."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixscope.models.networks import MODEL_NAMES, build_model, find_head, model_sites

SHAPES = [(1, 8, 8), (3, 12, 8)]
NUM_CLASSES = 5
SMALL = 12_000_000  # weights of a network that is run for real


def num_weights(name: str) -> int:
    with torch.device("meta"):
        model = build_model(name, num_classes=NUM_CLASSES, image_shape=(3, 8, 8), seed=0)
    return sum(parameter.numel() for parameter in model.parameters())


RUN = [*(name for name in MODEL_NAMES if num_weights(name) < SMALL), "mlp-16x3", "wide-resnet-10-1", "wide-resnet-16-2"]


def images(count: int, shape: tuple[int, int, int], *, seed: int = 0) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def outputs_of_sites(model: nn.Module, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Run the model; return each site's output in the order in which the forward pass reached it, and the logits."""
    reached: dict[str, Tensor] = {}
    handles = []
    for site in model_sites(model, find_head(model)):

        def keep(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor, site: str = site) -> None:
            assert site not in reached, f"{site} ran twice"
            reached[site] = output

        handles.append(model.get_submodule(site).register_forward_hook(keep))
    with torch.no_grad():
        logits = model(inputs)
    for handle in handles:
        handle.remove()
    return reached, logits


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", RUN)
def test_logits_have_one_row_per_image_and_one_column_per_class(name, shape):
    model = build_model(name, num_classes=NUM_CLASSES, image_shape=shape, seed=0)
    logits = model(images(4, shape))
    assert logits.shape == (4, NUM_CLASSES)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", RUN)
def test_a_batch_of_one_gives_the_row_of_the_full_batch_in_eval_mode(name):
    model = build_model(name, num_classes=NUM_CLASSES, image_shape=(3, 8, 8), seed=0).eval()
    inputs = images(3, (3, 8, 8))
    with torch.no_grad():
        rows = torch.cat([model(row[None]) for row in inputs])
        torch.testing.assert_close(rows, model(inputs), atol=1e-5, rtol=1e-5)  # float32: seen 1e-6


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_name_builds_and_runs_for_grey_and_colour_images(name, channels):
    with torch.device("meta"):
        model = build_model(name, num_classes=NUM_CLASSES, image_shape=(channels, 32, 32), seed=0)
        reached, logits = outputs_of_sites(model, torch.empty(2, channels, 32, 32))
    assert logits.shape == (2, NUM_CLASSES)
    assert tuple(reached) == model.sites  # All of them, each once, from early to late.
    assert all(len(output) == 2 for output in reached.values())
    assert reached[model.sites[-1]].shape == logits.shape


@pytest.mark.parametrize("name", RUN)
def test_sites_are_reached_from_early_to_late_and_end_with_the_logits(name):
    model = build_model(name, num_classes=NUM_CLASSES, image_shape=(3, 8, 8), seed=0).eval()
    reached, logits = outputs_of_sites(model, images(2, (3, 8, 8)))
    assert tuple(reached) == model.sites == model_sites(model, "head")
    assert torch.equal(reached[model.sites[-1]], logits)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_head_is_a_linear_module_with_bias(name):
    with torch.device("meta"):
        model = build_model(name, num_classes=NUM_CLASSES, image_shape=(3, 32, 32), seed=0)
    assert find_head(model) == "head"
    assert isinstance(model.head, nn.Linear)
    assert model.head.out_features == NUM_CLASSES
    assert model.head.bias is not None


@pytest.mark.parametrize("name", RUN)
def test_logits_are_the_linear_map_of_what_enters_the_head(name):
    model = build_model(name, num_classes=NUM_CLASSES, image_shape=(3, 8, 8), seed=0).eval()
    entered = []
    model.head.register_forward_pre_hook(lambda module, arguments: entered.append(arguments[0]))
    with torch.no_grad():
        logits = model(images(2, (3, 8, 8)))
    assert torch.equal(F.linear(entered[0], model.head.weight, model.head.bias), logits)


@pytest.mark.parametrize("name", RUN)
def test_the_seed_alone_decides_the_weights(name):
    def weights(seed: int) -> dict[str, Tensor]:
        return build_model(name, num_classes=NUM_CLASSES, image_shape=(1, 8, 8), seed=seed).state_dict()

    torch.manual_seed(1)
    first = weights(7)
    torch.manual_seed(2)
    again, other = weights(7), weights(8)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(
        torch.equal(first[key], other[key]) for key in first if key.endswith("weight") and first[key].ndim > 1
    )


@pytest.mark.parametrize("name", ["convnet", "vit-small"])
def test_building_leaves_the_global_random_state_alone(name):
    before = torch.get_rng_state()
    build_model(name, num_classes=NUM_CLASSES, image_shape=(1, 8, 8), seed=7)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", RUN)
def test_channels_last_gives_the_same_logits(name):
    model = build_model(name, num_classes=NUM_CLASSES, image_shape=(3, 8, 8), seed=0).eval()
    inputs = images(4, (3, 8, 8))
    with torch.no_grad():
        expected = model(inputs)
        model.to(memory_format=torch.channels_last)
        moved = model(inputs.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)  # float32: seen 3e-6


@pytest.mark.parametrize("name", RUN)
def test_gradients_reach_every_parameter(name):
    model = build_model(name, num_classes=NUM_CLASSES, image_shape=(3, 8, 8), seed=0)
    F.cross_entropy(model(images(4, (3, 8, 8))), torch.tensor([0, 1, 2, 3])).backward()
    untouched = [
        key for key, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert untouched == []


@pytest.mark.parametrize("name", RUN)
def test_no_module_changes_its_input_in_place(name):
    # A captured activation must still hold what the module gave when the forward pass is over.
    model = build_model(name, num_classes=NUM_CLASSES, image_shape=(3, 8, 8), seed=0).eval()
    copies: list[tuple[Tensor, Tensor]] = []
    for module in model.modules():
        module.register_forward_hook(lambda module, arguments, output: copies.append((output, output.clone())))
    with torch.no_grad():
        model(images(2, (3, 8, 8)))
    assert all(torch.equal(output, copy) for output, copy in copies)
