"""Facts and cautions of a page of runs: what was run on what, what to know before comparing, how to repeat each."""

import shlex
from collections.abc import Iterable, Sequence

from mixscope.records.store import Run
from mixscope.report.page import Cell
from mixscope.report.runs.comparison import data_of
from mixscope.report.runs.groups import Method
from mixscope.report.runs.method_options import MISSING, flatten
from mixscope.report.runs.words import few_words

MACHINE = ("accelerator", "device", "processor", "num_threads", "platform")
INTERVALS = (
    "[Brackets] and bands are Student's 95% interval of the mean, where there are two or more; in sentences 'a to b' "
    "goes from the lowest {0} to the highest."
)


def describe_runs(methods: Sequence[Method]) -> str:
    """Say in one sentence what was run on what; where the runs differ, from what to what they go."""
    runs = [run for method in methods for run in (*method.runs, *method.left_out)]
    is_measured = all(method.is_measured for method in methods)
    text = f"{_count(len(runs), 'run')} of {_count(len(methods), 'method')}"
    if is_measured:
        text = _count(len(runs), "measured checkpoint")
    counts = [
        f"{_number_range(numbers)} {words}"
        for key, words in (("num_train", "training images"), ("num_test", "test images"), ("num_classes", "classes"))
        if (numbers := _integers(runs, "data", key))
    ]
    names = _texts(runs, "data", "name")
    if names:
        text += f" on {names[0]}" if len(names) == 1 else f" on several data sets: {few_words(names)}"
        text += f" ({', '.join(counts)})" if counts else ""
    networks, sizes = _texts(runs, "model", "name"), _integers(runs, "model", "num_parameters")
    if len(networks) == 1:
        text += f", network {networks[0]}" + (f" ({_number_range(sizes)} parameters)" if sizes else "")
    elif networks:
        text += f", several networks: {few_words(networks)}"
    if all(len(method.runs) == 1 for method in methods):
        return f"{text}."
    what, noun = ("checkpoints of one name", "checkpoint") if is_measured else ("seeds", "seed")
    return f"{text}. Numbers are means over {what}. {INTERVALS.format(noun)}"


def find_cautions(methods: Sequence[Method]) -> list[str]:
    """Return what to know before comparing: unfinished runs, single seeds, other data, networks, sizes or ends."""
    cautions = [caution for method in methods if (caution := _unfinished(method))]
    runs = [run for method in methods for run in method.runs]
    cautions += [f"{run.name}: {said}" for run in runs for said in run.record.get("cautions", [])]
    trained = [method for method in methods if not method.is_untrained]
    if untrained := [f"{each.name}: {', '.join(map(_state, each.runs))}" for each in methods if each.is_untrained]:
        said = "Only the untrained network was measured (epoch 0), so that nothing is said about the method: "
        cautions.append(f"{said}{few_words(untrained)}.")
    cautions += [caution for method in methods if (caution := _same_seeds(method))]
    if len(data_of(methods)) > 1:
        names = sorted(f"{name} ({num_test} test images)" for name, num_test in data_of(methods))
        cautions.append(f"The methods were measured on different data: {few_words(names)}.")
    networks = list(dict.fromkeys(map(_network, runs)))
    if len(networks) > 1:
        said = "What differs between them need not come from the mixing."
        cautions.append(f"The methods use different networks: {few_words(networks)}. {said}")
    sizes = {method.name: _integers(method.runs, "data", "num_train") for method in methods}
    if len({size for numbers in sizes.values() for size in numbers}) > 1:
        each = [f"{name} {_number_range(numbers)}" for name, numbers in sizes.items() if numbers]
        cautions.append(f"The numbers of training images differ: {few_words(each)}.")
    if single := [method.name for method in trained if not method.is_measured and len(method.runs) == 1]:
        spread = "its spread" if len(single) == 1 else "their spread"
        cautions.append(f"One seed only: {few_words(single)}. Nothing is known of {spread}.")
    ends = {method.name: method.final_epoch for method in trained if method.final_epoch is not None}
    if len(set(ends.values())) > 1:
        cautions.append(f"The methods end at different epochs: {few_words([f'{n} {e}' for n, e in ends.items()])}.")
    return cautions


