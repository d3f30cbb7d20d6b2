"""Write docs/metrics.md, the reference of all numbers, from the metrics' catalogue: run by `make docs`."""

from pathlib import Path

from mixscope.metrics.cards import Card
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


def metric_reference() -> str:
    """Return docs/metrics.md: every card of the catalogue under the heading of its group."""
    sections = (
        f"\n## {heading}\n\n" + "\n".join(_paragraph(card) for card in group) for heading, group in GROUPS.items()
    )
    return HEAD + "".join(sections)


def _paragraph(card: Card) -> str:
    ignores = f" Unchanged by {' and '.join(card.ignores)} of the features." if card.ignores else ""
    return (
        f"**`{card.key}`** {card.title}  \n"
        f"`{card.definition}`  \n"
        f"In {card.reading}. Source: {card.source}.{ignores} {card.note}\n"
    )


if __name__ == "__main__":
    Path(__file__).with_name("metrics.md").write_text(metric_reference())
