"""Every example is short and runs; the README shows them as they are."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command_line import run_command

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# What other libraries warn of while they are used as they ask to be.
THEIR_WARNINGS = {
    "lightning_module": [
        # Lightning 2.6 asks torch's pytree for leaves in a way that torch 2.13 deprecates.
        "ignore:`isinstance(treespec, LeafSpec)` is deprecated:FutureWarning",
        # It advises workers on machines with many cores; the data are in memory.
        "ignore:The 'train_dataloader' does not have many workers",
        "ignore:The 'val_dataloader' does not have many workers",
    ],
}


def needs(path):
    """Skip where a library the example is about cannot be had: timm may also fail while it is imported."""
    if path.stem == "timm_model":
        try:
            importlib.import_module("timm")
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"timm does not import: {error}")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_runs_without_a_warning(path):
    assert len(path.read_text().splitlines()) < 60
    needs(path)
    warnings = [argument for rule in THEIR_WARNINGS.get(path.stem, []) for argument in ("-W", rule)]
    done = subprocess.run(
        [sys.executable, "-W", "error", *warnings, path], capture_output=True, text=True, timeout=120, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_guide_shows_examples_as_they_are_or_code_that_runs():
    examples = [without_indents(path.read_text()) for path in EXAMPLES]
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "own-training.md").read_text(), flags=re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        if not any(without_indents(block) in example for example in examples):
            exec(compile(block, "docs/own-training.md", "exec"), {})


def without_indents(code):
    return "\n".join(line.strip() for line in code.strip().splitlines())


def test_the_guide_names_only_numbers_of_the_catalogue():
    from mixscope.metrics.catalogue import find_metric

    text = (ROOT / "docs" / "own-training.md").read_text()
    keys = re.findall(r"`((?:nc|nc_test|test|train|channels|linearity)/[\w/]+)`", text)
    assert len(keys) > 8
    for key in keys:
        find_metric(key)


def test_the_readme_shows_the_example_as_it_is():
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    example = (ROOT / "examples" / "own_model.py").read_text()
    assert block.strip() in example


def test_the_readme_names_only_options_that_exist():
    from mixscope.cli.parsing import COMMANDS

    text = (ROOT / "README.md").read_text()
    for command in re.findall(r"^mixscope (\w+)", text, flags=re.MULTILINE):
        assert command in COMMANDS
    done = subprocess.run(
        [sys.executable, "-m", "mixscope", "train", "--help"], capture_output=True, text=True, check=True
    )
    for options in re.findall(r"^mixscope train (.*)$", text, flags=re.MULTILINE):
        for option in re.findall(r"--[\w-]+", options):
            assert option in done.stdout


def test_every_option_of_the_page_on_checkpoints_is_one_of_measure():
    text = (ROOT / "docs" / "own-checkpoint.md").read_text()
    helped = run_command("measure", "--help").output
    options = set(re.findall(r"`?(--[a-z][a-z-]+)", text))
    assert len(options) > 10
    assert sorted(option for option in options if option not in helped) == []
