"""What the Lightning callback finds out before an epoch is spent, and what it copes with."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from helpers.lightning_fits import D, K, Network, fit, make_data, make_loader, make_network, quiet
from lightning.pytorch import Callback
from lightning.pytorch.utilities import CombinedLoader
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from mixscope import Mixup, blend, blend_targets
from mixscope.integrations.lightning import MixscopeCallback

pytestmark = quiet


class Counting(Callback):
    """Counts the training batches that were spent."""

    count = 0

    def on_train_batch_start(self, *arguments):
        self.count += 1


def refusal(network, *, train=None, val=None, **options):
    """Return what a fit is refused with, and make sure that no batch was spent on it."""
    counting = Counting()
    with pytest.raises(ValueError, match=r".") as caught:
        fit(network, MixscopeCallback(**options), counting, train=train, val=val)
    assert counting.count == 0
    assert "\n" not in str(caught.value)
    return str(caught.value)


def measured(train=None, *, network=None, val=None, epochs=1, **options):
    """Return the callback of a fit, with what was told during it."""
    callback = MixscopeCallback(**options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(make_network() if network is None else network, callback, train=train, val=val, epochs=epochs)
    told = [str(one.message).removeprefix("MixscopeCallback: ") for one in caught if "Mixscope" in str(one.message)]
    assert told == callback.notes  # each is told once
    return callback


def still():
    network = make_network()
    network.configure_optimizers = lambda: torch.optim.SGD(network.parameters(), lr=0.0)
    network.body[1].momentum = 0.0
    return network


class Softmax(Network):
    def forward(self, inputs):
        return super().forward(inputs).softmax(dim=1)


class ZeroHead(Softmax):
    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)


class Keywords(Network):
    def forward(self, *, pixel_values):
        return super().forward(pixel_values)

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(pixel_values=batch[0]), batch[1])


class Unused(Network):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(3, 3)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Softmax, {}, "softmax"),
        (ZeroHead, {}, "softmax"),
        (Keywords, {}, "forward must take a batch of inputs and return the logits, got TypeError"),
        (Unused, {"sites": ("spare",)}, "layer_pairs: site 'spare' must run in the forward pass, got no run"),
        (Network, {"train_batches": []}, "batches must hold at least one example, got none"),
        (Network, {"train_batches": [(make_data()[0], make_data()[1] + 1)]}, "labels must lie in [0, 3), got values"),
    ],
)
def test_what_cannot_be_measured_is_told_before_a_batch_is_spent(kind, options, message):
    network = make_network(kind=kind)
    weights = [weight.clone() for weight in network.state_dict().values()]
    assert message in refusal(network, val=make_loader(seed=1), **options)
    assert all(map(torch.equal, weights, network.state_dict().values()))


def test_labels_that_do_not_fit_the_head_are_told_before_a_batch_is_spent():
    train = DataLoader(TensorDataset(make_data()[0], make_data()[1] + 5), batch_size=50)
    assert "labels must lie in [0, 3), got values from 5" in refusal(make_network(), train=train)


# Samplers


def test_a_weighted_sampler_is_left_to_training_and_the_data_set_is_measured():
    sampler = WeightedRandomSampler([1.0] * 20 + [0.0] * 180, num_samples=64)
    callback = measured(make_loader(sampler=sampler), network=still())
    plain = measured(make_loader(), network=still())
    assert callback.history == plain.history


def test_samplers_of_batches_and_of_ones_own_are_left_to_training():
    class Own(RandomSampler):
        pass

    data = TensorDataset(*make_data())
    batches = DataLoader(data, batch_sampler=OwnBatches(RandomSampler(data), 16, drop_last=True))
    plain = measured(make_loader(), network=still())
    assert measured(make_loader(sampler=Own(data)), network=still()).history == plain.history
    history = measured(batches, network=still()).history[0]
    for key, value in plain.history[0].items():
        if key.startswith(("nc/", "train/")):  # blends are made within batches, which are smaller here
            assert history[key] == pytest.approx(value, rel=1e-3, abs=1e-6), key


class OwnBatches(BatchSampler):
    pass


class OwnSubset(SubsetRandomSampler):
    pass


@pytest.mark.parametrize("kind", [SubsetRandomSampler, OwnSubset])
def test_what_a_subset_sampler_leaves_out_is_never_looked_at(kind):
    inputs, labels = make_data()
    inputs[100:] = torch.nan
    train = DataLoader(TensorDataset(inputs, labels), batch_size=25, sampler=kind(range(100)))
    assert measured(train).history[0]["nc/nc1_pinv"] > 0


def test_training_with_a_weighted_sampler_and_workers_is_the_same_bit_for_bit():
    def weights(*callbacks):
        torch.manual_seed(5)
        sampler = WeightedRandomSampler(torch.linspace(1, 2, 200).double(), num_samples=128)
        train = make_loader(sampler=sampler, num_workers=1, persistent_workers=True)
        network = make_network()
        fit(network, *callbacks, train=train, val=make_loader(seed=1), epochs=2)
        return [*network.state_dict().values(), torch.rand(3)]

    assert all(map(torch.equal, weights(MixscopeCallback()), weights()))


# Iterable data sets


class Stream(IterableDataset):
    def __iter__(self):
        return zip(*make_data(), strict=True)


class UsedUp(IterableDataset):
    def __init__(self):
        self.rows = iter(list(zip(*make_data(), strict=True)))

    def __iter__(self):
        return self.rows


class Endless(IterableDataset):
    def __init__(self):
        self.lines = (line for line in range(100))  # as an open file, it cannot be copied

    def __iter__(self):
        yield from self.lines


def test_an_iterable_data_set_is_measured_from_its_beginning():
    callback = measured(DataLoader(Stream(), batch_size=32), network=still(), max_examples=64, epochs=2)
    given = measured(network=still(), train_batches=[make_data()], max_examples=64)
    first = list(zip(*(part[:64].split(32) for part in make_data()), strict=True))
    expected = measured(network=still(), train_batches=first)
    assert callback.history[0] == pytest.approx(expected.history[0], rel=1e-4, nan_ok=True)
    assert callback.history[1] == callback.history[0] | {"epoch": 2}
    assert given.history[0]["train/loss_clean"] != callback.history[0]["train/loss_clean"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (UsedUp(), "train_batches must be given where an iterable data set can be gone through only once"),
        (Endless(), "train_batches must be given where an iterable data set cannot be copied, got TypeError"),
    ],
)
def test_an_iterable_data_set_that_training_alone_may_read_has_to_be_given(data, message):
    assert message in refusal(make_network(), train=DataLoader(data, batch_size=32))


# Rare classes


class Rows(Dataset):
    """A data set that shows its labels only one by one."""

    def __init__(self, inputs, labels):
        self.inputs, self.labels_hidden = inputs, labels

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.inputs[index], self.labels_hidden[index]


class WithTargets(Rows):
    @property
    def targets(self):
        return self.labels_hidden.tolist()


def rare_data():
    inputs, labels = make_data(num=400)
    labels = labels.clamp(max=1)
    labels[123] = 2
    return inputs, labels


@pytest.mark.parametrize("make", [TensorDataset, WithTargets, lambda *parts: Subset(TensorDataset(*parts), range(400))])
def test_a_rare_class_has_an_example_among_few(make):
    train = DataLoader(make(*rare_data()), batch_size=50)
    callback = measured(train, max_examples=12)
    assert callback.notes == []
    assert torch.isfinite(torch.tensor(callback.history[0]["nc/nc1_pinv"]))


def test_a_class_without_an_example_gives_nan_for_what_needs_one_and_is_told_once():
    network = make_network()
    train = DataLoader(Rows(*rare_data()), batch_size=50)
    callback = measured(train, network=network, val=make_loader(seed=1), max_examples=12, epochs=2, sites=("body.0",))
    (note,) = callback.notes
    assert note.startswith("train_batches: no example of class 2 is among those looked at")
    assert note.endswith("are NaN (nc/..., channels/..., nc_test/...): raise max_examples or give train_batches")
    whole = measured(val=make_loader(seed=1), sites=("body.0",)).history[0]
    for history in callback.history:
        lacking = {key.split("/")[0] for key, value in history.items() if value != value and whole[key] == whole[key]}
        assert lacking == {"nc", "nc_test", "channels"}
        assert history.keys() == whole.keys()
        assert 0 <= history["train/accuracy_clean"] <= 1
        assert history["linearity/body.0/relative_defect"] < 1e-3


def test_a_thousand_classes_among_five_thousand_examples():
    class Wide(Network):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(16, 1000)

    labels = torch.cat([torch.arange(1000), torch.zeros(7000, dtype=torch.int64)])
    train = DataLoader(TensorDataset(torch.randn(8000, D), labels), batch_size=1000)
    callback = measured(train, network=make_network(kind=Wide))
    assert callback.history[0]["nc/nc1_pinv"] > 0


# Collation that mixes


def mixing_collate(examples):
    """What torchvision's guide does: `cutmix_or_mixup(*default_collate(batch))`."""
    inputs, labels = default_collate(examples)
    mixture = Mixup().draw(inputs, labels, generator=torch.Generator().manual_seed(0))
    return blend(inputs, mixture), blend_targets(labels, mixture, num_classes=K)


