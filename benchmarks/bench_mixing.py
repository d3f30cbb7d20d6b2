"""Microseconds to draw and blend one batch of 128 x 3 x 32 x 32 with each scheme, beside one `torch.lerp`."""

import time

import torch
from _bench import parse_arguments, summarise, write_result

from mixscope.base.generators import named_generator
from mixscope.mixing.cutmix import CutMix
from mixscope.mixing.manifold import ManifoldMixup
from mixscope.mixing.mixture import blend, blend_targets
from mixscope.mixing.mixup import Mixup, NoMixing

SCHEMES = {
    "none": NoMixing(),
    "mixup": Mixup(),
    "mixup, one weight per example": Mixup(per_example=True),
    "mixup of 3": Mixup(num_points=3),
    "mixup of 10": Mixup(num_points=10),
    "cutmix": CutMix(),
    "manifold mixup (at the input)": ManifoldMixup(sites=("input",)),
}


def measure(functions, repetitions, inner=20):
    """Time functions in turns; return microseconds per call of each."""
    times = {name: [] for name in functions}
    for repetition in range(repetitions + 1):
        for name, function in functions.items():
            began = time.perf_counter()
            for _ in range(inner):
                function()
            if repetition:
                times[name].append((time.perf_counter() - began) / inner * 1e6)
    return {name: summarise(values) for name, values in times.items()}


def gather(images, mixture):
    """Blend by gathering every member: what the weight matrix replaces."""
    weights = mixture.weights[:, :, None, None, None]
    return (images[mixture.members] * weights).sum(dim=1)


def main():
    arguments = parse_arguments(__doc__)
    repetitions = 3 if arguments.quick else 40
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(128, 3, 32, 32, generator=generator)
    labels = torch.randint(10, (128,), generator=generator)
    order = torch.randperm(128, generator=generator)

    functions = {"torch.lerp with an indexed partner": lambda: torch.lerp(images[order], images, 0.3)}
    draw_generator = named_generator(0, "bench")
    for name, scheme in SCHEMES.items():
        mixture = scheme.draw(images, labels, generator=draw_generator)
        functions[f"{name}: draw"] = lambda scheme=scheme: scheme.draw(images, labels, generator=draw_generator)
        functions[f"{name}: blend"] = lambda mixture=mixture: blend(images, mixture)
        functions[f"{name}: targets"] = lambda mixture=mixture: blend_targets(labels, mixture, num_classes=10)
    ten = SCHEMES["mixup of 10"].draw(images, labels, generator=draw_generator)
    functions["mixup of 10: by gathering ten"] = lambda: gather(images, ten)
    results = []
    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        results.append({"threads": threads, "microseconds": measure(functions, repetitions)})
    for entry in results:
        print(f"threads {entry['threads']}")
        for name, values in entry["microseconds"].items():
            print(f"  {values['median']:9.1f}  {name}")
    write_result("mixing", results, out=arguments.out, notes=["batch of 128 x 3 x 32 x 32 float32, contiguous"])


if __name__ == "__main__":
    main()
