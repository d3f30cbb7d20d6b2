"""Parameter counts against published numbers and formulas, blocks against other code, initialisation, sizes."""

import math

import pytest
import torch
from torch import nn

from mixscope.base.errors import UserError
from mixscope.models.convolutional import BasicBlock, ConvNet, PreActivationBlock, WideResNet
from mixscope.models.mlp import MLP, ResidualBlock, ResidualMLP
from mixscope.models.networks import build_model
from mixscope.models.vit import EncoderBlock, VisionTransformer, vit_small


def count_parameters(name: str, *, num_classes: int = 10, image_shape: tuple[int, int, int] = (3, 32, 32)) -> int:
    with torch.device("meta"):
        model = build_model(name, num_classes=num_classes, image_shape=image_shape, seed=0)
    return sum(parameter.numel() for parameter in model.parameters())


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp", (3072 * 256 + 256) + (256 * 256 + 256) + (256 * 10 + 10)),
        ("mlp-16x1", (3072 * 16 + 16) + (16 * 10 + 10)),
        ("residual-mlp", (3072 * 128 + 128) + 6 * (128 * 128 + 128) + (128 * 10 + 10)),
        ("convnet", 9 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256) + 2 * (32 + 64 + 128 + 256) + 256 * 10 + 10),
        ("resnet18", 11_173_962),
        ("resnet34", 21_282_122),
        ("wide-resnet-28-2", 1_467_610),
        ("wide-resnet-28-10", 36_479_194),
    ],
)
def test_parameter_counts_for_cifar10_are_exact(name, expected):
    assert count_parameters(name) == expected


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("wide-resnet-40-1", 0.6),
        ("wide-resnet-40-2", 2.2),
        ("wide-resnet-40-4", 8.9),
        ("wide-resnet-40-8", 35.7),
        ("wide-resnet-28-10", 36.5),
        ("wide-resnet-28-12", 52.5),
        ("wide-resnet-22-8", 17.2),
        ("wide-resnet-22-10", 26.8),
        ("wide-resnet-16-8", 11.0),
        ("wide-resnet-16-10", 17.1),
        ("wide-resnet-16-2", 0.7),
        ("wide-resnet-40-10", 55.8),
    ],
)
def test_wide_resnets_have_the_published_number_of_parameters(name, millions):
    # Zagoruyko and Komodakis 2016 print one decimal, some of them cut rather than rounded.
    assert count_parameters(name) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize(("depth", "widen"), [(10, 1), (16, 1), (22, 3), (28, 10)])