def two_labels_collate(examples):
    inputs, labels = default_collate(examples)
    return inputs, (labels, labels.flip(0), 0.3)


def soft_half_of_the_time(examples):
    inputs, labels = default_collate(examples)
    return inputs, F.one_hot(labels, K).float()


class AnyTargets(Network):
    def training_step(self, batch, batch_idx):
        return self(batch[0]).square().mean()


@pytest.mark.parametrize("collate", [mixing_collate, two_labels_collate, soft_half_of_the_time])
def test_a_collate_fn_that_mixes_is_left_out_and_that_is_said(collate):
    network = make_network(kind=AnyTargets)
    callback = measured(make_loader(collate_fn=collate), network=network)
    assert callback.notes[0].startswith("train_batches: examples are read without the loader's collate_fn")
    given = measured(network=make_network(kind=AnyTargets), train_batches=list(make_loader()))
    assert callback.history[0].keys() == given.history[0].keys()
    assert 0 <= callback.history[0]["train/accuracy_clean"] <= 1


def test_a_data_set_that_mixes_has_to_be_given():
    data = TensorDataset(make_data()[0], torch.full((200, K), 1 / K))
    message = refusal(make_network(), train=DataLoader(data, batch_size=50))
    assert message.startswith("train_batches: labels must be classes, got rows of shape (50, 3) that are no one-hot")


