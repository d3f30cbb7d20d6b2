"""Time of `mixscope measure` on 2,000 photos of 224 x 224 with a ResNet-18, against the forward passes it needs."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _bench import parse_arguments, summarise, write_result
from PIL import Image

from mixscope.bench.checkpoint_measurement import Checkpoint, measure_checkpoint
from mixscope.bench.image_preparation import Normalisation
from mixscope.bench.observer import SILENT
from mixscope.bench.options import DataOptions, MeasureOptions
from mixscope.capturing.pieces import pieces
from mixscope.models.networks import build_model

SIZE, CLASSES = 224, 10
NOTES = (
    "transformers' ResNet-18 (basic blocks, 64 to 512 channels) with random weights; photos are JPEG files of noise",
    "measured: the whole call, from the decoded cache to the page; decoded before, which is told apart",
    "forward passes: what the network itself took in the same call, so that both see the same load of the machine",
    "bare: as many rows, in the same pieces, on one batch, once after the calls",
    "seconds are of all threads of the process",
)


def write_photos(folder, num_images):
    generator = np.random.default_rng(0)
    for index in range(num_images):
        part = "test" if index % 5 == 0 else "train"
        place = folder / part / f"class{index // 5 % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = generator.integers(0, 256, (28, 28, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(place / f"{index:05}.jpg")


def save_model(folder):
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    sizes = {"embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}
    ResNetForImageClassification(ResNetConfig(**sizes, num_labels=CLASSES)).save_pretrained(folder)


def watch(module, rows, times):
    def before(_, inputs):
        rows.append(len(inputs[0]))
        times.append(-time.process_time())

    def after(*_):
        times.append(time.process_time())

    module.register_forward_pre_hook(before)
    module.register_forward_hook(after)


@torch.no_grad()
def forward(model, num_rows):
    model.eval()
    batch = torch.randn(64, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    parts = pieces(batch)
    done = 0
    while done < num_rows:
        for part in parts:
            model(part)
            done += len(part)


def seconds(function):
    began = time.process_time()
    function()
    return time.process_time() - began


def main():
    arguments = parse_arguments(__doc__)
    repetitions, num_images = (1, 100) if arguments.quick else (3, 2000)
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder / "photos", num_images)
        save_model(folder / "model")
        model_name = f"hf-model:{folder / 'model'}"
        checkpoint = Checkpoint(
            model=model_name,
            weights=None,
            weights_key=None,
            data=DataOptions(data=str(folder / "photos"), image_size=(SIZE,)),
            head=None,
            measuring=MeasureOptions(),
            normalisation=Normalisation("imagenet"),
            device="cpu",
        )
        model = build_model(model_name, num_classes=CLASSES, image_shape=(3, SIZE, SIZE), seed=0, own_weights=True)
        model.to(memory_format=torch.channels_last)
        rows, times = [], []
        from mixscope.bench import checkpoint_measurement as module

        build = module.build_model

        def counted(*args, **options):
            network = build(*args, **options)
            watch(network, rows, times)
            return network

        module.build_model = counted
        decoding = seconds(lambda: measure_checkpoint(checkpoint, folder / "out", observer=SILENT))
        rounds = []
        for repetition in range(repetitions):
            rows.clear()
            times.clear()
            whole = seconds(lambda: measure_checkpoint(checkpoint, folder / "out", observer=SILENT))
            inside = sum(times)
            rounds.append((whole, inside))
            print(
                f"{repetition}: {whole:.1f} s for {sum(rows)} rows, forward passes {inside:.1f} s: {whole / inside:.3f}"
            )
        num_rows = sum(rows)
        bare = seconds(lambda: forward(model, num_rows))
        print(f"bare: {bare:.1f} s")
        results.append(
            {
                "images": num_images,
                "rows": num_rows,
                "threads": torch.get_num_threads(),
                "first_time_seconds": decoding,
                "measure_seconds": summarise([whole for whole, _ in rounds]),
                "forward_seconds": summarise([inside for _, inside in rounds]),
                "ratio": summarise([whole / inside for whole, inside in rounds]),
                "bare_seconds": bare,
            }
        )
    write_result("checkpoint", results, out=arguments.out, notes=NOTES)


if __name__ == "__main__":
    main()
