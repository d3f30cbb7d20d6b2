"""Splits of a labelled set: a stratified test part, a class-balanced subset, the unlabelled rest; and wrong labels."""

import math

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_labels
from mixscope.base.errors import UserError
from mixscope.base.kinds import checked


@checked
def stratified_split(
    labels: Tensor, test_size: float, generator: torch.Generator, *, class_names: tuple[str, ...] | None = None
) -> tuple[Tensor, Tensor]:
    """Split examples with (N,) labels into a training and a test part with the classes in the same proportions.

    Every class gives at least one example to each part. `test_size` is a share in (0, 1), or a count when at least 1.
    The rule is scikit-learn's `train_test_split`: a share is rounded up to whole test examples. Errors call classes by
    `class_names` where they are given, else by their labels.

    Returns:
        Training and test rows, int64 in increasing order; together each row once.

    Raises:
        UserError: If test_size leaves fewer examples than classes on either side, or a class has one example only.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
        >>> train, test = stratified_split(labels, 0.25, torch.Generator().manual_seed(0))
        >>> labels[train].tolist(), labels[test].tolist()
        ([0, 0, 0, 1, 1, 1], [0, 1])
    """
    labels = labels.cpu()
    classes, counts = torch.unique(labels, return_counts=True)
    total, num_classes = len(labels), len(classes)
    if 0 < test_size < 1:
        num_test = math.ceil(test_size * total)
    elif test_size >= 1 and float(test_size).is_integer():
        num_test = int(test_size)
    else:
        raise UserError(f"test-size must be a share in (0, 1) or a whole number of examples, got {test_size}")
    if not num_classes <= num_test <= total - num_classes:
        got = f"{test_size} gives {num_test} test and {total - num_test} training examples"
        wanted = f"at least {num_classes} examples, one per class, on each side of {total}"
        raise UserError(f"test-size must leave {wanted}; {got}")
    if int(counts.min()) < 2:
        rare = _class_word(int(classes[counts.argmin()]), class_names)
        raise UserError(f"{rare} has 1 example; a split needs at least 2 of every class")
    in_test = torch.zeros(total, dtype=torch.bool)
    for label, share in zip(classes.tolist(), _apportion(counts.tolist(), num_test), strict=True):
        in_test[_random_rows(labels, label, share, generator)] = True
    return (~in_test).nonzero()[:, 0], in_test.nonzero()[:, 0]


@checked
def balanced_subset(
    labels: Tensor,
    size: int,
    num_classes: int,
    generator: torch.Generator,
    *,
    class_names: tuple[str, ...] | None = None,
) -> Tensor:
    """Choose `size` random examples, the same number of every class, by their (N,) labels in [0, num_classes).

    Where num_classes does not divide size, the remainder goes to random classes, one example each. The rows, (size,)
    int64, are in increasing order, none twice. A `UserError` if size is below num_classes, or a class has too few
    examples; it calls the class by its name in `class_names` where they are given, else by its label.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])
        >>> labels[balanced_subset(labels, 4, 2, torch.Generator().manual_seed(0))].tolist()
        [0, 0, 1, 1]
    """
    if size < num_classes:
        raise UserError(f"subset size must be at least the number of classes, {num_classes}, got {size}")
    labels = labels.cpu()
    wanted = torch.full((num_classes,), size // num_classes)
    wanted[torch.randperm(num_classes, generator=generator)[: size % num_classes]] += 1
    available = torch.bincount(labels, minlength=num_classes)
    short = (available < wanted).nonzero()[:, 0].tolist()
    if short:
        raise UserError(
            f"subset size {size} needs {int(wanted[short[0]])} examples of {_class_word(short[0], class_names)}, "
            f"which has {int(available[short[0]])}"
        )
    rows = [_random_rows(labels, label, int(wanted[label]), generator) for label in range(num_classes)]
    return torch.cat(rows).sort().values


@checked
def unlabelled_rows(
    labels: Tensor,
    labelled: Tensor,
    *,
    size: int | None,
    num_classes: int,
    is_disjoint: bool,
    generator: torch.Generator,
    class_names: tuple[str, ...] | None = None,
) -> Tensor:
    """Choose the examples that are used without their labels, the same number of every class where not all are.

    Of all that have (N,) labels in [0, num_classes), or, where it `is_disjoint`, of those beside the (n,) int64 rows
    `labelled`, which are used with their labels: `size` of them, see `balanced_subset`; None takes all. A `UserError`
    if nothing is left beside the labelled rows, or a class has too few examples for the size.
    """
    is_free = torch.ones(len(labels), dtype=torch.bool)
    if is_disjoint:
        is_free[labelled.cpu()] = False
    rows = is_free.nonzero()[:, 0]
    if len(rows) == 0:
        counts = f"{len(labelled)} of {len(labels)}"
        raise UserError(f"unlabelled images must be left beside the labelled ones, got {counts}")
    if size is None:
        return rows
    return rows[balanced_subset(labels.cpu()[rows], size, num_classes, generator, class_names=class_names)]


@checked
def flip_labels(labels: Tensor, *, share: float, num_classes: int, generator: torch.Generator) -> Tensor:
    """Replace a share of the labels by another class, drawn uniformly from the K - 1 others.

    Exactly round(share * N) of the (N,) labels in [0, K) are replaced, at random places, and none by itself; with each
    label replaced with probability `share` instead, the share itself would be random. K is at least 2. What is returned
    has the device and dtype of `labels`, which are not changed. A `ValueError` if share is not in [0, 1], num_classes
    is below 2, or labels are not integers in [0, K).
    """
    check_at_least(2, num_classes=num_classes)
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")
    check_labels(labels, num_classes=num_classes)
    rows = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    steps = torch.randint(1, num_classes, (len(rows),), generator=generator)
    rows, steps = rows.to(labels.device), steps.to(labels.device)
    flipped = labels.to(torch.int64, copy=True)  # in uint8, the sum of a label and a step could overflow
    flipped[rows] = (flipped[rows] + steps) % num_classes
    return flipped.to(labels.dtype)


def _class_word(label: int, class_names: tuple[str, ...] | None) -> str:
    return f"class {label}" if class_names is None else f"class {class_names[label]!r}"


def _apportion(counts: list[int], num_test: int) -> list[int]:
    """Share `num_test` in proportion to `counts`, 1 to count - 1 each: largest remainders, then lower labels, first."""
    quotas = [num_test * count / sum(counts) for count in counts]
    shares = [min(max(int(quota), 1), count - 1) for quota, count in zip(quotas, counts, strict=True)]
    while sum(shares) != num_test:
        step = 1 if sum(shares) < num_test else -1
        movable = [k for k, count in enumerate(counts) if 1 <= shares[k] + step <= count - 1]
        furthest = max(movable, key=lambda k: step * (quotas[k] - shares[k]))
        shares[furthest] += step
    return shares


def _random_rows(labels: Tensor, label: int, size: int, generator: torch.Generator) -> Tensor:
    rows = (labels == label).nonzero()[:, 0]
    return rows[torch.randperm(len(rows), generator=generator)[:size]]
