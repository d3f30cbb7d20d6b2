"""A network of timm, trained with CutMix and measured: its own names say where the head and the sites are."""

import timm
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

import mixscope
from mixscope.measuring import LAYER_MIXING, BlendLaw, examine


def main() -> dict[str, float]:
    torch.manual_seed(0)
    pixels, labels = (torch.from_numpy(array)[:600] for array in load_digits(return_X_y=True))
    images = F.interpolate(pixels.float().div(16).view(-1, 1, 8, 8), scale_factor=4)
    batches = list(zip(images.split(100), labels.split(100), strict=True))
    train, test = batches[:5], batches[5:]
    model = timm.create_model("resnet10t", num_classes=10, in_chans=1)
    head = next(name for name, module in model.named_modules() if module is model.get_classifier())
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        model.train()
        for inputs, classes in train:
            mixture = mixscope.CutMix(alpha=1.0).draw(inputs, classes, generator=generator)
            targets = mixscope.blend_targets(classes, mixture, num_classes=10)
            loss = mixscope.soft_cross_entropy(model(mixscope.blend(inputs, mixture)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    numbers = examine(
        model,
        head=head,
        train=train,
        test=test,
        layer_pairs=test,
        layer_laws=[BlendLaw(LAYER_MIXING, torch.Generator().manual_seed(1))],
        sites=("layer1", "layer4"),
        average_pooled=("layer1", "layer4"),  # compare averages over pixels, not every pixel
    ).values
    print(f"head {head!r}: NC1 {numbers['nc/nc1_pinv']:.2f}, test accuracy {numbers['test/accuracy']:.3f}")
    print(f"relative defect of the last stage {numbers['linearity/layer4/relative_defect']:.2f}")
    return numbers


if __name__ == "__main__":
    main()
