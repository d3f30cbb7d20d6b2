"""Mixing in a Trainer: training batches alone, by draws that never repeat, with the loss of one distribution."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from trainer_cases import Examples, K, Network, train
from transformers import TrainerCallback, ViTConfig, ViTForImageClassification

import mixscope
from mixscope.integrations.transformers import MixupCollator, MixupTrainerCallback, soft_label_loss

MIXUP = mixscope.Mixup(alpha=1.0)


def make_loader(collator, workers=0, persistent=False, **options):
    data = Examples(24)
    options |= {"persistent_workers": persistent, "num_workers": workers, "batch_size": 4}
    return DataLoader(data, collate_fn=collator, **options)


def pass_through(loader):
    return [batch["labels"] for batch in loader]


def passes(num, *, workers, persistent=False, tell=True, **options):
    collator = MixupCollator(MIXUP, num_classes=K, seed=3, **options)
    loader = make_loader(collator, workers, persistent)
    found = []
    for epoch in range(num):
        if tell:
            collator.set_epoch(epoch)
        found.append(pass_through(loader))
    return found


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize(("workers", "persistent"), [(2, False), (2, True)])
def test_draws_are_those_of_the_epoch_and_the_batch_however_many_the_workers(workers, persistent):
    plain, parallel = passes(3, workers=0), passes(3, workers=workers, persistent=persistent)
    assert all(map(same, plain, parallel))
    assert not same(plain[0], plain[1])
    assert not same(plain[1], plain[2])


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_no_pass_repeats_another_where_nobody_tells_the_epoch(workers, persistent):
    first, second = passes(2, workers=workers, persistent=persistent, tell=False)
    assert not same(first, second)


def test_processes_draw_apart_and_the_random_state_is_left():
    state = torch.get_rng_state()
    one, other = (MixupCollator(MIXUP, num_classes=K, rank=rank) for rank in (0, 1))
    examples = [Examples(8)[place] for place in range(8)]
    assert not torch.equal(one(examples)["labels"], other(examples)["labels"])
    assert torch.equal(torch.get_rng_state(), state)


def test_mixing_stops_after_its_epochs_in_workers_that_outlive_them():
    found = passes(3, workers=2, persistent=True, mixing_off=2)
    is_hard = [all(bool((labels.max(dim=1).values == 1).all()) for labels in epoch) for epoch in found]
    assert is_hard == [False, False, True]
    with pytest.raises(ValueError, match="set_epoch must be called before each epoch where mixing_off is given"):
        MixupCollator(MIXUP, num_classes=K, mixing_off=1)([Examples(8)[0]])


def test_inputs_and_labels_are_blended_by_the_same_draw_and_examples_stay_as_they_were():
    examples = [{"pixel_values": F.one_hot(torch.tensor(c), K).float(), "labels": c} for c in (0, 1, 2, 2)]
    batch = MixupCollator(MIXUP, num_classes=K)(examples)
    torch.testing.assert_close(batch["pixel_values"], batch["labels"])
    assert ((batch["labels"] > 0) & (batch["labels"] < 1)).any()
    assert torch.equal(examples[1]["pixel_values"], torch.tensor([0.0, 1.0, 0.0]))


def test_a_collator_of_ones_own_is_kept():
    def collate(examples):
        return [torch.stack([e["pixel_values"] for e in examples]), torch.tensor([e["labels"] for e in examples])]

    inputs, labels = MixupCollator(MIXUP, num_classes=K, collate=collate)([Examples(8)[p] for p in range(4)])
    assert inputs.shape == (4, 8)
    assert labels.shape == (4, K)


def test_labels_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got values from 0 to 2 \(num_classes is 2\)"):
        MixupCollator(MIXUP, num_classes=2)([Examples(8)[place] for place in range(8)])
    with pytest.raises(ValueError, match=r"scheme must blend inputs \(site 'input'\), got site 'body'"):
        MixupCollator(mixscope.ManifoldMixup(alpha=1.0, sites=("body",)), num_classes=K)([Examples(8)[0]])


class Seen(TrainerCallback):
    """What the network is given, in training and in evaluation."""

    def __init__(self, network):
        self.trained, self.evaluated = [], []
        network.register_forward_pre_hook(self.look, with_kwargs=True)

    def look(self, module, values, named):
        (self.trained if torch.is_grad_enabled() else self.evaluated).append(named["pixel_values"].clone())


@pytest.mark.parametrize("workers", [0, 2])
def test_only_training_batches_are_mixed_and_in_every_epoch_by_other_draws(workers, tmp_path):
    network = Network()
    seen = Seen(network)
    mixing = MixupTrainerCallback(MIXUP, num_classes=K, mixing_off=2)
    train(network, mixing, out=tmp_path, epochs=3, dataloader_num_workers=workers, eval_strategy="steps", eval_steps=1)

    def share_own(batches, data):
        rows = torch.cat(batches)
        return (rows[:, None] == data.inputs).all(dim=2).any(dim=1).float().mean()

    assert share_own(seen.evaluated, Examples(30, seed=1)) == 1
    steps = len(seen.trained) // 3
    assert share_own(seen.trained[: 2 * steps], Examples(24)) < 0.5
    assert share_own(seen.trained[2 * steps :], Examples(24)) == 1


class Stream(IterableDataset):
    def __init__(self, num, seed=0):
        self.examples = Examples(num, seed)

    def __iter__(self):
        return (self.examples[place] for place in range(len(self.examples)))


def test_streams_are_mixed_too(tmp_path):
    network = Network()
    seen = Seen(network)
    mixing = MixupTrainerCallback(MIXUP, num_classes=K)
    train(network, mixing, out=tmp_path, data=Stream, evaluate=False, max_steps=6)
    assert len(seen.trained) == 6
    assert not any(torch.equal(*pair) for pair in zip(seen.trained[:3], seen.trained[3:], strict=True))


def test_a_resumed_training_goes_on_with_the_draws_of_an_unbroken_one(tmp_path):
    whole, part = Network(), Network()
    options = {"epochs": 2, "save_strategy": "steps", "save_steps": 4, "gradient_accumulation_steps": 1}
    train(whole, MixupTrainerCallback(MIXUP, num_classes=K), out=tmp_path, **options)
    assert (tmp_path / "checkpoint-4").is_dir()  # in the midst of the second of two epochs of 3 steps
    train(
        part, MixupTrainerCallback(MIXUP, num_classes=K), out=tmp_path, resume=str(tmp_path / "checkpoint-4"), **options
    )
    assert same([*whole.state_dict().values()], [*part.state_dict().values()])


def test_the_loss_of_accumulated_batches_is_that_of_the_whole_step(tmp_path):
    # Without mixing but with shares: one batch of 8 and two of 4 have one gradient. Float32, sums in another order.
    ends = []
    for size, steps in ((8, 1), (4, 2)):
        network = Network()
        network.body[1] = nn.Identity()  # batch norm sees batches
        mixing = MixupTrainerCallback(MIXUP, num_classes=K, mixing_off=0)
        train(network, mixing, out=tmp_path, epochs=1, batch_size=size, gradient_accumulation_steps=steps)
        ends.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-6)


def test_the_loss_takes_classes_and_shares_and_every_kind_of_output():
    logits, labels = torch.randn(4, K, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 2])
    shares = F.one_hot(labels, K).float()
    expected = F.cross_entropy(logits, labels)
    for outputs in (logits, (logits, labels), {"logits": logits}):
        torch.testing.assert_close(soft_label_loss(outputs, labels), expected)
        torch.testing.assert_close(soft_label_loss(outputs, shares), expected)
    # The Trainer counts every entry of the labels.
    torch.testing.assert_close(soft_label_loss(logits, labels, labels.ne(-100).sum()), expected)
    torch.testing.assert_close(soft_label_loss(logits, shares, shares.ne(-100).sum()), expected)
    with torch.no_grad(), pytest.raises(ValueError, match="labels must be classes in an evaluation, got shares"):
        soft_label_loss(logits, shares)
    with pytest.raises(ValueError, match="labels must come with every batch"):
        soft_label_loss(logits, None)
    with pytest.raises(ValueError, match=r"labels must have shape \(4, 3\), as logits, got \(4, 2\)"):
        soft_label_loss(logits, shares[:, :2])


def make_vit(**options):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    return ViTForImageClassification(
        ViTConfig(image_size=4, patch_size=2, num_channels=1, num_labels=K, **sizes, **options)
    )


class Images(Examples):
    def __getitem__(self, index):
        example = super().__getitem__(index)
        return example | {"pixel_values": example["pixel_values"].repeat(2).view(1, 4, 4)}


def test_the_models_own_loss_of_several_classes_at_once_is_refused(tmp_path):
    mixing = MixupTrainerCallback(MIXUP, num_classes=K)
    with pytest.raises(ValueError, match="compute_loss_func must be given where batches are mixed, got none: Trainer"):
        train(make_vit(), mixing, out=tmp_path, data=Images, loss=None)
    train(make_vit(), mixing, out=tmp_path, data=Images)


def test_a_trainer_that_does_not_fit_is_told_at_the_start(tmp_path):
    with pytest.raises(ValueError, match=r"num_classes must be the model's 3 \(config.num_labels\), got 4"):
        train(make_vit(), MixupTrainerCallback(MIXUP, num_classes=4), out=tmp_path, data=Images)
    with pytest.raises(ValueError, match=r"label_smoothing_factor must be 0 with MixupTrainerCallback, got 0\.1"):
        train(
            make_vit(),
            MixupTrainerCallback(MIXUP, num_classes=K),
            out=tmp_path,
            data=Images,
            label_smoothing_factor=0.1,
        )
