"""A vision transformer of transformers, trained with mixup by its Trainer and measured while it is trained."""

import tempfile

import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

import mixscope
from mixscope.integrations.transformers import MixscopeTrainerCallback, MixupTrainerCallback, soft_label_loss


class Digits(Dataset):
    def __init__(self, rows: slice) -> None:
        images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
        self.images, self.labels = images[rows].float().div(16).view(-1, 1, 8, 8), labels[rows]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        return {"pixel_values": self.images[index], "labels": self.labels[index]}


def main(epochs: int = 4, **options) -> MixscopeTrainerCallback:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = ViTConfig(image_size=8, patch_size=2, num_channels=1, num_labels=10, **sizes)
    settings = {"report_to": "none", "save_strategy": "no", "eval_strategy": "epoch"} | options
    arguments = TrainingArguments(
        tempfile.mkdtemp(), num_train_epochs=epochs, learning_rate=3e-3, use_cpu=True, disable_tqdm=True, **settings
    )
    mixing = MixupTrainerCallback(mixscope.Mixup(alpha=1.0), num_classes=10, mixing_off=3)
    trainer = Trainer(
        ViTForImageClassification(config),
        arguments,
        train_dataset=Digits(slice(1400)),
        eval_dataset=Digits(slice(1400, None)),
        compute_loss_func=soft_label_loss,  # cross-entropy, of classes in evaluations and of shares in training
        callbacks=[mixing],
    )
    trainer.remove_callback(PrinterCallback)  # it would print every number
    measuring = MixscopeTrainerCallback(trainer, every=2)
    trainer.add_callback(measuring)
    trainer.train()
    for numbers in measuring.history:
        print(f"epoch {numbers['epoch']:.0f}: NC1 {numbers['nc/nc1_pinv']:.2f}, ECE {numbers['test/ece']:.3f}")
    return measuring


if __name__ == "__main__":
    main()
