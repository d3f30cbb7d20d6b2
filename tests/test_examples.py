"""Every example is short and runs; the README shows them as they are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_runs_without_a_warning(path):
    assert len(path.read_text().splitlines()) < 60
    done = subprocess.run(
        [sys.executable, "-W", "error", path], capture_output=True, text=True, timeout=120, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


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