def test_wide_resnet_parameters_follow_the_formula(depth, widen):
    count = 9 * 3 * 16
    channels = 16
    for out_channels in (16 * widen, 32 * widen, 64 * widen):
        for block in range((depth - 4) // 6):
            count += 2 * channels + 9 * channels * out_channels + 2 * out_channels + 9 * out_channels**2
            changes_shape = channels != out_channels or (block == 0 and out_channels > 16 * widen)
            count += channels * out_channels if changes_shape else 0
            channels = out_channels
    count += 2 * channels + channels * 10 + 10
    assert count_parameters(f"wide-resnet-{depth}-{widen}") == count


@pytest.mark.parametrize(
    ("name", "patch", "depth", "width", "mlp"), [("vit-b/4", 4, 12, 768, 3072), ("vit-small", 4, 6, 192, 768)]
)
@pytest.mark.parametrize("image_shape", [(3, 32, 32), (1, 28, 28)])
def test_vision_transformer_parameters_follow_the_formula(name, patch, depth, width, mlp, image_shape):
    channels, height, width_of_image = image_shape
    tokens = 1 + (height // patch) * (width_of_image // patch)
    embedding = patch * patch * channels * width + width + width + tokens * width
    attention = (width * 3 * width + 3 * width) + (width * width + width)
    perceptron = (width * mlp + mlp) + (mlp * width + width)
    block = 2 * width + attention + 2 * width + perceptron
    expected = embedding + depth * block + 2 * width + (width * 10 + 10)
    assert count_parameters(name, image_shape=image_shape) == expected


@pytest.mark.parametrize("size", [8, 15, 28, 32, 96])
@pytest.mark.parametrize("channels", [1, 3])
def test_convnet_takes_images_from_8x8_to_96x96(size, channels):
    model = ConvNet(num_classes=4, image_shape=(channels, size, size))
    assert model(draw(2, channels, size, size)).shape == (2, 4)
    last = model.layer4(model.layer3(model.layer2(model.layer1(draw(2, channels, size, size)))))
    assert last.shape == (2, 256, math.ceil(size / 8), math.ceil(size / 8))


def test_convolutions_before_batch_norm_have_no_bias():
    for name in ("convnet", "resnet18", "wide-resnet-16-2"):
        with torch.device("meta"):
            model = build_model(name, num_classes=10, image_shape=(3, 32, 32), seed=0)
        assert [
            module.bias for module in model.modules() if isinstance(module, nn.Conv2d) and module.bias is not None
        ] == []


def test_a_residual_block_adds_two_maps_of_leaky_activations_to_its_input():
    block, inputs = ResidualBlock(6), draw(4, 6)
    leaky = torch.where(inputs > 0, inputs, 0.1 * inputs)
    hidden = leaky @ block.first.weight.T + block.first.bias
    leaky = torch.where(hidden > 0, hidden, 0.1 * hidden)
    expected = inputs + leaky @ block.second.weight.T + block.second.bias
    torch.testing.assert_close(block(inputs), expected, rtol=0, atol=1e-6)  # float32


def test_the_first_layer_of_a_residual_mlp_is_affine_and_its_sites_follow_the_blocks():
    model = ResidualMLP(num_classes=3, image_shape=(1, 2, 3), width=8, num_blocks=2)
    assert model.sites == ("layer0", "layer1", "layer2", "layer3", "head")
    assert type(model.layer0) is nn.Linear
    assert type(model.layer3) is nn.LeakyReLU


def test_an_mlp_without_hidden_layers_is_the_linear_classifier():
    model = MLP(num_classes=3, image_shape=(2, 2, 2), hidden=())
    assert model.sites == ("head",)
    inputs = draw(5, 2, 2, 2)
    torch.testing.assert_close(model(inputs), inputs.reshape(5, 8) @ model.head.weight.T + model.head.bias)


def test_mlp_layers_are_relu_of_a_linear_map():
    model = MLP(num_classes=3, image_shape=(1, 2, 2), hidden=(6, 5))
    first, second = model.layer1[0], model.layer2[0]
    inputs = draw(4, 1, 2, 2)
    hidden = (inputs.reshape(4, 4) @ first.weight.T + first.bias).clamp(min=0)
    hidden = (hidden @ second.weight.T + second.bias).clamp(min=0)
    torch.testing.assert_close(model(inputs), hidden @ model.head.weight.T + model.head.bias)


def test_a_residual_block_whose_second_norm_is_zero_is_the_relu_of_its_input():
    block = BasicBlock(4, 4, stride=1)
    nn.init.zeros_(block.norm2.weight)
    inputs = draw(2, 4, 5, 5)
    assert torch.equal(block(inputs), inputs.relu())


def test_a_pre_activation_block_without_its_branch_is_the_identity():
    block = PreActivationBlock(4, 4, stride=1)
    nn.init.zeros_(block.conv2.weight)
    inputs = draw(2, 4, 5, 5)
    assert torch.equal(block(inputs), inputs)  # Negative values pass too.


def test_the_shortcut_of_a_pre_activation_block_reads_the_activated_input():
    block = PreActivationBlock(4, 6, stride=2)
    nn.init.zeros_(block.conv2.weight)
    inputs = draw(2, 4, 6, 6)
    activated = block.norm1(inputs).relu()
    expected = torch.einsum("oc,nchw->nohw", block.shortcut.weight[:, :, 0, 0], activated[:, :, ::2, ::2])
    torch.testing.assert_close(block(inputs), expected)


def test_wide_resnet_sites_are_those_of_chaudhry_et_al():
    model = WideResNet(num_classes=7, image_shape=(3, 16, 16), depth=10, widen=2)
    inputs = draw(2, 3, 16, 16)
    shapes = []
    for site in model.sites:
        model.get_submodule(site).register_forward_hook(
            lambda module, arguments, output: shapes.append(output.shape[1:])
        )
    model(inputs)
    assert model.sites == ("layer0", "layer1", "layer2", "layer3", "layer4", "layer5")
    assert shapes == [(16, 16, 16), (32, 16, 16), (64, 8, 8), (128, 4, 4), (128,), (7,)]


def test_resnet_stages_halve_a_cifar_image_three_times():
    with torch.device("meta"):
        model = build_model("resnet34", num_classes=10, image_shape=(3, 32, 32), seed=0)
        shapes = []
        for site in model.sites:
            model.get_submodule(site).register_forward_hook(
                lambda module, arguments, output: shapes.append(output.shape)
            )
        model(torch.empty(2, 3, 32, 32))
    assert shapes[:5] == [(2, 64, 32, 32), (2, 64, 32, 32), (2, 128, 16, 16), (2, 256, 8, 8), (2, 512, 4, 4)]
    assert shapes[5:] == [(2, 512), (2, 10)]


def test_an_encoder_block_agrees_with_torchs_own_transformer_layer():
    block = EncoderBlock(width=12, heads=3, mlp=20).double().eval()
    twin = nn.TransformerEncoderLayer(
        12,
        3,
        dim_feedforward=20,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=1e-6,
        batch_first=True,
        norm_first=True,
    ).double()
    pairs = {
        "norm1": block.norm1,
        "norm2": block.norm2,
        "self_attn.out_proj": block.projection,
        "linear1": block.mlp[0],
        "linear2": block.mlp[2],
    }
    with torch.no_grad():
        for name, module in pairs.items():
            twin.get_submodule(name).load_state_dict(module.state_dict())
        twin.self_attn.in_proj_weight.copy_(block.query_key_value.weight)
        twin.self_attn.in_proj_bias.copy_(block.query_key_value.bias)
    tokens = draw(2, 5, 12).double()
    torch.testing.assert_close(block(tokens), twin(tokens), atol=1e-12, rtol=0)  # float64: seen 1e-15


def test_patches_are_read_row_by_row_after_the_class_token():
    model = VisionTransformer(num_classes=2, image_shape=(1, 8, 12), patch=4, depth=1, width=8, heads=2, mlp=8)
    embedding = model.embedding
    nn.init.zeros_(embedding.positions)
    inputs = draw(1, 1, 8, 12)
    tokens = embedding(inputs)
    assert tokens.shape == (1, 1 + 2 * 3, 8)
    assert torch.equal(tokens[:, :1], embedding.class_token)
    patch = inputs[0, 0, 4:8, 0:4]  # Second row, first column: patch 3, token 4.
    expected = embedding.patches.weight.reshape(8, 16) @ patch.reshape(16) + embedding.patches.bias
    torch.testing.assert_close(tokens[0, 4], expected)


def test_convolutions_start_with_the_variance_of_he_et_al():
    model = build_model("convnet", num_classes=10, image_shape=(3, 32, 32), seed=0)
    weight = model.layer4[0].weight  # 294,912 numbers: the standard error of their spread is 0.13%.
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.01)
    assert abs(weight.mean().item()) < 5 * weight.std().item() / math.sqrt(weight.numel())
    assert not model.head.bias.any()


def test_mlp_layers_start_with_the_variance_of_he_et_al():
    model = build_model("mlp", num_classes=10, image_shape=(3, 32, 32), seed=0)
    assert model.layer1[0].weight.std().item() == pytest.approx(math.sqrt(2 / 3072), rel=0.01)
    assert not model.layer1[0].bias.any()


def test_transformer_weights_start_with_standard_deviation_002():
    model = build_model("vit-small", num_classes=10, image_shape=(3, 32, 32), seed=0)
    weights = torch.cat([module.weight.flatten() for module in model.modules() if isinstance(module, nn.Linear)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert model.embedding.positions.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.embedding.class_token.any()


def test_activations_keep_their_size_through_a_fresh_mlp():
    # What the factor 2 / fan_in is for: the mean square stays 1 after ten layers; without the 2 it would be 1 / 1024.
    model = build_model("mlp-1024x10", num_classes=10, image_shape=(1, 32, 32), seed=0)
    hidden = draw(64, 1, 32, 32).flatten(1)
    for layer in range(1, 11):
        before_relu = model.get_submodule(f"layer{layer}")[0](hidden)
        hidden = before_relu.relu()
    assert 0.5 < before_relu.square().mean().item() / 2 < 2


@pytest.mark.parametrize("depth", [-2, 4, 9, 12, 27, 29])
def test_a_depth_that_is_not_6n_plus_4_is_refused(depth):
    with pytest.raises(UserError, match=rf"depth of a wide-resnet must be 6n \+ 4 \(10, 16, .*\), got {depth}"):
        WideResNet(num_classes=10, image_shape=(3, 8, 8), depth=depth, widen=1)


def test_a_widening_factor_of_zero_is_refused():
    with pytest.raises(UserError, match="widening factor of a wide-resnet must be at least 1, got 0"):
        WideResNet(num_classes=10, image_shape=(3, 8, 8), depth=10, widen=0)


@pytest.mark.parametrize("shape", [(3, 30, 32), (3, 32, 30), (1, 2, 4)])
def test_a_patch_size_that_does_not_divide_the_image_is_refused(shape):
    message = f"image height and width must be multiples of the patch size 4, got {shape[1]}x{shape[2]}"
    with pytest.raises(UserError, match=message):
        vit_small(num_classes=10, image_shape=shape)
