"""Promises every scheme of the table keeps: a row there inherits them."""

import pytest
import torch
from torch import nn

from mixscope.base.generators import named_generator
from mixscope.mixing.manifold import blending_at
from mixscope.mixing.mixture import INPUT_SITE, blend, blend_targets
from mixscope.mixing.mixup import FixedWeights
from mixscope.mixing.schemes import SCHEMES

VALUES = {"alpha": 0.3, "num_points": 3, "per_example": True}  # of the options, beside their defaults
# For measuring, not for training: not in the table, and under the same contract.
MEASURING = [
    FixedWeights(),
    FixedWeights(weights=((0.9, 0.1), (1 / 3, 2 / 3))),
    FixedWeights(weights=((0.2, 0.3, 0.5),)),
]


def examples(row):
    """A scheme as it is by default, with each of its options, and with all of them."""
    places = {"sites": ("input", "first", "second")} if "mixing_sites" in row.options else {}
    options = {name: VALUES[name] for name in row.options if name != "mixing_sites"}
    chosen = [{}, *({name: value} for name, value in options.items()), *([options] if len(options) > 1 else [])]
    return [row.load()(**places, **arguments) for arguments in chosen]


TABLE = [scheme for row in SCHEMES.values() for scheme in examples(row)]
CASES = [pytest.param(scheme, id=str(scheme)) for scheme in (*TABLE, *MEASURING)]


def make_batch(size):
    generator = torch.Generator().manual_seed(size)
    return torch.rand(size, 2, 6, 5, generator=generator), torch.randint(4, (size,), generator=generator)


@pytest.mark.parametrize("scheme", CASES)
def test_the_same_generator_gives_the_same_draw(scheme):
    inputs, labels = make_batch(8)
    first, second = (scheme.draw(inputs, labels, generator=named_generator(0, "mixing", 1)) for _ in range(2))
    assert torch.equal(first.members, second.members)
    assert torch.equal(first.weights, second.weights)
    assert first.site == second.site
    assert (first.mask is None) == (second.mask is None)
    if first.mask is not None:
        assert torch.equal(first.mask, second.mask)


@pytest.mark.parametrize("scheme", [case for case in CASES if "NoMixing" not in case.id])
def test_draws_never_repeat_across_epochs_steps_and_processes(scheme):
    inputs, labels = make_batch(16)
    keys = [(epoch, step, rank) for epoch in range(3) for step in range(3) for rank in range(3)]
    draws = {str(scheme.draw(inputs, labels, generator=named_generator(0, "m", *key)).members.tolist()) for key in keys}
    assert len(draws) == len(keys)


@pytest.mark.parametrize("scheme", CASES)
def test_global_random_state_and_inputs_stay_untouched(scheme):
    inputs, labels = make_batch(8)
    before, state = (inputs.clone(), labels.clone()), torch.get_rng_state()
    scheme.draw(inputs, labels, generator=named_generator(0, "mixing"))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(inputs, before[0])
    assert torch.equal(labels, before[1])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("scheme", CASES)
def test_weights_lie_in_the_simplex_and_labels_keep_mass_one_for_any_batch_size(scheme, size):
    inputs, labels = make_batch(size)
    for draw in range(20):
        mixture = scheme.draw(inputs, labels, generator=named_generator(draw, "mixing"))
        assert mixture.members.shape == mixture.weights.shape
        assert mixture.members.dtype == torch.int64
        assert torch.equal(mixture.members[:, 0], torch.arange(size))
        for column in mixture.members.T:
            assert torch.equal(column.sort().values, torch.arange(size))  # partners are a permutation
        for weights in (mixture.weights, mixture.label_weights):
            assert float(weights.min()) >= 0
            assert float(weights.max()) <= 1
            torch.testing.assert_close(weights.sum(dim=1), torch.ones(size), rtol=0, atol=2e-7)
        targets = blend_targets(labels, mixture, num_classes=4)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(size), rtol=0, atol=3e-7)
        if mixture.site == INPUT_SITE:
            assert blend(inputs, mixture).shape == inputs.shape


@pytest.mark.parametrize("scheme", CASES)
@pytest.mark.parametrize(
    "labels", [torch.rand(4, 3), torch.rand(4), torch.zeros(4, 1, dtype=torch.int64), torch.zeros(4, dtype=torch.bool)]
)
def test_soft_labels_are_refused(scheme, labels):
    with pytest.raises(ValueError, match="labels must be"):
        scheme.draw(make_batch(4)[0], labels, generator=named_generator(0, "mixing"))


@pytest.mark.parametrize("scheme", CASES)
def test_inputs_and_labels_of_different_counts_are_refused(scheme):
    with pytest.raises(ValueError, match="inputs and labels must have the same length, got 4 and 3"):
        scheme.draw(make_batch(4)[0], torch.zeros(3, dtype=torch.int64), generator=named_generator(0, "mixing"))


class Net(nn.Module):
    """Passes its input through two named places unchanged, so that the output shows what was blended."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Identity(), nn.Identity()

    def forward(self, inputs):
        return self.second(self.first(inputs))


@pytest.mark.parametrize("scheme", [case for case in CASES if "LabelMixup" not in case.id])
def test_at_every_site_labels_are_mixed_if_and_only_if_activations_are(scheme):
    # Images that spell out their own label: what comes out of the network must be the label that comes with it.
    labels = torch.arange(4).repeat(3)
    inputs = torch.eye(4)[labels][:, :, None, None].expand(-1, -1, 6, 5).contiguous()
    seen = set()
    for draw in range(30):
        mixture = scheme.draw(inputs, labels, generator=named_generator(draw, "mixing"))
        net, blended = Net(), inputs
        if mixture.site == INPUT_SITE:
            blended = blend(inputs, mixture)
        with blending_at(net, mixture):
            outputs = net(blended)
        targets = blend_targets(labels, mixture, num_classes=4)
        torch.testing.assert_close(outputs.mean(dim=(2, 3)), targets, rtol=0, atol=1e-6)
        seen.add(mixture.site)
    assert seen == set(getattr(scheme, "sites", ["input"]))
