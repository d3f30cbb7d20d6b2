"""Outputs of networks as other libraries return them, and modules called and compiled in other ways."""

from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from transformers.modeling_outputs import ImageClassifierOutput

from mixscope.capturing.capture import capture
from mixscope.capturing.outputs import logits_of
from mixscope.capturing.sites import record_sites
from mixscope.measuring import PAIR_MIXING, BlendLaw, examine
from mixscope.mixing.manifold import blending_at
from mixscope.mixing.mixture import Mixture

LOGITS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
Outputs = namedtuple("Outputs", ["logits", "aux_logits"])


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        SimpleNamespace(logits=LOGITS),
        {"loss": torch.zeros(()), "logits": LOGITS},
        ImageClassifierOutput(loss=torch.zeros(()), logits=LOGITS),
        Outputs(LOGITS, LOGITS + 1),
        (LOGITS, LOGITS + 1),
        [LOGITS, "attention"],
    ],
    ids=lambda output: type(output).__name__,
)
def test_logits_are_found_in_whatever_a_network_returns(output):
    assert logits_of(output) is LOGITS


@pytest.mark.parametrize("output", [None, {"scores": LOGITS}, (), (torch.zeros(()), LOGITS), "x", {"logits": None}])
def test_what_holds_no_logits_is_told(output):
    with pytest.raises(ValueError, match=r"must be a \(B, K\) tensor of logits, got .*: return the logits, their"):
        logits_of(output)


class Net(nn.Module):
    """A network that calls its layers by keyword, gives a tuple halfway and a mapping at the end."""

    def __init__(self, end=None) -> None:
        super().__init__()
        self.body = nn.Linear(4, 6)
        self.block = Block()
        self.again = self.block
        self.head = nn.Linear(6, 3)
        self.end = end or (lambda logits: {"logits": logits})

    def forward(self, inputs: Tensor):
        hidden, *_ = self.block(hidden_states=self.body(input=inputs), mask=None)
        return self.end(self.head(input=hidden))


class Block(nn.Module):
    """A transformer's block: keywords in, a tuple out."""

    def forward(self, *, hidden_states: Tensor, mask: Tensor | None):
        return hidden_states.tanh(), mask


def make(end=None) -> Net:
    torch.manual_seed(0)
    return Net(end)


INPUTS, LABELS = torch.randn(9, 4, generator=torch.Generator().manual_seed(1)), torch.arange(9) % 3
BATCHES = [(INPUTS, LABELS)]


def test_layers_called_by_keyword_and_blocks_that_give_tuples_are_recorded_under_either_name():
    model = make()
    captured = capture(model, BATCHES, sites=("block", "again:input", "head:input", "body:input"))
    hidden = model.body(INPUTS)
    assert torch.equal(captured.features["body:input"], INPUTS)
    assert torch.equal(captured.features["again:input"], hidden)
    assert torch.equal(captured.features["block"], hidden.tanh())
    assert torch.equal(captured.features["head:input"], hidden.tanh())
    assert torch.equal(captured.logits, model.head(hidden.tanh()))


@pytest.mark.parametrize("site", ["block", "again:input", "head:input", "head"])
def test_blending_goes_into_keywords_and_tuples(site):
    model, half = make(), torch.tensor([[0.5, 0.5]])
    mixture = Mixture(torch.tensor([[0, 1], [1, 2]]), half.expand(2, 2), site=site)
    pairs = Mixture(torch.tensor([[0, 1], [1, 2], [2, 0]]), half.expand(3, 2), site=site)
    with blending_at(model, pairs):
        blended = model(INPUTS[:3])["logits"]
    hidden = model.body(INPUTS[:3])
    mean = {
        "again:input": hidden,
        "block": hidden.tanh(),
        "head:input": hidden.tanh(),
        "head": model.head(hidden.tanh()),
    }
    value = (mean[site] + mean[site].roll(-1, 0)) / 2
    rest = {"again:input": lambda z: model.head(z.tanh()), "head": lambda z: z}.get(site, model.head)
    assert torch.allclose(blended, rest(value), atol=1e-6)
    assert mixture.site == site


