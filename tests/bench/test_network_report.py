"""The report of a network in memory: what `mixscope.measure` gives, and how it shows."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mixscope
from mixscope.bench.probe import ChosenExamples
from mixscope.measuring import examine

HEAD = "2"


@pytest.fixture(scope="module")
def examples():
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(4, 6, generator=generator) * 3
    labels = torch.arange(120) % 4
    return centers[labels] + torch.randn(120, 6, generator=generator), labels


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))


@pytest.fixture(scope="module")
def report(model, examples):
    return mixscope.measure(model, train=examples, test=examples, head=HEAD, name="<mine> & yours")


def test_the_numbers_are_those_of_an_examination(report, model, examples):
    batches = [examples]
    found = examine(model, head=HEAD, train=batches, test=batches).values
    assert found == {key: pytest.approx(report.values[key], rel=1e-5, abs=1e-7) for key in found}
    assert {key.split("/")[0] for key in report.values} == {
        "nc",
        "train",
        "test",
        "nc_test",
        "channels",
        "linearity",
        "scaling",
    }


def test_batches_that_go_by_once_a_loader_and_two_tensors_are_measured_alike(report, model, examples):
    inputs, labels = examples
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=32)
    once = iter(list(zip(inputs.split(50), labels.split(50), strict=True)))
    for train in (loader, once):
        values = mixscope.measure(model, train=train, test=examples, head=HEAD).values
        assert values == {key: pytest.approx(value, rel=1e-4, abs=1e-6) for key, value in report.values.items()}


def test_the_head_is_found_in_batches_that_hold_inputs_and_labels_by_name(report, model, examples):
    inputs, labels = examples
    named = [
        {"pixel_values": part, "labels": own} for part, own in zip(inputs.split(50), labels.split(50), strict=True)
    ]
    for batches in (named, iter(named)):
        values = mixscope.measure(model, train=batches, test=named).values
        assert values["test/loss"] == pytest.approx(report.values["test/loss"], rel=1e-6)
        assert values["nc/nc1_trace"] == pytest.approx(report.values["nc/nc1_trace"], rel=1e-5)


def test_neither_the_global_random_state_nor_the_model_is_changed(model, examples):
    loader = DataLoader(TensorDataset(*examples), batch_size=32, shuffle=True)
    model.train()
    state, before = torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}
    mixscope.measure(model, train=loader, test=loader, head=HEAD)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_same_seed_blends_the_same_examples(model, examples):
    first, same, other = (mixscope.measure(model, train=examples, head=HEAD, seed=seed).values for seed in (1, 1, 2))
    assert first == same
    assert first["channels/amplification"] != other["channels/amplification"]
    assert first["nc/nc1_pinv"] == other["nc/nc1_pinv"]


def test_without_test_examples_what_needs_them_is_left_out(model, examples):
    report = mixscope.measure(model, train=examples, head=HEAD)
    assert {key.split("/")[0] for key in report.values} == {"nc", "train", "channels"}
    assert report.values["train/accuracy_clean"] <= 1
    assert "NC1" in str(report)


def test_it_prints_sentences_and_numbers_with_names_not_keys(report):
    text = str(report)
    assert text.startswith("<mine> & yours")
    assert "Test error" in text
    assert text.index("Confidence: ") < text.index("What mends it: ") < text.index("Test error")
    assert "test/error" not in text


def test_in_a_notebook_it_is_html_that_escapes_names_and_loads_nothing(report):
    html = report._repr_html_()
    assert "&lt;mine&gt; &amp; yours" in html
    assert "<mine>" not in html
    assert 'src="http' not in html


def test_its_page_holds_the_figures(report, tmp_path):
    report.write_page(tmp_path / "new" / "page.html")
    text = (tmp_path / "new" / "page.html").read_text()
    assert "plotly" in text
    assert set(report.pictures) == {"reliability", "linearity", "pairs", "plane"}


def test_its_frame_has_every_number_with_its_card(report):
    pytest.importorskip("pandas")
    frame = report.to_frame()
    assert list(frame.index) == list(report.values)
    assert frame.loc["test/ece", "value"] == report.values["test/ece"]
    assert frame.loc["test/ece", "better"] == "low"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": "1"}, "module '1' must be an nn.Linear, got ReLU"),
        ({"head": "2x"}, "model has no module .2x."),
        ({"head": HEAD, "class_names": ("a", "b")}, "class_names must be 4 names, as the head has outputs, got 2"),
        ({"head": HEAD, "sites": ("body",)}, "body"),
        ({"head": HEAD, "train": ()}, "train"),
        (
            {"head": HEAD, "train": (torch.zeros(3, 6), torch.zeros(2).long())},
            "train: inputs and labels",
        ),
    ],
)
def test_errors_name_the_argument(model, examples, arguments, message):
    with pytest.raises(ValueError, match=message):
        mixscope.measure(model, **{"train": examples, **arguments})


def test_every_example_has_the_same_chance_of_being_chosen():
    rows = torch.arange(40.0)[:, None]
    counts = torch.zeros(40)
    for seed in range(400):
        chosen = ChosenExamples(
            [(rows[:25], rows[:25, 0].long()), (rows[25:], rows[25:, 0].long())],
            most=10,
            generator=torch.Generator().manual_seed(seed),
        )
        assert sum(len(inputs) for inputs, _ in chosen) == chosen.num_seen == 40
        inputs, labels = (torch.cat(part) for part in zip(*chosen.batches(), strict=True))
        assert len(set(labels.tolist())) == 10
        assert torch.equal(inputs[:, 0].long(), labels)
        counts[labels] += 1
    assert float((counts - 100).abs().max()) < 45  # five standard deviations of a binomial of 400 with 1/4


def test_large_inputs_are_fewer(monkeypatch):
    monkeypatch.setattr("mixscope.bench.probe.CHOICE_BYTES", 4 * 100 * 5)
    chosen = ChosenExamples(
        [(torch.zeros(50, 100), torch.zeros(50).long())], most=20, generator=torch.Generator().manual_seed(0)
    )
    assert len(list(chosen)) == 1
    assert sum(len(inputs) for inputs, _ in chosen.batches()) == 5
