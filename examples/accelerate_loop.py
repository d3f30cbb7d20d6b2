"""Mixup in a loop of your own on Accelerate, measured every few epochs; a tracker gets the numbers and the figures."""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mixscope
from mixscope.base.generators import named_generator
from mixscope.integrations.figure_logging import log_report


def main(epochs: int = 4, seed: int = 0, **options) -> dict[str, float]:
    accelerator = Accelerator(cpu=True, **options)  # log_with="tensorboard" or "wandb", project_dir="..."
    if options:
        accelerator.init_trackers("digits")
    torch.manual_seed(seed)
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    images = images.float().div(16)
    train, test = TensorDataset(images[:1400], labels[:1400]), (images[1400:], labels[1400:])
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(train, batch_size=100, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    scheme = mixscope.Mixup(alpha=1.0)
    for epoch in range(1, epochs + 1):
        generator = named_generator(seed, "mixing", epoch, accelerator.process_index)  # no epoch draws as another
        for inputs, classes in loader:
            mixture = scheme.draw(inputs, classes, generator=generator)
            targets = mixscope.blend_targets(classes, mixture, num_classes=10)
            loss = mixscope.soft_cross_entropy(model(mixscope.blend(inputs, mixture)), targets)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
        if epoch % 2 == 0 and accelerator.is_main_process:
            network = accelerator.unwrap_model(model)
            report = mixscope.measure(network, head="2", train=(images[:1400], labels[:1400]), test=test, seed=seed)
            log_report(report, accelerator.trackers, step=epoch)
            numbers = report.values
            print(f"epoch {epoch}: NC1 {numbers['nc/nc1_pinv']:.2f}, ECE {numbers['test/ece']:.3f}")
        accelerator.wait_for_everyone()
    for tracker in accelerator.trackers:
        tracker.finish()
    return numbers


if __name__ == "__main__":
    main()