@pytest.mark.parametrize("end", [lambda z: z.log_softmax(1), lambda z: (z, z), lambda z: z], ids=["log", "pair", "z"])
def test_every_number_is_that_of_the_logits(end):
    seen, plain = (
        examine(
            make(each),
            head="head",
            train=BATCHES,
            test=BATCHES,
            pairs=BATCHES,
            pair_law=BlendLaw(PAIR_MIXING, torch.Generator().manual_seed(0)),
        ).values
        for each in (end, None)
    )
    assert seen == pytest.approx(plain, rel=1e-4, abs=1e-6, nan_ok=True)


def test_a_softmax_at_the_end_is_refused_with_and_without_a_head():
    for head in ({}, {"head": "head", "train": BATCHES}):
        with pytest.raises(ValueError, match="must be logits, got rows of probabilities: return what goes into"):
            examine(make(lambda z: z.softmax(1)), test=BATCHES, **head)


def test_logits_that_fit_their_targets_exactly_are_no_probabilities():
    values = examine(nn.Sequential(nn.Identity()), test=[(torch.eye(3), torch.arange(3))]).values
    assert values["test/accuracy"] == 1


def numbers(model, head="head"):
    return examine(model, head=head, train=BATCHES, test=BATCHES).values


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("evaluated", [True, False])
@pytest.mark.parametrize("how", ["wrapped", "in place", "a part", "a head"])
def test_compiled_networks_are_measured_as_they_were_written(how, evaluated):
    expected, model = numbers(make()), make()
    backend = {"backend": "eager"}
    if how == "wrapped":
        model = torch.compile(model, **backend)
    elif how == "in place":
        model.compile(**backend)
    elif how == "a part":
        model.body = torch.compile(model.body, **backend)
    else:
        model.head = torch.compile(model.head, **backend)
    if evaluated:
        with torch.no_grad():
            model.eval()(INPUTS)
    head = "head._orig_mod" if how == "a head" else "head"
    assert numbers(model, head) == expected
    if how == "wrapped":
        assert numbers(model, "_orig_mod.head") == expected
        captured = capture(model, BATCHES, sites=("block", "_orig_mod.block:input"))
        assert torch.equal(captured.features["_orig_mod.block:input"].tanh(), captured.features["block"])
    torch._dynamo.reset()


def test_a_network_in_data_parallel_takes_names_with_and_without_its_prefix():
    model = make()
    for head in ("head", "module.head"):
        assert numbers(nn.DataParallel(model), head) == numbers(model)


class Plain(nn.Module):
    """A body and a head that may be changed."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(inputs).tanh())


def old_weight_norm(layer):
    return nn.utils.weight_norm(layer)


def pruned(layer):
    return prune.l1_unstructured(layer, "weight", amount=0.5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "change",
    [old_weight_norm, parametrizations.weight_norm, parametrizations.spectral_norm, nn.utils.spectral_norm, pruned],
)
def test_a_head_is_read_as_its_forward_pass_has_it(change):
    torch.manual_seed(3)
    source, model, plain = Plain(), Plain(), Plain()
    change(source.head)
    change(model.head)
    source(INPUTS)
    model.load_state_dict(source.state_dict())  # its weight is that of before until the next forward pass
    model.train()
    state = OrderedDict((name, value.clone()) for name, value in model.state_dict().items())
    plain.load_state_dict(
        {"body.weight": source.body.weight, "body.bias": source.body.bias, "head.bias": source.head.bias}
        | {"head.weight": source.eval().head(torch.eye(6)).T - source.head.bias[:, None]}
    )
    assert numbers(model) == pytest.approx(numbers(plain), rel=1e-4, abs=1e-5)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_lazy_head_is_measured_and_a_wrapped_one_is_told():
    model = nn.Sequential(OrderedDict(body=nn.Linear(4, 6), head=nn.LazyLinear(3)))
    assert 0 <= numbers(model)["test/accuracy"] <= 1
    model.head = nn.Sequential(OrderedDict(base_layer=nn.Linear(6, 3)))
    with pytest.raises(ValueError, match="which is Sequential and holds base_layer: merge adapters into it first"):
        numbers(model)


def test_recording_leaves_out_what_stands_beside_the_first_entry():
    with record_sites(nn.LSTM(4, 5), ()) as recorded:
        assert recorded == {}
    model = nn.Sequential(OrderedDict(cells=nn.LSTM(4, 5), last=nn.Identity()))
    with record_sites(model, ("cells",)) as recorded:
        output, _ = model(INPUTS)
    assert torch.equal(recorded["cells"], output)
