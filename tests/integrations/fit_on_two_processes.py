"""Fit a small network on two processes with both callbacks and save what each process saw; run as a script."""

import sys

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

from mixscope import Mixup
from mixscope.integrations.lightning import MixscopeCallback, MixupCallback


class Network(LightningModule):
    def __init__(self, folder):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU())
        self.head = nn.Linear(16, 3)
        self.folder = folder
        self.targets = []

    def forward(self, inputs):
        return self.head(self.body(inputs))

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        self.targets.append(targets.clone())
        return F.cross_entropy(self(inputs), targets)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_fit_end(self):
        logged = {key: float(value) for key, value in self.trainer.callback_metrics.items()}
        seen = {"history": self.trainer.callbacks[0].history, "logged": logged, "targets": self.targets}
        torch.save(seen, f"{self.folder}/{self.global_rank}.pt")


def main(folder):
    torch.manual_seed(0)
    inputs = torch.randn(200, 8)
    labels = inputs[:, :3].argmax(dim=1)
    inputs[150:] = torch.nan  # raises when looked at: the sampler, which Lightning wraps, leaves these out
    data = TensorDataset(inputs, labels)
    trainer = Trainer(
        max_epochs=9,
        max_steps=4,  # the end of the fit falls into the second epoch
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[MixscopeCallback(every=5), MixupCallback(Mixup(), num_classes=3)],
    )
    trainer.fit(Network(folder), DataLoader(data, batch_size=32, sampler=SubsetRandomSampler(range(150))))


if __name__ == "__main__":
    main(sys.argv[1])
