"""Train your own network with mixup in your own loop, then look at what mixup did to it."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import mixscope

images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
batches = list(zip(images.float().div(16).split(100), labels.split(100), strict=True))
model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
generator = torch.Generator().manual_seed(0)

for _ in range(20):
    for inputs, classes in batches:
        mixture = mixscope.Mixup(alpha=1.0).draw(inputs, classes, generator=generator)
        targets = mixscope.blend_targets(classes, mixture, num_classes=10)
        loss = mixscope.soft_cross_entropy(model(mixscope.blend(inputs, mixture)), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

seen = mixscope.capture(model, batches, sites=("2:input",))  # what the classifier, module "2", gets
statistics = mixscope.metrics.ClassStatistics(num_classes=10, dim=256)
statistics.update(seen.features["2:input"], seen.labels)
collapse = mixscope.metrics.neural_collapse(statistics, model[2].weight, model[2].bias)
ece = mixscope.metrics.expected_calibration_error(seen.logits.softmax(dim=1), seen.labels)
print(f"NC1 {collapse.nc1_pinv:.3f}, distance of the class means from a simplex {collapse.nc2_etf_means:.3f}")
print(f"expected calibration error {ece:.3f}")
