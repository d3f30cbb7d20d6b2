"""Small Lightning fits: a module, data, and a Trainer that keeps still."""

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

quiet = [
    # Lightning 2.6 asks torch's pytree for leaves in a way that torch 2.13 deprecates, on every use of a DataLoader.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning:lightning"),
    # Lightning advises more workers on machines with many cores; there is nothing to load here.
    pytest.mark.filterwarnings("ignore:The '(train|val)_dataloader' does not have many workers"),
    # Lightning finds a validation_step without validation data suspicious; here some fits have none.
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
]

K, D = 3, 8


def make_data(num=200, seed=0):
    inputs = torch.randn(num, D, generator=torch.Generator().manual_seed(seed))
    return inputs, inputs[:, :K].argmax(dim=1)


def make_loader(batch_size=32, *, num=200, seed=0, **options):
    return DataLoader(TensorDataset(*make_data(num, seed)), batch_size=batch_size, **options)


class Batches:
    """An iterable of ready batches, which is no DataLoader."""

    def __init__(self, *batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


class Network(LightningModule):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(D, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(16, K)
        self.seen = []
        self.validated = []

    def forward(self, inputs):
        return self.head(self.body(inputs))

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        self.seen.append((inputs.clone(), targets.clone()))
        return F.cross_entropy(self(inputs), targets)

    def validation_step(self, batch, batch_idx):
        self.validated.append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class AnyBatch(Network):
    def training_step(self, batch, batch_idx):
        return self(next(self._tensors(batch))).sum()

    def _tensors(self, batch):
        while isinstance(batch, list | tuple | dict):
            batch = next(iter(batch.values() if isinstance(batch, dict) else batch))
        yield batch


def fit(network, *callbacks, train=None, val=None, epochs=3, datamodule=None, ckpt_path=None, **options):
    settings = {"logger": False, "enable_checkpointing": False} | options
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **settings,
    )
    if datamodule is None:
        trainer.fit(network, make_loader() if train is None else train, val, ckpt_path=ckpt_path)
    else:
        trainer.fit(network, datamodule=datamodule)
    return trainer


def make_network(seed=0, kind=Network):
    torch.manual_seed(seed)
    return kind()
