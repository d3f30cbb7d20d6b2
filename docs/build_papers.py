"""Write docs/papers/*.md and README's table of verdicts from the records of results/small: run by `make docs`."""

from pathlib import Path

from mixscope.studies.engine.publish import committed_texts

ROOT = Path(__file__).parents[1]

for path, text in committed_texts(ROOT).items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
