"""The Lightning callback that mixes, during real fits: every batch is the blend that its key names."""

from collections import UserDict

import pytest
import torch
import torch.nn.functional as F
from helpers.lightning_fits import AnyBatch, Batches, K, Network, fit, make_data, make_loader, make_network, quiet
from torch import nn

from mixscope import ManifoldMixup, Mixup, NoMixing, blend, blend_targets
from mixscope.base.generators import named_generator
from mixscope.integrations.lightning import MixscopeCallback, MixupCallback
from mixscope.measuring import examine

pytestmark = quiet


def expected_batch(inputs, labels, *, epoch, step, seed=0, scheme=None):
    generator = named_generator(seed, "lightning-mixing", epoch, step, 0)
    mixture = (scheme or Mixup()).draw(inputs, labels, generator=generator)
    return blend(inputs, mixture), blend_targets(labels, mixture, num_classes=K)


def test_every_training_batch_is_the_blend_its_key_names():
    network = make_network()
    fit(network, MixupCallback(Mixup(), num_classes=K, seed=4), epochs=2)
    batches = list(make_loader())
    for position, (inputs, targets) in enumerate(network.seen):
        epoch, step = divmod(position, len(batches))
        expected = expected_batch(*batches[step], epoch=epoch, step=step, seed=4)
        assert torch.equal(inputs, expected[0])
        assert torch.equal(targets, expected[1])
    assert position == 2 * len(batches) - 1


def test_no_epoch_repeats_the_draws_of_another():
    network = make_network()
    fit(network, MixupCallback(Mixup(), num_classes=K), epochs=2)
    half = len(network.seen) // 2
    for one, other in zip(network.seen[:half], network.seen[half:], strict=True):
        assert not torch.equal(one[1], other[1])


def test_validation_batches_are_never_mixed():
    network = make_network()
    fit(network, MixupCallback(Mixup(), num_classes=K), val=make_loader(seed=1))
    originals = list(make_loader(seed=1))
    for position, (inputs, labels) in enumerate(network.validated[2:]):  # after the two of the sanity check
        expected = originals[position % len(originals)]
        assert torch.equal(inputs, expected[0])
        assert torch.equal(labels, expected[1])


def test_mixing_stops_after_the_epoch_named_and_targets_keep_their_form():
    network = make_network()
    fit(network, MixupCallback(Mixup(), num_classes=K, mixing_off=1), epochs=2)
    batches = list(make_loader())
    for (inputs, targets), (original, labels) in zip(network.seen[len(batches) :], batches, strict=True):
        assert torch.equal(inputs, original)
        assert torch.equal(targets, F.one_hot(labels, K).float())
    assert not torch.equal(network.seen[0][0], batches[0][0])


def test_mixing_draws_nothing_from_the_global_random_state():
    def final_draw(*callbacks):
        fit(make_network(), *callbacks, train=make_loader(shuffle=True))
        return torch.rand(3)

    assert torch.equal(final_draw(MixupCallback(Mixup(), num_classes=K)), final_draw())


def test_a_resumed_fit_is_bit_for_bit_the_unbroken_one(tmp_path):
    class Plain(Network):
        def __init__(self):
            super().__init__()
            self.body[3] = nn.Identity()  # without dropout, whose draws belong to the global random state

    def run(epochs, **options):
        network = make_network(kind=Plain)
        trainer = fit(network, MixupCallback(Mixup(), num_classes=K), epochs=epochs, **options)
        return network, trainer

    unbroken, _ = run(3)
    run(2)[1].save_checkpoint(tmp_path / "last.ckpt")
    resumed, _ = run(3, ckpt_path=tmp_path / "last.ckpt")
    assert all(map(torch.equal, unbroken.state_dict().values(), resumed.state_dict().values()))
    assert all(map(torch.equal, *([batch[1] for batch in part] for part in (unbroken.seen[-7:], resumed.seen))))


def test_batches_that_are_used_again_are_left_as_they_are():
    batches = [list(batch) for batch in make_loader()]
    copies = [[part.clone() for part in batch] for batch in batches]
    fit(make_network(), MixupCallback(Mixup(), num_classes=K), train=Batches(*batches), epochs=2)
    for batch, copy in zip(batches, copies, strict=True):
        assert all(map(torch.equal, batch, copy))


def test_mixing_and_measuring_go_together_and_the_measurement_sees_no_blend():
    callback = MixscopeCallback()
    network = make_network()
    fit(network, MixupCallback(Mixup(), num_classes=K), callback, val=make_loader(seed=1))
    expected = examine(network, head="head", train=[make_data()]).values
    assert callback.history[-1]["train/accuracy_clean"] == expected["train/accuracy_clean"]


@pytest.mark.parametrize(
    "batch",
    [
        [*make_data(), torch.arange(200)],
        [make_data()[0], make_data()[1][:, None]],
        [make_data()[0], F.one_hot(make_data()[1]).float()],
        {"image": make_data()[0], "label": make_data()[1], "path": "x"},
        UserDict(image=make_data()[0], label=make_data()[1]),
    ],
    ids=["three", "column", "one-hot", "dict", "user dict"],
)
def test_batches_of_every_usual_form_are_mixed_as_pairs_are(batch):
    seen = []

    class Keeping(Network):
        def training_step(self, batch, batch_idx):
            seen.append(batch)
            return next(self.parameters()).sum()

    fit(make_network(kind=Keeping), MixupCallback(Mixup(), num_classes=K), train=Batches(batch), epochs=1)
    inputs, targets = expected_batch(*make_data(), epoch=0, step=0)
    (mixed,) = seen
    first, second, *others = mixed.values() if isinstance(mixed, dict | UserDict) else mixed
    assert type(mixed) is type(batch)
    assert torch.equal(first, inputs)
    assert torch.equal(second, targets)
    assert len(others) == len(batch) - 2


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (make_data(), "batches must be lists or dicts, whose entries can be replaced, got a tuple"),
        ({"image": make_data()[0]}, r"batches must name .*: for inputs \['image'\], for labels nothing"),
        ([make_data()[0], make_data()[1] + 1], r"labels must lie in \[0, 3\), got values from 1 to 3"),
        ([make_data()[0], torch.full((200, K), 1 / K)], "labels must be classes, got rows .* are they soft"),
    ],
    ids=["tuple", "dict", "range", "soft"],
)
def test_a_batch_that_cannot_be_mixed_is_refused(batch, message):
    with pytest.raises(ValueError, match=message):
        fit(make_network(kind=AnyBatch), MixupCallback(Mixup(), num_classes=K), train=Batches(batch), epochs=1)


def test_a_scheme_for_hidden_layers_is_refused():
    with pytest.raises(ValueError, match=r"scheme must blend inputs \(site 'input'\), got site 'body.0'"):
        fit(make_network(), MixupCallback(ManifoldMixup(sites=("body.0",)), num_classes=K), epochs=1)


def test_mixing_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        MixupCallback(NoMixing(), num_classes=1)
    with pytest.raises(ValueError, match="mixing_off must be at least 0, got -1"):
        MixupCallback(NoMixing(), num_classes=3, mixing_off=-1)
