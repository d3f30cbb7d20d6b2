"""Choice of examples, uniform among all that go by in a pass, kept for another look."""

import heapq
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from mixscope.base.checks import pair_of

Batch = tuple[Tensor, Tensor]

CHOICE_BYTES = 2**28  # of inputs that are kept; large inputs are fewer
BATCH_SIZE = 250


class ChosenExamples:
    """Batches that go by once, and a uniform choice of their examples.

    Iterating goes through the source; afterwards `batches` has the chosen examples, in an order drawn at random. Nobody
    needs to know how many there are, and a source that can be gone through only once will do.
    """

    def __init__(self, source: Iterable[Batch], *, most: int, generator: torch.Generator) -> None:
        """Wrap batches of inputs and (B,) labels; choose at most `most` examples."""
        self._source, self._most, self._generator = source, most, generator
        self._heap: list[tuple[float, int, Tensor, Tensor]] = []  # the smallest key first; numbers break ties
        self.num_seen = 0

    def __iter__(self) -> Iterator[Batch]:
        """Yield the source's batches."""
        self._heap.clear()
        self.num_seen = 0
        for batch in self._source:
            inputs, labels = pair_of(batch)
            if len(inputs) == len(labels) and len(inputs):  # what does not fit is refused where it is measured
                self._choose(inputs, labels)
            yield inputs, labels

    @property
    def later(self) -> "_Later":
        """The chosen examples as batches that are made when they are gone through."""
        return _Later(self)

    def batches(self, *, classes: Iterable[int] | None = None, most: int | None = None) -> list[Batch]:
        """Return the chosen examples as batches: of some classes alone, and no more than so many."""
        chosen = [(inputs, labels) for _, _, inputs, labels in sorted(self._heap, key=lambda entry: entry[:2])]
        if classes is not None:
            wanted = set(classes)
            chosen = [pair for pair in chosen if int(pair[1]) in wanted]
        chosen = chosen[:most]
        parts = [chosen[start : start + BATCH_SIZE] for start in range(0, len(chosen), BATCH_SIZE)]
        return [(torch.stack([row for row, _ in part]), torch.stack([label for _, label in part])) for part in parts]

    def _choose(self, inputs: Tensor, labels: Tensor) -> None:
        size = max(1, inputs[0].numel() * inputs.element_size())
        most = max(2, min(self._most, CHOICE_BYTES // size))
        keys = torch.rand(len(inputs), generator=self._generator, dtype=torch.float64)
        lowest = self._heap[0][0] if len(self._heap) >= most else -1.0
        for place in torch.nonzero(keys > lowest).flatten().tolist():
            entry = (float(keys[place]), self.num_seen + place, inputs[place].detach().clone(), labels[place].clone())
            if len(self._heap) < most:
                heapq.heappush(self._heap, entry)
            else:
                heapq.heappushpop(self._heap, entry)
        self.num_seen += len(inputs)


class _Later:
    def __init__(self, chosen: ChosenExamples) -> None:
        self._chosen = chosen

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._chosen.batches())
