"""Neural collapse on held-out data: test features against the class means of the training set."""

import math

import torch

from mixscope.base.kinds import checked
from mixscope.metrics.class_statistics.symmetric import symmetric_product
from mixscope.metrics.collapse.collapse_report import CollapseOnTest
from mixscope.metrics.collapse.neural_collapse import CenteredMeans, WithScatter, check_every_class
from mixscope.metrics.collapse.pairwise import compare_means
from mixscope.metrics.collapse.spectrum import spectrum


@checked
def collapse_on_test(train: WithScatter, test: WithScatter) -> CollapseOnTest:
    """Measure test features against the training set's class means, from both sets' statistics: no further pass.

    The scatter around other means has a closed form: sum (h - mu)(h - mu)^T is the scatter around the own means mu'
    plus sum_k n_k (mu'_k - mu_k)(mu'_k - mu_k)^T.

    Source of the question: Hui et al. 2022, who ask whether test features collapse to the training set's means.

    Raises:
        ValueError: If sizes differ, a class has no training example (on test it may lack them), or there is no test
            example at all.

    Example:
        >>> import torch
        >>> from mixscope.metrics.class_statistics.statistics import ClassStatistics
        >>> train, test = ClassStatistics(2, 1), ClassStatistics(2, 1)
        >>> train.update(torch.tensor([[0.0], [4.0]]), torch.tensor([0, 1]))
        >>> test.update(torch.tensor([[1.0], [4.0]]), torch.tensor([0, 1]))
        >>> report = collapse_on_test(train, test)
        >>> round(report.nc1_trace, 6), round(report.mean_shift, 6)
        (0.125, 0.125)
    """
    check_every_class(train, name="train")
    if test.means.shape != train.means.shape:
        shapes = f"{tuple(train.means.shape)}, got {tuple(test.means.shape)}"
        raise ValueError(f"test must have the num_classes and dim of train, {shapes}")
    if test.num_examples == 0:
        raise ValueError("test must hold at least one example, got 0")
    means = CenteredMeans.of(train, center=None)
    device = means.rows.device
    tested = torch.nonzero(test.counts > 0).flatten().to(device)
    counts = test.counts.to(device)[tested]
    offsets = test.means.to(device)[tested] - train.means[tested]
    own_scatter = test.scatter.to(device)[tested]
    shift = counts * offsets.square().sum(dim=1)
    scatter = own_scatter + shift
    products = symmetric_product(counts[:, None] * offsets, offsets).add_(test.within.to(device))
    # a tensor: where all class means coincide, ratios are infinite or NaN
    between = means.square / train.num_classes * test.num_examples
    cdnv = math.nan
    if len(tested) > 1:
        pairs = compare_means(scatter / counts, means.rows[tested], lengths=means.lengths[tested])
        cdnv = pairs.normalized_variance
    return CollapseOnTest(
        nc1_pinv=spectrum(means.rows, gram=means.gram).trace_of_pinv_times(products) / test.num_examples,
        nc1_trace=float(scatter.sum() / between),
        nc1_cdnv=cdnv,
        own_nc1_trace=float(own_scatter.sum() / between),
        mean_shift=float(shift.sum() / between),
        num_classes_tested=len(tested),
    )
