"""Batches of every usual form: what is found in them, what is refused, and what is put in its place."""

from collections import UserDict, namedtuple
from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch

from mixscope.base.batch_pairs import pair_of, parts_of, replace_in
from mixscope.capturing.capture import capture

IMAGES, LABELS = torch.rand(4, 3, 2, 2), torch.tensor([0, 2, 1, 2])
Named = namedtuple("Named", ["label", "image"])
Unnamed = namedtuple("Unnamed", ["first", "second", "third"])


@dataclass
class Record:
    target: torch.Tensor
    image: torch.Tensor
    path: str = ""


@dataclass(frozen=True)
class Frozen:
    image: torch.Tensor
    label: torch.Tensor


class TensorDictLike:
    """Has keys and rows, and is no mapping, as tensordict's TensorDict."""

    def __init__(self, **parts):
        self.parts = parts

    def keys(self):
        return self.parts.keys()

    def __getitem__(self, key):
        return self.parts[key]

    def __setitem__(self, key, value):
        self.parts[key] = value

    def __iter__(self):
        raise AssertionError("iterating gives rows, not names")


def by_name(inputs, labels):
    return {inputs: IMAGES, labels: LABELS, "path": ["a", "b", "c", "d"], "index": torch.arange(4)}


FORMS = {
    "tuple": (IMAGES, LABELS),
    "list": [IMAGES, LABELS],
    "with an index": [IMAGES, LABELS, torch.arange(4)],
    "with metadata": (IMAGES, LABELS, {"path": ["a"]}),
    "transformers": by_name("pixel_values", "labels"),
    "capitals": by_name("Image", "Label"),
    "letters": by_name("x", "y"),
    "words": by_name("data", "target"),
    "class": by_name("inputs", "class"),
    "user dict": UserDict(by_name("pixel_values", "labels")),
    "no names": {"photo": IMAGES, "species": LABELS, "path": ["a", "b", "c", "d"], "weight": torch.rand(4)},
    "one name": {"photo": IMAGES, "label": LABELS, "index": torch.arange(4)},
    "named tuple": Named(LABELS, IMAGES),
    "named tuple by place": Unnamed(IMAGES, LABELS, LABELS),
    "dataclass": Record(LABELS, IMAGES),
    "tensordict": TensorDictLike(image=IMAGES, label=LABELS),
    "dali": [{"data": IMAGES, "label": LABELS[:, None].int()}],
}


@pytest.mark.parametrize("form", FORMS)
def test_inputs_and_labels_are_found_in_every_usual_form(form):
    inputs, labels = pair_of(FORMS[form])
    assert inputs is IMAGES
    assert torch.equal(labels.long(), LABELS)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_captured_as_a_pair_is(form):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    captured = capture(model, [FORMS[form]])
    assert torch.equal(captured.labels, LABELS)
    assert torch.equal(captured.logits, capture(model, [(IMAGES, LABELS)]).logits)


def test_numbers_that_are_one_among_many_tensors_are_found_by_their_form():
    box = torch.rand(4, 7)
    assert pair_of({"x": IMAGES, "box": box, "species": LABELS})[0] is IMAGES
    with pytest.raises(ValueError, match=r"for inputs \['photo', 'box'\], for labels \['species'\]"):
        pair_of({"photo": IMAGES, "box": box, "species": LABELS})
    with pytest.raises(ValueError, match=r"for inputs \['img'\], for labels \['fine_label', 'coarse_label'\]"):
        pair_of({"img": IMAGES, "fine_label": LABELS, "coarse_label": LABELS})
    with pytest.raises(ValueError, match=r"got a dict of 'input_ids' \(int64 \(4, 9\)\): for inputs nothing, for .*"):
        pair_of({"input_ids": torch.zeros(4, 9, dtype=torch.int64)})


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (LABELS[:, None], [0, 2, 1, 2]),
        (LABELS.to(torch.uint8), [0, 2, 1, 2]),
        (LABELS.int()[:, None], [0, 2, 1, 2]),
        (torch.tensor([True, False, True, True]), [1, 0, 1, 1]),
        (torch.tensor([[True], [False], [True], [True]]), [1, 0, 1, 1]),
        (torch.nn.functional.one_hot(LABELS), [0, 2, 1, 2]),
        (torch.nn.functional.one_hot(LABELS).half(), [0, 2, 1, 2]),
        (torch.nn.functional.one_hot(LABELS).bool(), [0, 2, 1, 2]),
        (torch.tensor([[1], [0], [0], [1]]), [1, 0, 0, 1]),
    ],
)
def test_labels_of_every_usual_form_become_classes(labels, expected):
    found = pair_of((IMAGES, labels))[1]
    assert found.dtype in (torch.int64, torch.int32, torch.uint8)
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            torch.tensor([[0.3, 0.7]] * 4),
            r"labels must be classes, got rows of shape \(4, 2\) .* a collate_fn .* mixup",
        ),
        (torch.tensor([[1, 1]] * 4), r"labels must be one class per example, got rows of shape \(4, 2\) with several"),
        (torch.zeros(4, 3), "labels must be one class per example"),
        (torch.full((4, 3), torch.nan), "labels must be one class per example, behind the inputs, got float32"),
        (torch.randn(4, 3) * 9, r"labels must be one class per example, behind the inputs, got float32 \(4, 3\)"),
    ],
)
def test_soft_and_several_labels_are_told_apart(labels, message):
    with pytest.raises(ValueError, match=message):
        pair_of([IMAGES, labels])
    assert parts_of([IMAGES, labels])[1] is labels  # for losses that take them


@pytest.mark.parametrize("form", [form for form in FORMS if "tuple" not in form and form != "with metadata"])
def test_what_is_put_in_stands_where_the_old_stood_and_the_rest_stays(form):
    batch = deepcopy(FORMS[form])
    inputs, labels = parts_of(batch)
    other, soft = torch.zeros(4, 3, 2, 2), torch.full((4, 3), 1 / 3)
    replace_in(batch, other, soft)
    if form != "no names":  # soft targets have no longer the form of labels
        assert parts_of(batch) == (other, soft)
    assert torch.equal(inputs, IMAGES)
    assert torch.equal(labels.flatten(), LABELS)
    if isinstance(batch, dict):
        assert list(batch) == list(FORMS[form])
        assert sum(part is other or part is soft for part in batch.values()) == 2


@pytest.mark.parametrize("batch", [(IMAGES, LABELS), Named(LABELS, IMAGES), Frozen(IMAGES, LABELS), [(IMAGES, LABELS)]])
def test_what_cannot_be_changed_is_named(batch):
    with pytest.raises(ValueError, match="batches must be lists or dicts, whose entries can be replaced, got a"):
        replace_in(batch, IMAGES, LABELS)


def test_what_is_no_batch_is_named():
    for batch, found in ((None, "a NoneType"), ("ab", "a str"), ([], "a list"), ([torch.zeros(2), "b"], "a list of")):
        with pytest.raises(ValueError, match=f"batches must be pairs of inputs and labels, .*, got {found}"):
            pair_of(batch)
