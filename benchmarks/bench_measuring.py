"""Seconds that measuring adds to the forward passes it needs: the convnet on 10,000 images of 3 x 32 x 32."""

import statistics
import time

import torch
from _bench import parse_arguments, summarise, write_result

from mixscope.capturing.pieces import pieces
from mixscope.measuring import BlendLaw, examine, measure_last_layer, measure_linearity
from mixscope.mixing.mixture import blend
from mixscope.mixing.mixup import Mixup
from mixscope.models.networks import build_model

HEAD, SITES = "head", ("layer1", "layer2", "layer3", "layer4", "pool", "head")
BATCH, PAIR_BATCH, NUM_MANY = 500, 64, 2000
SCHEME = Mixup(alpha=0.5, per_example=True)
NOTES = (
    "eval mode, no gradients; batches of 500 images in pieces of 42, pairs in batches of 64 with their 64 blends",
    "linearity at layer1 to layer4, pool and head: 61,706 features per image, compared in float64",
    "its first pass, for the mean features, counts as its own cost, not as a forward pass",
    "extra: (with the instrument - forward alone) / forward alone, of runs side by side; median over the repetitions",
)


def make_batches(num_images, size, generator):
    images = torch.randn(num_images, 3, 32, 32, generator=generator)
    labels = torch.arange(num_images) % 10
    return list(zip(images.split(size), labels.split(size), strict=True))


@torch.no_grad()
def forward(model, batches):
    model.eval()
    for inputs, _ in batches:
        for piece in pieces(inputs):
            model(piece)


@torch.no_grad()
def forward_pairs(model, batches):
    model.eval()
    generator = torch.Generator().manual_seed(0)
    for inputs, labels in batches:
        model(torch.cat([inputs, blend(inputs, SCHEME.draw(inputs, labels, generator=generator))]))


def cases(model, epoch, few, many):
    """Return name to (forward passes alone, the same with the instrument)."""
    class_means = measure_last_layer(model, epoch[:2], head=HEAD).statistics.means

    def linearity(pairs, sites=SITES):
        measure_linearity(model, pairs, sites=sites, laws=[BlendLaw(SCHEME, torch.Generator().manual_seed(0))])

    chosen = {
        "calibration": (lambda: forward(model, epoch), lambda: examine(model, test=epoch)),
        "collapse and calibration, class means given": (
            lambda: forward(model, epoch),
            lambda: measure_last_layer(model, epoch, head=HEAD, class_means=class_means),
        ),
        "collapse and calibration": (
            lambda: forward(model, epoch),
            lambda: examine(model, head=HEAD, train=epoch),
        ),
        "linearity of 256 pairs": (lambda: forward_pairs(model, few), lambda: linearity(few)),
        "collapse, calibration and linearity of 256 pairs": (
            lambda: (forward(model, epoch), forward_pairs(model, few)),
            lambda: (measure_last_layer(model, epoch, head=HEAD), linearity(few)),
        ),
    }
    if many:
        chosen["linearity of 2,000 pairs"] = (lambda: forward_pairs(model, many), lambda: linearity(many))
        chosen["linearity of 2,000 pairs, layer4 to head"] = (
            lambda: forward_pairs(model, many),
            lambda: linearity(many, SITES[3:]),
        )
    return chosen


def seconds(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def measure(chosen, repetitions):
    results = {}
    for name, (alone, together) in chosen.items():
        together()  # the first run of a shape is slower
        rounds = []
        for repetition in range(repetitions):
            # Turns change, so that neither always follows the other.
            pair = (alone, together) if repetition % 2 else (together, alone)
            times = dict(zip(pair, [seconds(function) for function in pair], strict=True))
            rounds.append((times[alone], times[together]))
        extra = [(both - first) / first for first, both in rounds]
        results[name] = {
            "forward_seconds": summarise([first for first, _ in rounds]),
            "with_instrument_seconds": summarise([both for _, both in rounds]),
            "extra": summarise(extra),
        }
        print(f"  {statistics.median(extra):+7.1%} of {statistics.median(f for f, _ in rounds):6.2f} s  {name}")
    return results


def main():
    arguments = parse_arguments(__doc__)
    repetitions, num_images = (3, 1000) if arguments.quick else (4, 10_000)
    generator = torch.Generator().manual_seed(0)
    model = build_model("convnet", num_classes=10, image_shape=(3, 32, 32), seed=0)
    epoch = make_batches(num_images, BATCH, generator)
    few = make_batches(256, PAIR_BATCH, generator)
    many = [] if arguments.quick else make_batches(NUM_MANY, PAIR_BATCH, generator)
    results = []
    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        print(f"threads {threads}")
        chosen = cases(model, epoch, few, many)
        results.append({"threads": threads, "images": num_images, "cases": measure(chosen, repetitions)})
    write_result("measuring", results, out=arguments.out, notes=NOTES)


if __name__ == "__main__":
    main()
