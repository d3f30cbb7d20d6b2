"""Memory of a large set: images are decoded, kept and read without ever being in memory together."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

CODE = """
import resource, sys
from pathlib import Path
from mixscope.data.batches import EvaluationBatches
from mixscope.data.loading import load_data
data = load_data(sys.argv[1])
seen = 0
for images, labels in (
    (data.train_images, data.train_labels),
    (data.test_images, data.test_labels),
):
    batches = EvaluationBatches(
        images, labels, batch_size=20, mean=(0.5,) * 3, std=(0.5,) * 3, device=images.device, channels_last=True
    )
    seen += sum(len(inputs) for inputs, _ in batches)
print(seen, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
SIDE, FEW, MANY = 384, 30, 900  # 442,368 bytes an image: the many take 398 MB


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
def test_thirty_times_as_many_images_take_hardly_more_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXSCOPE_CACHE", str(tmp_path / "cache"))
    generator, peaks = np.random.default_rng(0), {}
    for count in (FEW, MANY):
        folder = tmp_path / str(count)
        for index in range(count):
            place = folder / ("test" if index % 3 == 0 else "train") / f"class{index // 3 % 2}"
            place.mkdir(parents=True, exist_ok=True)
            colour = generator.integers(0, 256, (1, 1, 3), dtype=np.uint8)
            Image.fromarray(np.tile(colour, (SIDE, SIDE, 1))).save(place / f"{index}.png", compress_level=1)
        ended = subprocess.run([sys.executable, "-c", CODE, folder], capture_output=True, text=True, check=True)
        seen, peak = map(int, ended.stdout.split())
        assert seen == count
        peaks[count] = peak / 1024
    images = MANY * SIDE * SIDE * 3 / 2**20
    assert peaks[MANY] - peaks[FEW] < images / 2
