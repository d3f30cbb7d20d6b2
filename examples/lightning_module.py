"""Your LightningModule, trained with mixup and measured while it is fitted, without changing a line of it."""

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import mixscope
from mixscope.integrations.lightning import MixscopeCallback, MixupCallback
from mixscope.integrations.torchmetrics import CalibrationError


class Digits(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(256, 10)
        self.calibration = CalibrationError()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(inputs))

    def training_step(self, batch: list[Tensor]) -> Tensor:
        inputs, targets = batch  # targets: (B,) classes, or (B, K) shares from MixupCallback; cross_entropy takes both
        return F.cross_entropy(self(inputs), targets)

    def validation_step(self, batch: list[Tensor]) -> None:
        inputs, labels = batch
        self.calibration.update(self(inputs).softmax(dim=1), labels)
        self.log("val/ece", self.calibration)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def main(**trainer_options) -> MixscopeCallback:
    torch.manual_seed(0)
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    train, val = random_split(TensorDataset(images.float().div(16), labels), [1400, 397])
    measuring = MixscopeCallback(every=2, head="head", sites=("body.0",))
    mixing = MixupCallback(mixscope.Mixup(alpha=1.0), num_classes=10, mixing_off=3)
    trainer = Trainer(max_epochs=4, accelerator="cpu", callbacks=[measuring, mixing], **trainer_options)
    trainer.fit(Digits(), DataLoader(train, batch_size=64, shuffle=True), DataLoader(val, batch_size=200))
    for numbers in measuring.history:
        print(f"epoch {numbers['epoch']}: NC1 {numbers['nc/nc1_pinv']:.2f}, ECE {numbers['test/ece']:.3f}")
    return measuring


if __name__ == "__main__":
    main(logger=False, enable_checkpointing=False)
