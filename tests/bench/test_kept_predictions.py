"""Predictions in a run folder: what is written comes back, what was changed is told, and memory is flat."""

import json
import struct

import pytest
import torch
from helpers.hostile_files import SPECIAL, in_seconds, peak_growth

from mixscope.base.errors import UserError
from mixscope.bench.kept_predictions import Predictions, PredictionSpool, read_predictions, write_predictions
from mixscope.measuring import examine

LOGITS = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0])


def written(folder, **changes):
    write_predictions(folder, Predictions(**{"logits": LOGITS, "labels": LABELS, "images": "ab"} | changes))
    return folder / "predictions.safetensors"


def test_what_was_spooled_comes_back_and_any_tool_reads_it(tmp_path):
    from safetensors.torch import load_file

    with PredictionSpool(tmp_path) as spool:
        spool.add(LOGITS[:4], LABELS[:4])
        spool.add(LOGITS[4:].to(torch.float64), LABELS[4:].to(torch.int32))
        kept = spool.predictions(images="ab", class_names=("a", "b", 'ß "\n'))
        assert torch.equal(kept.logits, LOGITS)
        write_predictions(tmp_path, kept)
    found = read_predictions(tmp_path)
    assert torch.equal(found.logits, LOGITS)
    assert torch.equal(found.labels, LABELS)
    assert (found.images, found.class_names) == ("ab", ("a", "b", 'ß "\n'))
    assert torch.equal(load_file(tmp_path / "predictions.safetensors")["logits"], LOGITS)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.safetensors"]


def test_an_examination_hands_its_logits_on_instead_of_keeping_them(tmp_path):
    model = torch.nn.Linear(4, 3)
    batches = [(torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])) for _ in range(3)]
    kept = examine(model, test=batches)
    with PredictionSpool(tmp_path) as spool:
        handed = examine(model, test=batches, keep_logits=spool.add)
        found = spool.predictions()
        assert torch.equal(found.logits, torch.cat(kept.predictions.logits))
        assert torch.equal(found.labels, torch.cat(kept.predictions.labels))
    assert handed.values == kept.values
    assert handed.predictions.logits == []


def test_no_file_is_no_predictions(tmp_path):
    assert read_predictions(tmp_path) is None


def test_logits_beyond_single_precision_end_at_its_largest(tmp_path):
    written(tmp_path, logits=torch.tensor([[1e300, -1e300]]).double(), labels=LABELS[:1])
    assert torch.isfinite(read_predictions(tmp_path).logits).all()


def test_a_folder_whose_name_is_no_utf8_holds_predictions_too(tmp_path):
    import os

    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    written(folder, class_names=("x",))
    assert torch.equal(read_predictions(folder).logits, LOGITS)
    assert read_predictions(folder).class_names == ("x",)


@pytest.mark.parametrize("place", [5, 60, 200, -1])
def test_a_changed_byte_is_told(tmp_path, place):
    path = written(tmp_path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"predictions\.safetensors: (damaged since|not a file of predictions)") as told:
        read_predictions(tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": LOGITS.where(LOGITS < 1, torch.nan)}, "logits must be finite"),
        ({"labels": LABELS + 1}, r"labels must lie in \[0, 3\), got values from 1 to 3"),
        ({"labels": LABELS[:3]}, r"logits of shape \(7, 3\) beside labels of shape \(3,\)"),
    ],
)
def test_what_does_not_fit_together_is_told_in_one_line(tmp_path, changes, message):
    written(tmp_path, **changes)
    with pytest.raises(UserError, match=f"not a file of predictions; measure the checkpoint again .*{message}"):
        read_predictions(tmp_path)


@pytest.mark.parametrize("make", SPECIAL)
def test_only_regular_files_are_read(tmp_path, make):
    make(tmp_path / "predictions.safetensors")
    with in_seconds(20), pytest.raises(UserError, match=r"regular file|cannot be read"):
        read_predictions(tmp_path)


@pytest.mark.parametrize("content", [b"", b"x" * 100, struct.pack("<Q", 1 << 62) + b"{}", b"\x80\x02."])
def test_other_files_are_told_in_one_line(tmp_path, content):
    (tmp_path / "predictions.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="measure the checkpoint again"):
        read_predictions(tmp_path)


def test_a_header_that_lies_is_told(tmp_path):
    from mixscope.base.files import EMPTY_SEAL, fill_seal

    header = {
        "__metadata__": {"seal": EMPTY_SEAL.decode()},
        "logits": {"dtype": "F32", "shape": [1 << 40, 3], "data_offsets": [0, 12]},
    }
    text = json.dumps(header).encode()
    content = bytearray(struct.pack("<Q", len(text)) + text + bytes(12))
    fill_seal(content, content.index(EMPTY_SEAL))
    (tmp_path / "predictions.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="not a file of predictions"):
        read_predictions(tmp_path)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    rows, labels = torch.zeros(500, 1000), torch.zeros(500, dtype=torch.int64)

    def spool_and_write():
        with PredictionSpool(tmp_path) as spool:
            for _ in range(60):  # 115 MiB in all
                spool.add(rows, labels)
            kept = spool.predictions()
            assert len(kept.logits) == 30_000

    assert peak_growth(spool_and_write) < 40
