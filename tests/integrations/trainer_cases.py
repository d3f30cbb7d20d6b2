"""A small network, its data and its Trainer, for the tests of callbacks."""

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from mixscope.integrations.transformers import soft_label_loss

K, D = 3, 8


class Examples(Dataset):
    def __init__(self, num, seed=0):
        self.inputs = torch.randn(num, D, generator=torch.Generator().manual_seed(seed))
        self.inputs[:K, :K] = 3 * torch.eye(K)  # every class is there

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return {"pixel_values": self.inputs[index], "labels": int(self.inputs[index, :K].argmax())}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Linear(D, 16), nn.BatchNorm1d(16), nn.ReLU())
            self.head = nn.Linear(16, K)

    def forward(self, pixel_values):
        return self.head(self.body(pixel_values))


def make_trainer(
    network, *callbacks, out, data=Examples, evaluate=True, epochs=2, batch_size=8, loss=soft_label_loss, **options
):
    settings = {"report_to": "none", "save_strategy": "no", "eval_strategy": "epoch" if evaluate else "no"} | options
    arguments = TrainingArguments(
        str(out),
        num_train_epochs=epochs,
        per_device_train_batch_size=batch_size,
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        learning_rate=0.01,
        label_names=["labels"],
        **settings,
    )
    evaluation = data(30, seed=1) if evaluate else None
    callbacks = list(callbacks)
    return Trainer(
        network,
        arguments,
        train_dataset=data(24),
        eval_dataset=evaluation,
        callbacks=callbacks,
        compute_loss_func=loss,
    )


def train(network, *callbacks, resume=None, **options):
    trainer = make_trainer(network, *callbacks, **options)
    trainer.train(resume_from_checkpoint=resume)
    return trainer
