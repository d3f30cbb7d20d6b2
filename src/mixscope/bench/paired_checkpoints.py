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


def compare_checkpoints(runs: Sequence[Run]) -> list[ComparedPair]:
    """Compare each run's predictions with those of the first one on the same images.

    Methods of several seeds are left out: their seeds say more than their images. Images are the same where their
    fingerprints are, or, of predictions that came without images, where the labels are, in their order.
    """
    alone = [method for method in group_runs(runs) if len(method.runs) == 1 and _has_predictions(method)]
    firsts: list[tuple[str, Predictions]] = []
    pairs = []
    for method in alone if len(alone) > 1 else ():
        own = _read(method)
        first = next(((name, theirs) for name, theirs in firsts if _are_of_same_images(theirs, own)), None)
        if first is None:
            firsts.append((method.name, own))
            continue
        name, theirs = first
        generator = named_generator(0, "paired-images")
        found = compare_predictions(theirs.logits, own.logits, own.labels, generator=generator)
        pairs.append(ComparedPair(name, method.name, found))
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


def _are_of_same_images(first: Predictions, second: Predictions) -> bool:
    if first.images and second.images:
        return first.images == second.images
    return len(first.labels) == len(second.labels) and first.labels_fingerprint == second.labels_fingerprint


def _has_predictions(method: Method) -> bool:
    return os.path.lexists(method.runs[0].folder / PREDICTIONS_FILE)
