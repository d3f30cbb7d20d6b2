"""Neural collapse as torchmetrics: NC0 to NC3 in one pass, NC4 and the nearest class mean against given means."""

from dataclasses import MISSING, fields
from typing import Any

import torch
from torch import Tensor, nn

from mixscope.base.kinds import checked
from mixscope.integrations.torchmetrics.streaming_metric import (
    ExactMetric,
    Head,
    InstrumentMetric,
    Shapes,
    ordinary_tensors,
    read_state,
    write_state,
)
from mixscope.metrics.class_statistics.statistics import ClassStatistics
from mixscope.metrics.collapse.collapse_report import CollapseReport
from mixscope.metrics.collapse.nearest_mean import NearestMeanCounts
from mixscope.metrics.collapse.neural_collapse import neural_collapse

_NAMES = tuple(field.name for field in fields(CollapseReport) if field.default is MISSING)


class NeuralCollapse(InstrumentMetric[ClassStatistics]):
    """NC0 to NC3 of a classifier, one pass over the features; a dict by the field names of `CollapseReport`.

    The head is read when a value is computed and stays the model's own: it is no parameter, state or submodule of the
    metric. In a module that is copied, define the head before it. Pickled alone, the metric takes the head along.

    The value of a single batch (`forward`) is NaN in every number when a class has no example in it; `compute` raises.
    Each process keeps 2 K + K D + D^2 numbers, and a sync gathers that many from every one. `instrument` is a
    `ClassStatistics` for the other functions of `mixscope.metrics`.

    Example:
        >>> head = nn.Linear(2, 2)
        >>> metric = NeuralCollapse(head)
        >>> features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> metric.update(features, torch.tensor([0, 0, 1, 1]))
        >>> round(float(metric.compute()["nc1_pinv"]), 6)
        0.125
    """

    higher_is_better = None

    @checked
    def __init__(self, head: nn.Linear) -> None:
        """Measure the features that enter a head, the linear layer that gives the logits."""
        self._head = Head(head)
        self._is_one_batch = False
        super().__init__(_merge_all, is_cached=False)  # the head may have been trained since the last value

    def make_empty(self) -> ClassStatistics:
        """Return statistics that have seen nothing."""
        layer = self._head.layer
        return ClassStatistics(layer.out_features, layer.in_features, device=self.device)

    def make_of(self, state: dict[str, Tensor]) -> ClassStatistics:
        """Return the statistics with these numbers."""
        return ClassStatistics.from_state(state, device=state["means"].device)

    @checked
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch of (B, D) features that enter the head, and (B,) labels; errors: `ClassStatistics.update`."""
        with ordinary_tensors():
            self.instrument.update(features, labels)

    def forward(self, *inputs: Any, **named_inputs: Any) -> dict[str, Tensor]:
        """Add a batch and return the numbers of this batch alone, all NaN when it lacks a class."""
        self._is_one_batch = True
        try:
            return super().forward(*inputs, **named_inputs)
        finally:
            self._is_one_batch = False

    def compute(self) -> dict[str, Tensor]:
        """Return the numbers of `CollapseReport`, float64 scalars; a ValueError names classes without an example."""
        missing = self.instrument.missing_classes()
        if missing and self._is_one_batch:
            return dict.fromkeys(_NAMES, self.scalar(torch.nan))
        if missing:
            raise ValueError(
                "NeuralCollapse must see an example of every class before compute (Lightning's sanity check may show "
                f"too few: num_sanity_val_steps=0), got none of {', '.join(map(str, missing))}"
            )
        layer = self._head.layer
        with ordinary_tensors():
            report = neural_collapse(self.instrument, layer.weight, layer.bias)
        return {name: self.scalar(getattr(report, name)) for name in _NAMES}

    def class_means(self) -> Tensor:
        """Return (K, D) float64 class means over all processes: each must call it; every class needs an example."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn), ordinary_tensors():
            missing, means = self.instrument.missing_classes(), self.instrument.means.clone()
        if missing:
            raise ValueError(f"class_means needs an example of every class, got none of {', '.join(map(str, missing))}")
        return means


def _merge_all(shapes: Shapes, stacked: Tensor) -> Tensor:
    """Merge the (R, size) states of R processes or batches: means do not add, their statistics merge."""
    with ordinary_tensors():
        states = (read_state(gathered, shapes) for gathered in stacked)
        first, *others = (ClassStatistics.from_state(state, device=stacked.device) for state in states)
        for other in others:
            first.merge(other)
        return write_state(first)


class NearestClassMean(ExactMetric):
    """How often the nearest class mean, the head and the label agree; a dict of shares in [0, 1].

    `nc4_mismatch`: head and nearest mean disagree (NC4), 0 is collapse. `nearest_mean_accuracy`: the nearest mean is
    right; with class means of training features and test features it says how far collapse carries over to new data.
    `classifier_accuracy`: the head is right.

    The head, bias included, is read at every update and stays the model's own, as in `NeuralCollapse`.

    Example:
        >>> head = nn.Linear(1, 2)
        >>> _ = head.load_state_dict({"weight": torch.tensor([[0.0], [1.0]]), "bias": torch.tensor([0.0, -0.8])})
        >>> metric = NearestClassMean(head)
        >>> metric.update(torch.tensor([[0.4], [0.6]]), torch.tensor([0, 1]), torch.tensor([[0.0], [1.0]]))
        >>> {name: float(value) for name, value in metric.compute().items()}
        {'nc4_mismatch': 0.5, 'nearest_mean_accuracy': 1.0, 'classifier_accuracy': 0.5}
    """

    higher_is_better = None
    agreements: Tensor

    @checked
    def __init__(self, head: nn.Linear) -> None:
        """Compare with a head, the linear layer that gives the logits."""
        super().__init__()
        self._head = Head(head)
        # mismatches, right by the nearest mean, right by the head, examples
        self.add_state("agreements", torch.zeros(4, dtype=torch.float64), dist_reduce_fx="sum")

    @checked
    def update(self, features: Tensor, labels: Tensor, class_means: Tensor) -> None:
        """Add a batch of (B, D) features that enter the head, and (B,) labels; errors: `NearestMeanCounts.update`.

        `class_means` are (K, D), the same for every batch: of `NeuralCollapse.class_means`, for example.
        """
        layer = self._head.layer
        with ordinary_tensors():
            counts = NearestMeanCounts(class_means, layer.weight, layer.bias)
            counts.update(features, labels)
            self.agreements = self.agreements + self.agreements.new_tensor(
                [counts.num_mismatches, counts.num_nearest_correct, counts.num_classifier_correct, counts.num_examples]
            )

    def compute(self) -> dict[str, Tensor]:
        """Return float64 scalars by name; a ValueError where no example has been seen."""
        if not self.agreements[3]:
            raise ValueError("NearestClassMean must be updated with at least one example first, got 0")
        mismatch, nearest, classifier = (self.agreements[:3] / self.agreements[3]).unbind()
        return {"nc4_mismatch": mismatch, "nearest_mean_accuracy": nearest, "classifier_accuracy": classifier}
