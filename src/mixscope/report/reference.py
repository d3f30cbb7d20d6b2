"""The reference of all numbers, docs/metrics.md, written from the metrics' catalogue."""

from mixscope.metrics.cards import MetricEntry
from mixscope.metrics.catalogue import GROUPS

HEAD = """# Every number mixscope measures

Written from `mixscope.metrics.catalogue` by `make docs`; do not edit.

The key is the number's name in `metrics.jsonl`, in trackers and in what the integrations log; for linearity the site
stands between, as in `linearity/block1/floor`. Letters are those of [notation.md](notation.md): N examples, D features,
K classes, h a feature, mu_k a class mean, m_k = mu_k - mean of the class means, M their matrix, W the classifier with
rows w_k, W_c the classifier minus the mean of its rows, Sigma_W = within / N, Sigma_B = M^T M / K, E = I - 11^T / K.
No number depends on the order of the examples or on the names of the classes. [conventions.md](conventions.md) says
what other tools call the same numbers.
"""
GOOD_END = {"low": "low is good", "high": "high is good", "none": "neither end is good"}


def metric_reference() -> str:
    """Return docs/metrics.md: every entry of the catalogue under the heading of its group."""
    sections = (
        f"\n## {heading}\n\n" + "\n".join(_paragraph(entry) for entry in group) for heading, group in GROUPS.items()
    )
    return HEAD + "".join(sections)


def _paragraph(entry: MetricEntry) -> str:
    low = "(-inf" if entry.low is None else f"[{entry.low:g}"
    high = "inf)" if entry.high is None else f"{entry.high:g}]"
    unit = f" {entry.unit}" if entry.unit else ""
    ignores = f" Unchanged by {' and '.join(entry.ignores)} of the features." if entry.ignores else ""
    return (
        f"**`{entry.key}`** {entry.title}  \n"
        f"`{entry.definition}`  \n"
        f"In {low}, {high}{unit}; {GOOD_END[entry.better]}. Source: {entry.source}.{ignores} {entry.note}\n"
    )
