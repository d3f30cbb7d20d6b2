"""Tables of runs: what each method came to, the channel numbers, the numbers of a group, the options."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mixscope.metrics.catalogue import CATALOGUE, find_metric
from mixscope.report.figures.curve_figure import scale_of
from mixscope.report.page import Cell, Table
from mixscope.report.page_texts import page_texts
from mixscope.report.runs.confidence_findings import gap_margin, temperature_ends
from mixscope.report.runs.groups import Method
from mixscope.report.runs.method_options import MISSING, flatten, option_words
from mixscope.report.runs.spread import Spread
from mixscope.report.runs.words import counted, interval_words, number_words
from mixscope.stats.curves import SHORTEST_SMOOTHED, WINDOW
from mixscope.stats.intervals import count_interval

TEXTS = page_texts("mixscope.report.runs", "sections")
ZERO = 1e-12  # numbers below it are the rounding of a 0
ORDER_KEYS = ("channels/order_low", "channels/order_middle", "channels/order_high")
SUMMARY: Mapping[str, str] = {  # how each number is written
    "test/loss": ".3f",
    "test/ece": ".3f",
    "test/signed_gap": "+.3f",
    "scaling/temperature": ".2f",
    "train/accuracy_blends": ".2f",
    "train/accuracy_clean": ".2f",
    "nc/nc1_pinv": ".3g",
    "channels/amplification_means": ".2f",
}
SHORT: Mapping[str, str] = {  # of one method, one below the other
    "test/error": ".2f",
    "test/loss": ".3f",
    "test/ece": ".3f",
    "test/signed_gap": "+.3f",
    "scaling/temperature": ".2f",
    "train/accuracy_clean": ".2f",
    "nc/nc1_pinv": ".3g",
    "nc/nc2_etf_means": ".3f",
    "channels/amplification_means": ".2f",
}
BEST = "The lowest point of the mean curve over seeds, found with the test data."
AVERAGED = f"Of {SHORTEST_SMOOTHED} measurements or more each is averaged with its neighbours, {WINDOW} in all."
Column = tuple[Cell, list[Cell]]  # a heading, and a cell for every method


def summary_table(methods: Sequence[Method]) -> Table:
    """Return the table of methods; columns that no method has are left out."""
    is_measured = all(method.is_measured for method in methods)
    columns = [
        _column(methods, "test/error", ".2f", suffix="" if is_measured else ", end"),
        *_turn_columns(methods),
        *(_column(methods, key, form) for key, form in SUMMARY.items()),
    ]
    return _by_method(methods, columns)


def short_table(method: Method) -> Table:
    """Return the main numbers of one method, one below the other, with intervals; those it lacks are left out."""
    rows: list[list[str | Cell]] = []
    for key, form in SHORT.items():
        spread, card = method.final(key), find_metric(key)
        if spread is not None:
            unit = "%" if scale_of(key) == 100 else ""
            cell = _cell(spread.times(scale_of(key)), form, unit)
            cell = cell if cell.note else replace(cell, note=_one_seed_note(method, key, form))
            rows.append([Cell(card.title, meaning=card.hover), cell])
    return Table(["number", *_named([method])], rows, title="The main numbers")


def _one_seed_note(method: Method, key: str, form: str) -> str:
    """Return the 95% interval over the test images of a number of one seed, where it is known."""
    num_test, value = method.data.get("num_test"), method.final(key)
    if value is None:
        return ""
    if key == "test/error" and isinstance(num_test, int) and num_test > 0 and 0 <= value.mean <= 1:
        low, high = (100 * end for end in count_interval(round(value.mean * num_test), num_test))
    elif key == "test/signed_gap" and (margin := gap_margin(method)) is not None:
        low, high = max(value.mean - margin, -1.0), min(value.mean + margin, 1.0)
    else:
        ends = method.final(f"{key}_low"), method.final(f"{key}_high")
        if ends[0] is None or ends[1] is None:
            return ""
        low, high = ends[0].mean, ends[1].mean
        if key == "scaling/temperature":
            return f"[{', '.join(temperature_ends(low, high))}]"
    return f"[{number_words(low, form)}, {number_words(high, form)}]"


def channel_table(methods: Sequence[Method]) -> Table | None:
    """Return the channel numbers with what theory expects in the first row, or None if nothing was measured."""

    def measured(method: Method, key: str) -> Spread | None:
        # With two classes (x1 + x2) / 2 is always 0, whatever the network.
        return None if method.num_classes == 2 and key in ORDER_KEYS else method.final(key)

    columns = []
    for key, words in TEXTS.names("expected").items():
        cells = [_cell(measured(method, key), ".2f") for method in methods]
        if any(cell.text != MISSING for cell in cells):
            columns.append((_heading(key), [Cell(words), *cells]))
    if not columns:
        return None
    table = _by_method(methods, [(heading, cells[1:]) for heading, cells in columns])
    theory = [Cell("theory, cross-entropy with mixup"), *(cells[0] for _, cells in columns)]
    fold = f"{counted(len(columns), 'number')} beside theory's" if len(methods) == 1 else ""
    return Table(table.columns, [theory, *table.rows], asides={0}, fold=fold)


def number_table(methods: Sequence[Method], *groups: str) -> Table | None:
    """Return the final numbers whose keys begin with one of `groups`, in the catalogue's order, and what they mean.

    A number that no method has is left out. The table is folded: its numbers are for who asks for them.
    """
    rows = []
    for card in CATALOGUE:
        cells = [_cell(_near_zero(method.final(card.key)), ".3g") for method in methods]
        if card.key.startswith(groups) and any(cell.text != MISSING for cell in cells):
            rows.append([Cell(card.title, f"{card.symbol}. {card.note}", meaning=card.hover), *cells])
    when = "" if all(method.is_measured for method in methods) else " after the last epoch"
    return Table(["number", *_named(methods)], rows, fold=f"{counted(len(rows), 'number')}{when}") if rows else None


def option_tables(methods: Sequence[Method]) -> list[Table]:
    """Return the options in which methods differ, and those they share, each with its value for every method.

    The seed and the run's own name, in which the runs of one method differ, are joined.
    """
    tables = [[dict(flatten(run.record.get("description") or {})) for run in method.runs] for method in methods]
    paths: dict[str, None] = {path: None for table in tables for options in table for path in options}
    different: list[list[str | Cell]] = []
    shared: list[list[str | Cell]] = []
    for path in paths:
        values = [", ".join(dict.fromkeys(option_words(options.get(path)) for options in table)) for table in tables]
        (different if len(set(values)) > 1 else shared).append([Cell(path, is_code=True), *values])
    fold = f"{counted(len(shared), 'option')}{' all methods share' if len(methods) > 1 else ''}"
    return [
        Table(["option that differs", *_named(methods)], different),
        Table(["option", *_named(methods)], shared, fold=fold),
    ]


def _by_method(methods: Sequence[Method], columns: Sequence[Column]) -> Table:
    """Return a table with a row per method, without columns in which no method has a number."""
    kept = [(heading, cells) for heading, cells in columns if any(cell.text != MISSING for cell in cells)]
    names = [Cell(m.name, counted(len(m.runs), m.noun), colour=m.index) for m in methods]
    rows = [[name, *(cells[place] for _, cells in kept)] for place, name in enumerate(names)]
    return Table(["method", *(heading for heading, _ in kept)], rows if kept else [])


def _column(methods: Sequence[Method], key: str, form: str, *, suffix: str = "") -> Column:
    unit = "%" if scale_of(key) == 100 else ""
    spreads = [method.final(key) for method in methods]
    return _heading(key, suffix), [_cell(spread and spread.times(scale_of(key)), form, unit) for spread in spreads]


def _turn_columns(methods: Sequence[Method]) -> list[Column]:
    """Return the lowest test error, and how far above it the end lies."""
    curves = [method.curve("test/error") for method in methods]
    turns = [curve.end_minus_best if len(curve.epochs) > 1 else None for curve in curves]
    best = [Cell(f"{100 * t.best.mean:.2f}%", f"epoch {t.epoch}") if t else Cell(MISSING) for t in turns]
    rise = [_cell(turn.rise.times(100) if turn else None, "+.2f") for turn in turns]
    rises = find_metric("overtraining/end_minus_best")
    lowest = Cell(f"{find_metric('test/error').column_title}, best", meaning=f"{BEST} {AVERAGED}")
    return [(lowest, best), (Cell(rises.column_title, meaning=f"{rises.hover} In points. {AVERAGED}"), rise)]


def _heading(key: str, suffix: str = "") -> Cell:
    card = find_metric(key)
    return Cell(card.column_title + suffix, meaning=card.hover)


def _named(methods: Sequence[Method]) -> list[Cell]:
    return [Cell(method.name, colour=method.index) for method in methods]


def _cell(spread: Spread | None, form: str, unit: str = "") -> Cell:
    if spread is None:
        return Cell(MISSING)
    return Cell(f"{number_words(spread.mean, form)}{unit}", interval_words(spread, form))


def _near_zero(spread: Spread | None) -> Spread | None:
    return spread and Spread(tuple(0.0 if abs(value) < ZERO else value for value in spread.values))
