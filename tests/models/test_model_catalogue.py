import pytest
import torch
from torch import nn

from mixscope.base.errors import UserError
from mixscope.models.networks import MODEL_FORMS, MODEL_NAMES, build_model, find_head, model_sites


def build(name: str, **changes) -> nn.Module:
    return build_model(name, **{"num_classes": 3, "image_shape": (1, 8, 8), "seed": 0, **changes})


def test_an_mlp_of_another_size_is_named_width_x_depth():
    model = build("mlp-24x3")
    assert model.sites == ("layer1", "layer2", "layer3", "head")
    assert [model.layer1[0].out_features, model.layer3[0].out_features, model.head.in_features] == [24, 24, 24]


def test_the_plain_mlp_has_two_layers_of_256():
    model = build("mlp")
    assert model.sites == ("layer1", "layer2", "head")
    assert (model.layer2[0].in_features, model.layer2[0].out_features) == (256, 256)


def test_depth_and_width_of_a_wide_resnet_are_read_from_its_name():
    model = build("wide-resnet-22-3")
    assert len(model.layer1) == 3
    assert model.head.in_features == 64 * 3


@pytest.mark.parametrize(
    ("name", "hint"),
    [("resnet81", "resnet18"), ("convent", "convnet"), ("vit-b/16", "vit-b/4"), ("wide-resnet-28", "wide-resnet-28-2")],
)
def test_an_unknown_name_is_refused_with_the_names_spelt_like_it(name, hint):
    with pytest.raises(UserError) as caught:
        build(name)
    message = str(caught.value)
    assert message.startswith(f"model must be one of {', '.join(MODEL_NAMES + MODEL_FORMS)}, got {name!r}")
    assert f"did you mean {hint}" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["", "mlp-", "mlp-3x", "mlp-3x2x1", "wide-resnet-28-10-3", "resnet18 ", "net:make"])
def test_a_name_that_only_begins_well_is_refused(name):
    with pytest.raises(UserError, match="model must be one of"):
        build(name)


@pytest.mark.parametrize("name", ["mlp-0x2", "mlp-16x0"])
def test_an_mlp_without_width_or_depth_is_refused(name):
    with pytest.raises(UserError, match=f"width and depth in mlp-WIDTHxDEPTH must be at least 1, got {name}"):
        build(name)


def test_a_wide_resnet_of_impossible_depth_is_refused():
    with pytest.raises(UserError, match=r"must be 6n \+ 4"):
        build("wide-resnet-30-2")


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        build("mlp", num_classes=1)


@pytest.mark.parametrize("shape", [(8, 8), (0, 8, 8), (1, 8, 8, 8)])
def test_an_image_shape_that_is_not_three_sizes_is_refused(shape):
    with pytest.raises(ValueError, match="image_shape must be three positive sizes"):
        build("mlp", image_shape=shape)


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(4, 6))
        self.classifier = nn.Linear(6, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.body(inputs))


class WithGetter(Nested):
    def get_classifier(self) -> nn.Module:
        return self.classifier


class WithOtherGetter(Nested):
    def get_classifier(self) -> nn.Module:
        return nn.Identity()


class WithSites(Nested):
    sites: tuple[str, ...] | list[str] | str = ("body.1", "classifier:input", "classifier")


def test_a_given_head_is_taken():
    assert find_head(Nested(), "classifier") == "classifier"
    assert find_head(Nested(), "body.1") == "body.1"


def test_a_linear_module_called_head_is_found():
    assert find_head(build("convnet")) == "head"


def test_the_classifier_that_a_model_names_itself_is_found():
    assert find_head(WithGetter()) == "classifier"


@pytest.mark.parametrize("model", [Nested(), WithOtherGetter()], ids=["no getter", "getter of no linear module"])
def test_a_head_is_never_guessed(model):
    message = (
        r"^model has no linear module 'head': name the classifier with --head; "
        r"its nn\.Linear modules are body\.1, classifier$"
    )
    with pytest.raises(UserError, match=message):
        find_head(model)


def test_a_head_that_is_not_linear_is_not_taken():
    model = nn.ModuleDict({"head": nn.Sequential(nn.Linear(2, 2))})
    with pytest.raises(UserError, match=r"its nn\.Linear modules are head\.0$"):
        find_head(model)


def test_a_model_without_linear_modules_says_so():
    with pytest.raises(UserError, match=r"it has no nn\.Linear module"):
        find_head(nn.Sequential(nn.Conv2d(1, 1, 1)))


def test_a_given_head_that_does_not_exist_is_refused_with_near_names():
    with pytest.raises(UserError, match=r"model has no module 'clasifier' \(did you mean classifier\?\)"):
        find_head(Nested(), "clasifier")


def test_the_model_itself_is_no_head():
    with pytest.raises(UserError, match="model has no module ''"):
        find_head(nn.Linear(2, 2), "")


def test_a_given_head_of_another_kind_is_refused():
    with pytest.raises(UserError, match=r"module 'body' must be an nn\.Linear, got Sequential"):
        find_head(Nested(), "body")


def test_a_model_without_sites_is_looked_at_before_and_after_its_head():
    assert model_sites(Nested(), "classifier") == ("classifier:input", "classifier")


def test_a_model_with_sites_is_looked_at_there():
    assert model_sites(WithSites(), "classifier") == ("body.1", "classifier:input", "classifier")
    assert model_sites(build("mlp"), "head") == ("layer1", "layer2", "head")


@pytest.mark.parametrize("sites", ["head", (), (1, 2)])
def test_sites_that_are_not_names_are_refused(sites):
    model = WithSites()
    model.sites = sites
    with pytest.raises(UserError, match="sites of the model must be a tuple of module names, got"):
        model_sites(model, "classifier")


def test_sites_that_name_no_module_are_refused_with_near_names():
    model = WithSites()
    model.sites = ("body.1", "clasifier:input")
    message = r"sites must name modules of the model, got 'clasifier:input' \(did you mean classifier\?\)"
    with pytest.raises(UserError, match=message):
        model_sites(model, "classifier")
