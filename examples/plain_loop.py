"""Mixup in your own loop, and everything mixscope measures, with your own model and data."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import mixscope


def digit_batches() -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    batches = list(zip(images.float().div(16).split(100), labels.split(100), strict=True))
    return batches[:14], batches[14:]


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, batches, generator: torch.Generator) -> None:
    model.train()
    for inputs, labels in batches:
        mixture = mixscope.Mixup(alpha=1.0).draw(inputs, labels, generator=generator)  # partners and weights
        targets = mixscope.blend_targets(labels, mixture, num_classes=10)
        loss = mixscope.soft_cross_entropy(model(mixscope.blend(inputs, mixture)), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> dict[str, float]:
    torch.manual_seed(0)
    train, test = digit_batches()
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(1, 11):
        train_epoch(model, optimizer, train, generator)
        if epoch % 5 == 0:  # on the same examples and blends every time
            report = mixscope.measure(model, head="4", train=train, test=test, sites=("0", "2"))
            numbers = report.values
            print(f"epoch {epoch}: accuracy {numbers['test/accuracy']:.3f}, NC1 {numbers['nc/nc1_pinv']:.2f},")
            print(f"  confidence - accuracy {numbers['test/signed_gap']:+.3f}, ECE {numbers['test/ece']:.3f},")
            print(f"  amplification of blends in the middle {numbers['channels/amplification']:.2f}")
    return numbers


if __name__ == "__main__":
    main()