def test_a_data_set_with_one_hot_labels_is_measured_as_one_with_classes():
    inputs, labels = make_data()
    train = DataLoader(TensorDataset(inputs, F.one_hot(labels, K).float()), batch_size=32)
    assert measured(train).history == measured().history


# Several loaders


def test_several_validation_loaders_are_told_and_the_first_is_looked_at():
    expected = measured(network=still(), val=make_loader(seed=1)).history
    loaders = [make_loader(seed=1), make_loader(seed=2)]
    for several in (loaders, dict(enumerate(loaders)), CombinedLoader(loaders, "sequential")):
        network = still()
        network.validation_step = lambda batch, batch_idx, dataloader_idx=0: None
        callback = measured(network=network, val=several)
        assert callback.history == expected
        assert callback.notes == ["val_batches: the first of 2 loaders is looked at"]


def test_several_training_loaders_have_to_be_given():
    for several in ([make_loader(), make_loader()], {"a": make_loader(), "b": make_loader()}):
        message = refusal(make_network(), train=several)
        assert message.startswith("train_batches must be given where the Trainer's loader is not one DataLoader, got")
    assert measured([make_loader()], network=make_network(kind=FirstOfList)).history


class FirstOfList(Network):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch[0], batch_idx)


# Augmentation


class Augmented(Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, index):
        inputs, labels = make_data()
        return inputs[index] * (1 if torch.rand(()) < 0.5 else -1), labels[index]


def test_augmented_training_examples_are_told_once_and_plain_ones_are_not():
    (note,) = measured(DataLoader(Augmented(), batch_size=20), epochs=2).notes
    assert note.startswith("train_batches: the same example is another one each time it is read")
    assert measured(make_loader(shuffle=True)).notes == []


def test_validation_that_begins_later_is_measured_from_the_first_epoch_on():
    callback = MixscopeCallback()
    options = {"check_val_every_n_epoch": 2, "num_sanity_val_steps": 0}
    fit(make_network(), callback, val=make_loader(seed=1), epochs=2, **options)
    assert callback.history[0].keys() == callback.history[1].keys() >= {"test/ece"}


@pytest.mark.parametrize("options", [{"precision": "bf16-true"}, {"precision": "bf16-mixed"}, {"fast_dev_run": True}])
def test_a_fit_of_another_precision_or_a_trial_run_passes_the_start(options):
    callback = MixscopeCallback(sites=("body.0",))
    fit(make_network(), callback, val=make_loader(seed=1), epochs=1, **options)
    assert 0 <= callback.history[0]["test/accuracy"] <= 1


def test_items_that_are_batches_themselves_are_read_as_they_are():
    class Ready(Dataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            return tuple(part[40 * index : 40 * index + 40] for part in make_data())

    callback = measured(DataLoader(Ready(), batch_size=None))
    assert callback.history[0]["nc/nc1_pinv"] > 0


class FailsInThisProcess(Dataset):
    def __len__(self):
        return 9

    def __getitem__(self, index):
        raise RuntimeError("no worker\nand more lines")


class LengthUnknown(Dataset):
    def __getitem__(self, index):
        return make_data()[0][index], 0


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            DataLoader(FailsInThisProcess(), batch_size=3),
            "where examples cannot be read apart, got RuntimeError: no worker",
        ),
        (
            DataLoader(LengthUnknown(), sampler=RandomSampler(range(9))),
            "where a data set has no length, got LengthUnknown",
        ),
    ],
)
def test_a_data_set_that_cannot_be_read_apart_has_to_be_given(train, message):
    assert refusal(make_network(), train=train) == f"train_batches must be given {message}"


def test_a_lazy_head_is_told():
    class Lazy(Network):
        def __init__(self):
            super().__init__()
            self.head = nn.LazyLinear(K)

    counting = MixscopeCallback()
    with pytest.raises(ValueError, match="head 'head' must have its weights, got a lazy layer: run forward on a batch"):
        fit(make_network(kind=Lazy), counting, num_sanity_val_steps=0)


class OwnNames(Network):
    def __init__(self):
        super().__init__()
        self.net = nn.ModuleDict({"stem": self.body, "classifier": self.head})
        del self.body, self.head

    def forward(self, inputs):
        return self.net["classifier"](self.net["stem"](inputs))


def test_the_head_is_found_by_itself_where_one_layer_gives_the_logits():
    network = make_network(kind=OwnNames)
    assert measured(network=network).history == measured(network=make_network()).history


def test_a_module_without_a_head_is_told_to_name_one():
    class Twice(OwnNames):
        def forward(self, inputs):
            return super().forward(inputs) + super().forward(-inputs)

    assert refusal(make_network(kind=Twice)).startswith("head: model has no linear layer that gives its logits")
