"""Stop mixing in time, in a loop of your own: the monitor goes by the training loss and the labels' entropy alone."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import mixscope

EPOCHS = 200


def build_model():
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))


def main():
    torch.manual_seed(0)
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    images = images.float().div(8).sub(1)
    train, test = torch.randperm(len(labels)).split([200, len(labels) - 200])
    model = build_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(0)
    monitor, scheme = mixscope.OvertrainingMonitor(), mixscope.Mixup(alpha=1.0)

    for epoch in range(1, EPOCHS + 1):
        gaps, entropies = [], []
        for rows in train[torch.randperm(len(train))].split(50):
            mixture = scheme.draw(images[rows], labels[rows], generator=generator)
            targets = mixscope.blend_targets(labels[rows], mixture, num_classes=10)
            logits = model(mixscope.blend(images[rows], mixture))
            loss = mixscope.soft_cross_entropy(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            entropy = mixscope.soft_target_entropy(targets).mean().item()
            entropies.append(entropy)
            gaps.append(loss.item() - entropy)
        if not isinstance(scheme, mixscope.NoMixing):
            values = {"train/loss_floor_gap": sum(gaps) / len(gaps), "train/blend_entropy": sum(entropies) / len(gaps)}
            if monitor.update(epoch, values).has_turned:
                print(f"no more mixing after epoch {epoch}")
                scheme = mixscope.NoMixing()

    with torch.no_grad():
        error = (model(images[test]).argmax(dim=1) != labels[test]).double().mean().item()
    print(f"test error {100 * error:.1f}%")


if __name__ == "__main__":
    main()
