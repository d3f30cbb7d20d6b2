"""The tables of the page: what each method came to, the channel numbers, the options and the runs."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from mixscope.metrics.catalogue import CATALOGUE
from mixscope.records.store import Run
from mixscope.report.runs.groups import Method, Spread
from mixscope.report.runs.method_options import MISSING, flatten, option_words
from mixscope.report.runs.words import number_words, range_words

ORDER_KEYS = ("channels/order_low", "channels/order_middle", "channels/order_high")
ZERO = 1e-12  # numbers below it are the rounding of a 0


@dataclass(frozen=True)
class Cell:
    """A number with what stands small beneath it."""

    text: str = MISSING
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading and what it means, shown on hover and below the table."""

    heading: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """A table with one row per method.

    Attributes:
        columns: Headings of the cells.
        rows: (method, cells) pairs; method None is a row of expectations.
    """

    columns: list[Column]
    rows: list[tuple[Method | None, list[Cell]]]


@dataclass(frozen=True)
class NumberRow:
    """One number of every method.

    Attributes:
        title: In words.
        meaning: How to read it.
        cells: One per method.
    """

    title: str
    meaning: str
    cells: list[Cell]


def summary_table(methods: Sequence[Method]) -> Table:
    """Return the table of methods; columns that no method has are left out."""
    error = Column("test error, end", "share of test images classified wrongly after the last epoch")
    if all(method.is_measured for method in methods):
        error = Column("test error", "share of test images classified wrongly")
    columns = [
        error,
        Column("test error, best", "the lowest point of the mean curve and its epoch (chosen with the test data)"),
        Column("end − best", "what training past that epoch cost, in percentage points"),
        Column("test loss", "mean negative log-likelihood of the test labels, in nats; lower is better"),
        Column("ECE", "expected calibration error on the test images, 15 bins; 0 is best"),
        Column("signed gap", "mean confidence minus accuracy; below 0 is under-confident, above 0 over-confident"),
        Column("training accuracy, blends", "on what was trained on while mixing; not comparable with clean accuracy"),
        Column("training accuracy, clean", "on the unmixed training images"),
        Column("NC1", "within-class over between-class scatter of training features, tr(Σw pinv(Σb))/K; 0 is collapse"),
        Column(
            "amplification",
            "how far blends halfway between two classes reach along the line between class means; 1 is linear",
        ),
    ]
    rows = [(method, _summary_cells(method)) for method in methods]
    kept = [place for place in range(len(columns)) if any(cells[place].text != MISSING for _, cells in rows)]
    return Table(
        [columns[place] for place in kept], [(method, [cells[place] for place in kept]) for method, cells in rows]
    )


def channel_table(methods: Sequence[Method]) -> Table | None:
    """Return the channel numbers with what theory expects in the first row, or None if nothing was measured."""
    specs = [
        (
            "channels/amplification_means",
            "amplification",
            "|features at weight near 1/2| / |straight line|, centred",
            "1 to 2",
        ),
        ("channels/logit_slope", "logit slope", "slope of x1 − x2 on log(w/(1 − w))", "→ 1"),
        ("channels/order_low", "order, uneven", "mean (x1 + x2)/2 where min(w, 1 − w) < 0.1", "lowest"),
        ("channels/order_middle", "order, middle", "the same for 0.1 to 0.3", "between"),
        ("channels/order_high", "order, even", "the same above 0.3", "highest"),
        ("channels/alignment_same", "alignment, same class", "cosine of a same-class blend with its classifier", "→ 1"),
        (
            "channels/alignment_channel",
            "alignment, channel",
            "cosine of an even blend with the sum of both classifiers",
            "→ 1",
        ),
        (
            "channels/deviation_same",
            "deviation, same class",
            "distance from the straight line / mean class-mean length",
            "",
        ),
        ("channels/deviation_different", "deviation, different", "the same for blends of two classes", ""),
        ("channels/deviation_different_middle", "deviation, even", "the same where |w − 1/2| < 0.2", ""),
    ]

    def measured(method: Method, key: str) -> Spread | None:
        # With two classes (x1 + x2) / 2 is always 0, whatever the network.
        return None if method.num_classes == 2 and key in ORDER_KEYS else method.final(key)

    specs = [spec for spec in specs if any(measured(method, spec[0]) for method in methods)]
    if not specs:
        return None
    columns = [Column(heading, meaning) for _, heading, meaning, _ in specs]
    expected: tuple[Method | None, list[Cell]] = (None, [Cell(expectation) for *_, expectation in specs])
    rows = [(method, [_cell(measured(method, key), ".2f") for key, *_ in specs]) for method in methods]
    return Table(columns, [expected, *rows])


