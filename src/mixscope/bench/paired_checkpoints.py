"""Checkpoints that predicted the same images, compared in pairs by the predictions kept in their run folders."""

import os
from collections.abc import Sequence

from mixscope.base.errors import UserError
from mixscope.base.generators import named_generator
from mixscope.bench.kept_predictions import ADVICE, Predictions, read_predictions
from mixscope.metrics.paired_comparison import compare_predictions
from mixscope.records.store import PREDICTIONS_FILE, Run
from mixscope.report.runs.groups import Method, group_runs
from mixscope.report.runs.paired_findings import ComparedPair

CHOOSING = ("data", "test_size", "split_seed", "test_subset", "label_noise")  # options of the test images


def compare_checkpoints(runs: Sequence[Run]) -> list[ComparedPair]:
    """Compare each run's predictions with those of the first one on the same images.

    Methods of several seeds are left out: their seeds say more than their images. Images are the same where their
    fingerprints are. Of predictions that came without images, and of the same choice of images that was read in another
    way, at another size for example, they are where the labels are, in their order; that is said.
    """
    alone = [method for method in group_runs(runs) if len(method.runs) == 1 and _has_predictions(method)]
    firsts: list[tuple[Method, Predictions]] = []
    pairs = []
    for method in alone if len(alone) > 1 else ():
        own = _read(method)
        first = next((pair for pair in firsts if _have_same_images(pair, (method, own))), None)
        if first is None:
            firsts.append((method, own))
            continue
        other, theirs = first
        generator = named_generator(0, "paired-images")
        found = compare_predictions(theirs.logits, own.logits, own.labels, generator=generator)
        is_sure = bool(own.images) and own.images == theirs.images
        pairs.append(ComparedPair(other.name, method.name, found, by_labels=not is_sure))
    return pairs


def _read(method: Method) -> Predictions:
    """Read a run's predictions; a `UserError` if they are damaged, or of other images than the run's record says."""
    (run,) = method.runs
    found = read_predictions(run.folder)
    assert found is not None
    said = run.record["data"].get("test_fingerprint") or ""
    if found.images != said:
        raise UserError(f"{run.folder / PREDICTIONS_FILE}: of other images than its run.json says; {ADVICE}")
    return found


def _have_same_images(one: tuple[Method, Predictions], other: tuple[Method, Predictions]) -> bool:
    (first_method, first), (second_method, second) = one, other
    if first.images and first.images == second.images:
        return True
    if first.images and second.images:
        choices = [_choice_of(method.runs[0]) for method in (first_method, second_method)]
        if None in choices or choices[0] != choices[1]:
            return False
    return len(first.labels) == len(second.labels) and first.labels_fingerprint == second.labels_fingerprint


def _choice_of(run: Run) -> list[object] | None:
    """Return the options that choose the test images and their labels; None where the record has none."""
    options = run.record["description"].get("data")
    return [options.get(name) for name in CHOOSING] if isinstance(options, dict) else None


def _has_predictions(method: Method) -> bool:
    return os.path.lexists(method.runs[0].folder / PREDICTIONS_FILE)
