"""Paired comparison of two classifiers' answers to the same questions: McNemar's exact test, Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass

from mixscope.stats.intervals import Interval


@dataclass(frozen=True)
class PairedComparison:
    """How a second classifier's answers to N questions differ from a first one's.

    Attributes:
        num_examples: N.
        first_error: Share of the questions that the first answers wrongly.
        second_error: The second's.
        only_first_wrong: Questions that the first alone answers wrongly.
        only_second_wrong: Questions that the second alone does.
        p_value: McNemar's exact test of equal errors, two-sided.
        loss: Negative log-likelihood of the second minus that of the first, nats; below 0 the second is better.
        ece: Expected calibration error of the second minus that of the first; below 0 the second is better.
    """

    num_examples: int
    first_error: float
    second_error: float
    only_first_wrong: int
    only_second_wrong: int
    p_value: float
    loss: Interval
    ece: Interval


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test: of as uneven a split of the discordant pairs, or more.

    Where both are equally good, each pair on which they differ falls to either side like a coin: 2 P(X <= min), X
    binomial, at most 1; 1 without a pair. Source: McNemar 1947; exact form Edwards 1948.

    Args:
        only_first: Pairs that fell to the first, at least 0.
        only_second: To the second.

    Raises:
        ValueError: If one is below 0.

    Example:
        >>> round(mcnemar_p_value(1, 5), 6), mcnemar_p_value(0, 0)
        (0.21875, 1.0)
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"pairs must be at least 0, got {only_first} and {only_second}")
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values that may be read as if there were only one, in the order given. Source: Holm 1979.

    The smallest of n is multiplied by n, the next by n - 1, ...; none is below the one before it, or above 1.

    Raises:
        ValueError: If one lies outside [0, 1].

    Example:
        >>> holm([0.04, 0.01, 0.03])
        (0.06, 0.03, 0.06)
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p_values must lie in [0, 1], got {list(p_values)}")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return tuple(adjusted)