def number_rows(methods: Sequence[Method], *groups: str) -> list[NumberRow]:
    """Return the final numbers of some groups of keys, in the catalogue's order, with what each of them means.

    Args:
        methods: One cell each.
        groups: What keys begin with, for example "nc/". A number that no method has is left out.
    """
    rows = [
        NumberRow(
            entry.title, f"{entry.symbol}. {entry.note}", [_near_zero(method.final(entry.key)) for method in methods]
        )
        for entry in CATALOGUE
        if entry.key.startswith(groups)
    ]
    return [row for row in rows if any(cell.text != MISSING for cell in row.cells)]


def option_rows(methods: Sequence[Method]) -> tuple[list[tuple[str, list[str]]], list[tuple[str, list[str]]]]:
    """Return (option, value per method) rows: first those in which methods differ, then those they share.

    The seed and the run's own name, in which the runs of one method differ, are joined.
    """
    tables = [[dict(flatten(run.record.get("description") or {})) for run in method.runs] for method in methods]
    paths: dict[str, None] = {path: None for table in tables for options in table for path in options}
    different: list[tuple[str, list[str]]] = []
    shared: list[tuple[str, list[str]]] = []
    for path in paths:
        values = [", ".join(dict.fromkeys(option_words(options.get(path)) for options in table)) for table in tables]
        (different if len(set(values)) > 1 else shared).append((path, values))
    return different, shared


@dataclass(frozen=True)
class RunRow:
    """How one run was made."""

    name: str
    method: str
    brief: str
    status: str
    started: str
    duration: str
    machine: str
    versions: str
    commit: str
    folder: str
    command: str


def run_row(run: Run) -> RunRow:
    """Return how a run was made, in words."""
    record, environment = run.record, run.record.get("environment") or {}
    machine = ("accelerator", "device", "processor", "num_threads", "platform")
    other = ("commit", "num_cores", *machine)
    seconds = record.get("wall_seconds")
    message = record.get("message")
    seed = [] if run.seed is None else [f"seed {run.seed}"]
    status = f"{record.get('status', 'unknown')}{f': {message}' if message else ''}"
    duration = f"{seconds:,.0f} s" if isinstance(seconds, int | float) else MISSING
    return RunRow(
        name=run.name,
        method=run.method,
        brief=", ".join([*seed, status, duration]),
        status=status,
        started=str(record.get("started") or MISSING),
        duration=duration,
        machine=", ".join(f"{_named(key)}{environment[key]}" for key in machine if environment.get(key)) or MISSING,
        versions=", ".join(f"{key} {value}" for key, value in environment.items() if key not in other and value)
        or MISSING,
        commit=str(environment.get("commit") or MISSING),
        folder=str(run.folder),
        command=repeat_command(run),
    )


def repeat_command(run: Run) -> str:
    """Return the command that repeats the run, quoted for a shell."""
    if run.record.get("kind") != "measure":
        return f"mixscope train --from {shlex.quote(str(run.folder))}"
    description = run.record.get("description") or {}
    words = ["mixscope", "measure", str(description.get("model"))]
    for path, value in flatten(description):
        flag = path.rsplit(".", 1)[-1].replace("_", "-")
        if path == "model" or value is None or value in ([], {}):
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return shlex.join(words)


def _summary_cells(method: Method) -> list[Cell]:
    curve = method.curve("test/error")
    best = rise = Cell()
    if len(curve.epochs) > 1:
        lowest, end = curve.spreads[curve.turn], curve.spreads[-1]
        best = Cell(f"{100 * lowest.mean:.2f}%", f"epoch {curve.epochs[curve.turn]}")
        rises = tuple(100 * (last - first) for first, last in zip(lowest.values, end.values, strict=True))
        rise = _cell(Spread(rises), "+.2f")
    return [
        _percent(method.final("test/error")),
        best,
        rise,
        _cell(method.final("test/loss"), ".3f"),
        _cell(method.final("test/ece"), ".3f"),
        _cell(method.final("test/signed_gap"), "+.3f"),
        _percent(method.final("train/accuracy_blends")),
        _percent(method.final("train/accuracy_clean")),
        _cell(method.final("nc/nc1_pinv"), ".3g"),
        _cell(method.final("channels/amplification_means"), ".2f"),
    ]


def _cell(spread: Spread | None, form: str, unit: str = "") -> Cell:
    if spread is None:
        return Cell()
    return Cell(f"{number_words(spread.mean, form)}{unit}", range_words(spread, form))


def _near_zero(spread: Spread | None) -> Cell:
    if spread is None:
        return Cell()
    return _cell(Spread(tuple(0.0 if abs(value) < ZERO else value for value in spread.values)), ".3g")


def _percent(spread: Spread | None) -> Cell:
    return _cell(None if spread is None else Spread(tuple(100 * value for value in spread.values)), ".2f", "%")


def _named(key: str) -> str:
    return "threads: " if key == "num_threads" else ""
