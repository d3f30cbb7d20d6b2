"""Lines and figures over the seeds of a study: means with Student's 95% intervals, against epochs or a quantity."""

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from mixscope.records.claims import Sample
from mixscope.report.figures.line_figure import Line, mean_line
from mixscope.report.page import Figure
from mixscope.report.page_texts import PageTexts
from mixscope.stats.intervals import student_interval
from mixscope.stats.numbers import interval_text, number_text
from mixscope.studies.engine.results import Number, Results


def mean_text(values: Iterable[float]) -> str:
    """Return a mean over seeds with its 95% interval; "–" without any.

    Example:
        >>> mean_text([1.0, 2.0, 3.0]), mean_text([0.25, math.nan]), mean_text([])
        ('2.00 [−0.48, 4.48]', '0.25', '–')
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return number_text(finite[0]) if finite else "–"
    return interval_text(statistics.mean(finite), *student_interval(finite))


def line_through(
    samples: Iterable[tuple[float, Sample]], *, name: str, at_least: float = -math.inf, **look: Any
) -> Line:
    """Return the line through the means of (place, sample) pairs; values below `at_least` are left out.

    `look` are fields of `Line`.
    """
    rows = [(float(x), [value for value in sample.values.values() if value >= at_least]) for x, sample in samples]
    return mean_line(name, [x for x, _ in rows], [values for _, values in rows], **look)


def points_line(results: Results, setting: str, places: Mapping[str, float], number: str | Number, **look: Any) -> Line:
    """Return the mean of one number against a quantity of the method (its number of labels, the epoch of a switch).

    `places` holds every method's place on the x axis; `look` are fields of `Line`.
    """
    return line_through([(x, results.sample(setting, method, number)) for method, x in places.items()], **look)


def curve_lines(
    results: Results, setting: str, methods: Mapping[str, str], key: str, *, table: str = "curve", factor: float = 1.0
) -> list[Line]:
    """Return the mean curve of each method that was run against epochs.

    `methods` holds their names in the key, `table` ("curve" or "measured") has the column `key`, and `factor`
    multiplies every value: 100 for percent.
    """
    lines = []
    for place, (method, label) in enumerate(methods.items()):
        epochs, curves = results.curves(setting, method, table, key)
        columns = [[factor * value for value in column] for column in zip(*curves, strict=True)]
        if curves:
            lines.append(mean_line(label, epochs, columns, colour=place, has_dots=True))
    return lines


def curves_figure(
    texts: PageTexts,
    key: str,
    results: Results,
    setting: str,
    methods: Mapping[str, str],
    *,
    column: str = "",
    name: str = "",
    more: Iterable[Line] = (),
    **values: Any,
) -> Figure | None:
    """Return the figure of `curve_lines` with `more` beside them; None where nothing was run.

    The texts of the figure say its column, where none is given, its table and its factor; its name, where none is
    given, is made of setting, table and column.
    """
    own = texts.words["figure"][key]
    column, table = column or own["column"], own.get("table", "curve")
    lines = curve_lines(results, setting, methods, column, table=table, factor=own.get("factor", 1.0))
    whole = name or figure_name(setting, table, column)
    return texts.figure(key, [*lines, *more], name=whole, setting=setting, **values)


def figure_name(*parts: str) -> str:
    """Return letters, digits and hyphens made of words: a name for a figure or a section."""
    return "-".join("".join(c if c.isalnum() else "-" for c in part).strip("-").lower() for part in parts)
