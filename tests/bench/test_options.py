"""Options: what is refused, and that a description comes back as it was."""

import json
from pathlib import Path

import pytest

from mixscope.base.errors import UserError
from mixscope.bench.build import anchored, build_scheme
from mixscope.bench.demo import demo_runs
from mixscope.bench.description import method_label
from mixscope.bench.options import (
    AugmentationOptions,
    ConsistencyOptions,
    DataOptions,
    MeasureOptions,
    MixingOptions,
    TrainOptions,
    options_from_dict,
    options_to_dict,
)
from mixscope.mixing.manifold import ManifoldMixup
from mixscope.mixing.schemes import SCHEMES
from mixscope.training.recipe import Recipe

EVERYTHING = TrainOptions(
    data=DataOptions(data="mnist", data_dir=Path("/data"), subset=100, test_subset=50, label_noise=0.2),
    augmentation=AugmentationOptions(crop_padding=4, flip=True),
    model="convnet",
    head="fc",
    classifier="fixed-etf",
    mixing=MixingOptions(mixing="manifold-mixup", alpha=0.5, mixing_sites=("input", "layer1")),
    training=Recipe(epochs=3, learning_rate=0.2, milestones=(0.5,), mixing_off=2, max_gradient_norm=1.0, compile=True),
    consistency=ConsistencyOptions(consistency_points=3, consistency_teacher="ema", unlabelled_disjoint=True),
    measuring=MeasureOptions(sites=("layer1", "head")),
    measure_every=2,
    seed=7,
    device="cpu",
    threads=2,
    label="mine",
)


