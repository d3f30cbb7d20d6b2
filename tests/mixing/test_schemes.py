"""What single schemes promise beyond the contract: their laws, and how hidden layers are reached."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from mixscope.base.generators import named_generator
from mixscope.mixing.cutmix import CutMix
from mixscope.mixing.manifold import ManifoldMixup, blending_at
from mixscope.mixing.mixture import Mixture, blend, blend_targets
from mixscope.mixing.mixup import LabelMixup, Mixup, NoMixing, scheme_at


def weights_of_first_member(scheme, num_draws, size=1):
    inputs, labels = torch.zeros(size, 1, 4, 4), torch.zeros(size, dtype=torch.int64)
    draws = (scheme.draw(inputs, labels, generator=named_generator(draw, "law")) for draw in range(num_draws))
    return torch.cat([mixture.weights[:, 0] for mixture in draws]).double()


@pytest.mark.parametrize(
    "scheme", [Mixup(), Mixup(alpha=0.2), Mixup(alpha=0.5, num_points=4), ManifoldMixup(sites=("a",))]
)
def test_weights_have_the_exact_moments_of_their_law(scheme):
    num_draws = 3000
    weights = weights_of_first_member(scheme, num_draws)
    alpha, points = scheme.alpha, getattr(scheme, "num_points", 2)
    mean, second = 1 / points, (alpha + 1) / (points * (points * alpha + 1))
    assert abs(float(weights.mean()) - mean) < 5 * math.sqrt((second - mean**2) / num_draws)
    assert abs(float(weights.square().mean()) - second) < 5 * 0.5 / math.sqrt(num_draws)


def test_label_mixup_leaves_inputs_bit_for_bit_and_gives_the_labels_that_mixup_gives():
    inputs, labels = torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 3
    for draw in range(20):
        mixture = LabelMixup(alpha=0.7).draw(inputs, labels, generator=named_generator(draw, "w"))
        both = Mixup(alpha=0.7).draw(inputs, labels, generator=named_generator(draw, "w"))
        assert torch.equal(blend(inputs, mixture), inputs)
        ours, theirs = (blend_targets(labels, drawn, num_classes=3) for drawn in (mixture, both))
        assert torch.equal(ours, theirs)
        assert torch.equal(mixture.rows(slice(3, 6)).label_weights, both.weights[3:6])


def test_per_example_weights_differ_within_a_batch_and_batch_weights_do_not():
    inputs, labels = torch.zeros(6, 1), torch.zeros(6, dtype=torch.int64)
    shared = Mixup().draw(inputs, labels, generator=named_generator(0, "w")).weights
    own = Mixup(per_example=True).draw(inputs, labels, generator=named_generator(0, "w")).weights
    assert len(shared[:, 0].unique()) == 1
    assert len(own[:, 0].unique()) == 6


def exact_kept_area(height, width):
    """Mean kept share for alpha = 1 by enumeration: P(box side k of n) = ((k + 1)^2 - k^2) / n^2, centre uniform."""

    def covered(length, box):
        return sum(min(c + box // 2, length) - max(c - box // 2, 0) for c in range(length)) / length

    # Rows and columns share one side u: integrate over u on the common refinement of both floors.
    cuts = sorted({k / height for k in range(height + 1)} | {k / width for k in range(width + 1)})
    kept = 0.0
    for low, high in pairwise(cuts):
        middle = (low + high) / 2
        area = covered(height, int(height * middle)) * covered(width, int(width * middle)) / (height * width)
        kept += (high**2 - low**2) * (1 - area)  # u = sqrt(1 - weight) has density 2 u on [0, 1]
    return kept


def test_cutmix_keeps_the_exact_mean_area_of_the_clipped_box():
    num_draws = 4000
    inputs, labels = torch.zeros(2, 1, 9, 6), torch.zeros(2, dtype=torch.int64)
    scheme = CutMix()
    kept = [scheme.draw(inputs, labels, generator=named_generator(d, "box")).weights[0, 0] for d in range(num_draws)]
    assert abs(float(torch.stack(kept).mean()) - exact_kept_area(9, 6)) < 5 * 0.5 / math.sqrt(num_draws)


def test_cutmix_shares_labels_by_the_area_that_is_kept():
    inputs, labels = torch.zeros(3, 1, 7, 5), torch.tensor([0, 1, 2])
    for draw in range(50):
        mixture = CutMix().draw(inputs, labels, generator=named_generator(draw, "box"))
        torch.testing.assert_close(mixture.label_weights[0, 0], mixture.mask.float().mean())
        kept = mixture.mask[0, 0]
        box = ~kept
        rows, columns = box.any(dim=1).nonzero()[:, 0], box.any(dim=0).nonzero()[:, 0]
        if len(rows):  # what is cut is one box
            assert box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()


def test_cutmix_refuses_inputs_that_are_no_images():
    with pytest.raises(ValueError, match=r"inputs must have 4 dimensions, got shape \(3, 4\)"):
        CutMix().draw(torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64), generator=named_generator(0, "box"))


def test_manifold_mixup_visits_its_sites_equally_often():
    scheme = ManifoldMixup(sites=("a", "b", "c"))
    inputs, labels = torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64)
    sites = [scheme.draw(inputs, labels, generator=named_generator(d, "site")).site for d in range(900)]
    for site in scheme.sites:
        assert abs(sites.count(site) - 300) < 5 * math.sqrt(900 * 2 / 9)


def two_layers():
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))


def swap(site):
    return Mixture(torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]]), site=site)


def test_hooks_come_off_after_the_block_and_after_an_exception():
    net, inputs = two_layers(), torch.randn(2, 2)
    plain = net(inputs)
    with blending_at(net, swap("0")):
        torch.testing.assert_close(net(inputs), plain.flip(0))
    torch.testing.assert_close(net(inputs), plain)
    with pytest.raises(ZeroDivisionError), blending_at(net, swap("0")):
        raise ZeroDivisionError
    assert not any(module._forward_hooks for module in net.modules())
    torch.testing.assert_close(net(inputs), plain)


def test_the_input_of_a_module_can_be_blended_too():
    net, inputs = two_layers(), torch.randn(2, 2)
    with blending_at(net, swap("0:input")):
        torch.testing.assert_close(net(inputs), net_of(net, inputs.flip(0)))
    with blending_at(net, swap("1:input")):
        torch.testing.assert_close(net(inputs), net_of(net, inputs).flip(0))


def net_of(net, inputs):
    """What the network makes of the inputs, layer by layer, without hooks."""
    for layer in net:
        inputs = torch.nn.functional.linear(inputs, layer.weight, layer.bias)
    return inputs


def test_an_unknown_site_lists_near_names():
    net = nn.Sequential()
    net.add_module("layer", nn.Identity())
    message = r"sites must name modules of the model, got 'layr' \(did you mean layer\?\)"
    with pytest.raises(ValueError, match=message), blending_at(net, swap("layr")):
        pass


def test_a_site_that_is_not_passed_exactly_once_is_refused():
    net = two_layers()
    message = "site '0' must be passed through exactly once in the block, got"
    with pytest.raises(ValueError, match=f"{message} 0 times"), blending_at(net, swap("0")):
        pass
    with pytest.raises(ValueError, match=f"{message} 2 times"), blending_at(net, swap("0")):
        net(net(torch.randn(2, 2)))


def test_a_site_that_gives_no_row_per_example_is_refused():
    class Words(nn.Module):
        def forward(self, inputs):
            return "nothing to blend"

    message = "site '0' must be a tensor of one row per example, got"
    net = nn.Sequential(Words())
    with pytest.raises(ValueError, match=f"{message} str"), blending_at(net, swap("0")):
        net(torch.randn(2, 2))
    net = two_layers()
    with pytest.raises(ValueError, match=rf"{message} shape \(3, 2\)"), blending_at(net, swap("0")):
        net(torch.randn(3, 2))


def test_mixing_stops_after_the_given_epoch():
    scheme = Mixup()
    assert scheme_at(scheme, 10**6, mixing_off=None) is scheme
    assert scheme_at(scheme, 5, mixing_off=5) is scheme
    assert scheme_at(scheme, 6, mixing_off=5) == NoMixing()
    assert scheme_at(scheme, 1, mixing_off=0) == NoMixing()


def test_bad_options_of_schemes_are_refused():
    with pytest.raises(ValueError, match="alpha must be positive and finite, got 0"):
        Mixup(alpha=0)
    with pytest.raises(ValueError, match="num_points must be at least 2, got 1"):
        Mixup(num_points=1)
    with pytest.raises(ValueError, match="alpha must be positive and finite, got -1"):
        CutMix(alpha=-1)
    with pytest.raises(ValueError, match="sites must be a tuple with at least one module name"):
        ManifoldMixup(sites=())
    with pytest.raises(ValueError, match="alpha must be positive"):
        ManifoldMixup(alpha=0, sites=("a",))