def run_cell(run: Run) -> Cell:
    """Return how a run was made, to unfold."""
    record, environment = run.record, run.record.get("environment") or {}
    seconds, message = record.get("wall_seconds"), record.get("message")
    status = f"{record.get('status', 'unknown')}{f': {message}' if message else ''}"
    duration = f"{seconds:,.0f} s" if isinstance(seconds, int | float) else MISSING
    known = {key: value for key, value in environment.items() if value}
    machine = [f"{'threads: ' if key == 'num_threads' else ''}{known[key]}" for key in MACHINE if key in known]
    versions = [f"{k} {value}" for k, value in known.items() if k not in ("commit", "num_cores", *MACHINE)]
    brief = ", ".join([*([] if run.seed is None else [f"seed {run.seed}"]), status, duration])
    pairs: dict[str, str | Cell] = {
        "repeat it": Cell(repeat_command(run), is_code=True),
        "folder": Cell(str(run.folder), is_code=True),
        "method": run.method,
        "status": status,
        **({"prepared": "; ".join(record["notes"])} if record.get("notes") else {}),
        "started": str(record.get("started") or MISSING),
        "took": duration,
        "hardware": ", ".join(machine) or MISSING,
        "versions": ", ".join(versions) or MISSING,
        "commit": Cell(str(environment.get("commit") or MISSING), is_code=True),
    }
    return Cell("", fold=f"{run.name}: {brief}", folded=list(pairs.items()))


def repeat_command(run: Run) -> str:
    """Return the command that repeats the run, quoted for a shell; a dash for a study's record, which none repeats."""
    if run.folder.suffix == ".json":
        return MISSING
    if run.record.get("kind") != "measure":
        return f"mixscope train --from {shlex.quote(str(run.folder))}"
    description = run.record.get("description") or {}
    words = ["mixscope", "measure", *([str(description["model"])] if "model" in description else [])]
    for path, value in flatten(description):
        flag = path.rsplit(".", 1)[-1].replace("_", "-")
        if path == "model" or value is None or value in ([], {}):
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return shlex.join(words)


def _unfinished(method: Method) -> str:
    """Return what is to be said of a method's runs that did not finish."""
    if method.left_out:
        left_out = few_words([_state(run) for run in method.left_out])
        return f"{method.name}: left out of every number because it did not finish: {left_out}."
    states = [_state(run) for run in method.runs if run.record.get("status") != "finished"]
    if not states or method.is_untrained:
        return ""
    return f"{method.name}: no run finished; its numbers are those so far: {few_words(states)}."


def _same_seeds(method: Method) -> str:
    """Return what is to be said where runs that count as several seeds have the same one."""
    seeds = [run.seed for run in method.runs]
    seeded = [run for run in method.runs if run.seed is not None]
    repeated = [f"{run.name} (seed {run.seed})" for run in seeded if seeds.count(run.seed) > 1]
    said = "runs of one seed count as several and show no spread"
    return f"{method.name}: {said}: {few_words(repeated)}." if repeated else ""


def _state(run: Run) -> str:
    return f"{run.name} ({run.record.get('status')})"


def _network(run: Run) -> str:
    """Return 'mlp (85,002 parameters)', or what is known of it."""
    model = run.record.get("model") or {}
    name, size = str(model.get("name") or "unknown"), model.get("num_parameters")
    return f"{name} ({size:,} parameters)" if isinstance(size, int) else name


def _texts(runs: Iterable[Run], part: str, key: str) -> list[str]:
    """Return the different names that the runs' records hold at a place, in the order in which they appear."""
    values = ((run.record.get(part) or {}).get(key) for run in runs)
    return list(dict.fromkeys(str(value) for value in values if value))


def _integers(runs: Iterable[Run], part: str, key: str) -> list[int]:
    """Return the different integers that the runs' records hold at a place, in rising order."""
    values = ((run.record.get(part) or {}).get(key) for run in runs)
    return sorted({value for value in values if isinstance(value, int)})


def _number_range(numbers: Sequence[int]) -> str:
    """Return '100' or '100 to 1,437'."""
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