@pytest.mark.parametrize("options", [TrainOptions(), EVERYTHING])
def test_a_description_comes_back_through_json_as_it_was(options):
    values = json.loads(json.dumps(options_to_dict(options)))
    assert options_from_dict(TrainOptions, values) == options


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "the description holds options this version does not know: colour"),
        ({"seed": "one"}, "the description's seed must be int, got 'one'"),
        ({"seed": True}, "the description's seed must be int, got True"),
        ({"device": "tpu"}, "the description's device must be"),
        ({"training": {"epochs": 0}}, "epochs must lie between 1 and 1000000, got 0"),
        ({"data": 3}, "the description's data must be"),
    ],
)
def test_a_damaged_description_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        options_from_dict(TrainOptions, change)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (DataOptions, {"test_size": 0}, "test-size must lie between 0 and"),
        (DataOptions, {"subset": 0}, "subset must lie between 1 and"),
        (DataOptions, {"test_subset": 0}, "test-subset must lie between 1 and"),
        (DataOptions, {"label_noise": 1.0}, r"label-noise must lie between 0 and 1 \(1 excluded\), got 1"),
        (AugmentationOptions, {"crop_padding": -1}, "crop-padding must lie between 0 and 256, got -1"),
        (MixingOptions, {"alpha": 0.0}, "alpha must lie between 0.001 and 10000, got 0"),
        (MixingOptions, {"num_points": 1}, "num-points must lie between 2 and 100, got 1"),
        (
            MixingOptions,
            {"mixing": "cutmix", "num_points": 3},
            "num-points must go with mixing mixup, got mixing cutmix",
        ),
        (MixingOptions, {"mixing": "none", "alpha": 1.0}, "alpha must go with mixing mixup, label-mixup, cut"),
        (MixingOptions, {"mixing_sites": ("a",)}, "mixing-sites must go with mixing manifold-mixup, got mixing mixup"),
        (MixingOptions, {"mixing": "cutmix", "per_example": True}, "per-example must go with mixing mixup"),
        (ConsistencyOptions, {"consistency_points": 1}, "consistency-points must lie between 0 and 100"),
        (ConsistencyOptions, {"consistency_alpha": 0.0}, "consistency-alpha must lie between 0.001 and"),
        (
            ConsistencyOptions,
            {"consistency_points": 2, "consistency_weight": -1.0},
            "consistency-weight must lie between 0 and",
        ),
        (
            ConsistencyOptions,
            {"consistency_points": 2, "consistency_ramp": 2.0},
            r"consistency-ramp must lie between 0 and 1",
        ),
        (ConsistencyOptions, {"consistency_points": 2, "consistency_decay": 1.0}, "decay must lie between 0 and 1"),
        (ConsistencyOptions, {"consistency_points": 2, "consistency_batch": 0}, "consistency-batch must lie between 1"),
        (ConsistencyOptions, {"consistency_points": 2, "unlabelled": 0}, "unlabelled must lie between 1"),
        (
            ConsistencyOptions,
            {"consistency_points": 2, "consistency_decay": 0.9},
            "consistency-decay must go with consistency-teacher ema, got same",
        ),
        (
            ConsistencyOptions,
            {"unlabelled": 100},
            "unlabelled must go with consistency-points of at least 2, got 0",
        ),
        (
            TrainOptions,
            {"consistency": ConsistencyOptions(consistency_points=2, unlabelled_disjoint=True)},
            "unlabelled-disjoint must go with subset: without it every training image is labelled",
        ),
        (TrainOptions, {"threads": 0}, "threads must lie between 1 and 1024, got 0"),
        (TrainOptions, {"measure_every": 0}, "measure-every must lie between 1 and"),
        (MeasureOptions, {"num_pairs": 1}, "num-pairs must lie between 2 and 100000, got 1"),
        (MeasureOptions, {"linearity_alpha": 0.0}, "linearity-alpha must lie between 0.001 and 10000, got 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(kind, values, message):
    with pytest.raises(UserError, match=message):
        kind(**values)


def test_names_may_be_separated_by_commas():
    assert MeasureOptions(sites=("a,b", "c, d")).sites == ("a", "b", "c", "d")
    assert MixingOptions(mixing="manifold-mixup", mixing_sites=("input,a",)).mixing_sites == ("input", "a")


@pytest.mark.parametrize(
    ("mixing", "recipe", "label"),
    [
        ({"mixing": "none"}, {}, "ERM"),
        ({"mixing": "none"}, {"mixing_off": 3}, "ERM"),
        ({}, {}, "mixup"),
        ({"alpha": 0.2}, {"mixing_off": 3}, "mixup α=0.2, off after 3"),
        ({"num_points": 4}, {"loss": "squared-error"}, "mixup of 4 points, squared error"),
        ({"mixing": "cutmix"}, {"mixing_off": 30}, "CutMix"),  # the recipe's epochs: mixing never stops
        ({"mixing": "manifold-mixup"}, {}, "manifold mixup"),
        ({"mixing": "label-mixup", "alpha": 0.5}, {}, "mixup of labels alone α=0.5"),
    ],
)
def test_methods_are_named_by_what_sets_them_apart(mixing, recipe, label):
    assert method_label(TrainOptions(mixing=MixingOptions(**mixing), training=Recipe(**recipe))) == label


@pytest.mark.parametrize(
    ("mixing", "options", "label"),
    [
        ("none", {}, "ICT[2]"),
        ("mixup", {}, "mixup + ICT[2]"),
        ("none", {"consistency_points": 4, "consistency_alpha": 0.1}, "ICT[4] α=0.1"),
        ("none", {"consistency_teacher": "same-detached"}, "ICT[2], stop-gradient"),
        ("none", {"consistency_teacher": "ema", "consistency_space": "softmax"}, "ICT[2], EMA teacher, softmax"),
        ("none", {"consistency_teacher": "ema", "consistency_decay": 0.99}, "ICT[2], EMA teacher 0.99"),
        ("none", {"consistency_weight": 20.0, "consistency_ramp": 0.0}, "ICT[2], weight 20, ramp 0"),
        ("none", {"consistency_batch": 30}, "ICT[2], 30 unlabelled a step"),
        ("none", {"unlabelled": 500, "unlabelled_disjoint": True}, "ICT[2], 500 unlabelled, disjoint"),
    ],
)
def test_unsupervised_mixing_is_named_by_what_departs_from_the_paper(mixing, options, label):
    consistency = ConsistencyOptions(**({"consistency_points": 2} | options))
    data = DataOptions(subset=50)
    assert method_label(TrainOptions(data=data, mixing=MixingOptions(mixing=mixing), consistency=consistency)) == label


def test_a_classifier_that_is_given_is_told():
    assert method_label(TrainOptions(classifier="fixed-etf")) == "mixup, fixed classifier"


def test_a_description_written_before_an_option_existed_means_what_it_meant():
    values = options_to_dict(TrainOptions())
    for name in ("classifier", "consistency"):
        del values[name]
    for name in ("test_subset", "label_noise"):
        del values["data"][name]
    assert options_from_dict(TrainOptions, values) == TrainOptions()


def test_the_demonstration_compares_three_methods_on_the_same_200_digits():
    runs = demo_runs(num_seeds=3, epochs=100)
    assert len(runs) == 9
    assert {method_label(options) for options in runs.values()} == {"ERM", "mixup", "mixup, off automatically"}
    assert len({options.data for options in runs.values()}) == 1
    assert {options.seed for options in runs.values()} == {0, 1, 2}


@pytest.mark.parametrize(
    ("data", "model", "expected"),
    [
        ("digits", "vit-b/4", ("digits", "vit-b/4")),
        ("hf:a/b.c", "timm:x.y", ("hf:a/b.c", "timm:x.y")),
        ("d.npz", "m.py:f", ("/here/d.npz", "/here/m.py:f")),
        ("./mnist", "/there/m.py:f", ("/here/mnist", "/there/m.py:f")),
    ],
)
def test_files_are_described_from_the_root_and_names_stay(monkeypatch, data, model, expected):
    monkeypatch.setattr("os.getcwd", lambda: "/here")
    options = anchored(TrainOptions(data=DataOptions(data=data), model=model))
    assert (options.data.data, options.model) == expected


OPTIONS_OF_SCHEMES = {"alpha": 0.3, "num_points": 3, "per_example": True, "mixing_sites": ("input", "head")}


@pytest.mark.parametrize("name", SCHEMES)
def test_a_row_of_the_table_is_all_that_a_scheme_needs_to_be_offered_and_built(name):
    options = {option: OPTIONS_OF_SCHEMES[option] for option in SCHEMES[name].options}
    scheme = build_scheme(MixingOptions(name, **options), sites=())
    assert type(scheme) is SCHEMES[name].load()
    assert vars(scheme) == {option.removeprefix("mixing_"): value for option, value in options.items()}


def test_a_scheme_is_built_with_its_own_defaults_at_the_input_and_the_first_two_sites():
    built = build_scheme(MixingOptions(mixing="manifold-mixup"), sites=("layer1", "layer2", "head"))
    assert built == ManifoldMixup(sites=("input", "layer1", "layer2"))
    with pytest.raises(UserError, match="mixing-sites must name the modules to mix at"):
        build_scheme(MixingOptions(mixing="manifold-mixup"), sites=())


@pytest.mark.parametrize("mixing_off", [None, 0, 7, "auto"])
def test_when_mixing_ends_comes_back_from_a_description(mixing_off):
    options = TrainOptions(training=Recipe(mixing_off=mixing_off))
    written = json.loads(json.dumps(options_to_dict(options)))
    assert options_from_dict(TrainOptions, written) == options


def test_an_unknown_word_for_when_mixing_ends_is_refused():
    with pytest.raises(UserError, match="the description's mixing_off must be int, got 'soon'"):
        options_from_dict(Recipe, {"mixing_off": "soon"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": MixingOptions(mixing="none")}, "mixing-off auto must go with a scheme that mixes, got mixing none"),
        ({"loss": "squared-error"}, "mixing-off auto must go with loss cross-entropy, got squared-error"),
    ],
)
def test_mixing_ends_by_itself_only_where_there_is_a_floor_to_watch(options, message):
    recipe = Recipe(mixing_off="auto", loss=options.pop("loss", "cross-entropy"))
    with pytest.raises(UserError, match=message):
        TrainOptions(training=recipe, **options)


def test_a_method_whose_mixing_ends_by_itself_is_named_so():
    assert method_label(TrainOptions(training=Recipe(mixing_off="auto"))) == "mixup, off automatically"


def test_the_options_of_scaling_are_written_only_where_they_are_given():
    plain, scaled = DataOptions("digits"), DataOptions("digits", image_size=(16,), resize=(18,))
    assert "image_size" not in options_to_dict(plain)
    assert options_to_dict(scaled) == {**options_to_dict(plain), "image_size": [16], "resize": [18]}
    for options in (plain, scaled):
        assert options_from_dict(DataOptions, options_to_dict(options)) == options
    assert scaled.geometry.image_size == (16, 16)
    assert DataOptions(image_size=(16, 20)).geometry.image_size == (16, 20)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image_size": (1, 2, 3)}, "image-size must be one number, or height and width, got 1 2 3"),
        ({"image_size": (0,)}, "image-size must lie between 1 and 8192, got 0"),
        ({"resize": (256,)}, "resize must go with image-size, which is not given"),
    ],
)
def test_sizes_that_cannot_be_are_refused_with_the_options(given, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        DataOptions("digits", **given)
