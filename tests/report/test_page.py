"""The page: its structure, what it escapes, that it loads nothing, and that missing data leaves no holes."""

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import CLASS_NAMES, synthetic_run, synthetic_runs

from mixscope.records.store import Run
from mixscope.report import write_report
from mixscope.report.rendering import embed_json, render_page
from mixscope.report.runs.groups import group_runs
from mixscope.report.runs.runs_page import examination_page, runs_page
from mixscope.report.runs.tables import summary_table

HOSTILE = "</script><script>alert('x')</script>\u2028<img src=x onerror=alert(1)>"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Tags, attributes, visible text and scripts of a page; fails where tags do not close."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        {"script": self.scripts, "style": self.styles}.get(inside, self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def section_names(self) -> list[str | None]:
        return [attributes.get("id") for tag, attributes in self.tags if tag == "section"]

    @property
    def figures(self) -> dict[str, Any]:
        return json.loads(next(script for script in self.scripts if script.startswith('{"figures"')))["figures"]


def page_of(runs: list[Run], title: str = "A title") -> Page:
    return Page(render_page(runs_page(runs, title=title)))


@pytest.fixture(scope="module")
def full() -> Page:
    return page_of(synthetic_runs())


def test_the_page_has_every_section_in_order(full: Page):
    assert full.section_names == ["numbers", "course", "plane", "collapse", "calibration", "layers", "channels", "made"]


def test_every_section_has_a_heading_and_every_figure_a_place_and_a_caption(full: Page):
    tags = [tag for tag, _ in full.tags]
    assert tags.count("h2") == len(full.section_names)
    places = [attributes["id"] for tag, attributes in full.tags if attributes.get("class") == "plot"]
    assert places == list(full.figures)
    assert tags.count("figcaption") == len(places)
    ids = [attributes["id"] for _, attributes in full.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_page_loads_nothing(full: Page):
    for tag, attributes in full.tags:
        assert tag not in {"link", "iframe", "object", "embed"}
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"url\(|@import", " ".join(full.styles))
    policy = next(a["content"] for t, a in full.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_plotly_is_embedded_once(full: Page):
    assert sum("plotly.js v" in script[:200] for script in full.scripts) == 1


def test_the_two_training_accuracies_are_apart_and_named(full: Page):
    assert "training accuracy, blends" in full.text
    assert "training accuracy, clean" in full.text


def test_an_accuracy_on_blends_is_not_given_for_plain_training():
    run = synthetic_run("erm", **{"mixing_on": False, "train/accuracy_blends": None})
    table = summary_table(group_runs([run]))
    assert "training accuracy, blends" not in table.headings


def test_hostile_names_are_shown_not_run():
    names = [HOSTILE, *CLASS_NAMES[1:]]
    run = synthetic_run(HOSTILE, class_names=names)
    run.record.update(name=HOSTILE, message=HOSTILE)
    run.record["model"]["name"] = HOSTILE
    run.record["data"]["name"] = HOSTILE
    run.record["description"][HOSTILE] = HOSTILE
    run.record["environment"]["commit"] = HOSTILE
    run = Run(folder=Path("runs") / HOSTILE, record=run.record, metrics=run.metrics, pictures=run.pictures)
    text = render_page(runs_page([run, synthetic_run("erm")], title=HOSTILE))
    page = Page(text)
    assert "<script>alert" not in text
    assert "<img" not in text
    assert not [tag for tag, attributes in page.tags if tag == "img" or "onerror" in attributes]
    assert sum(tag == "script" for tag, _ in page.tags) == 3
    assert "alert('x')" in page.text


def test_names_inside_figures_cannot_become_plotly_markup():
    figures = page_of([synthetic_run("<a href='x'>m</a>", class_names=["<b>bold</b>", *CLASS_NAMES[1:]])]).figures
    assert not re.search(r"<(?!br>|extra>|/extra>)", json.dumps(figures))


def test_embedded_json_cannot_end_its_script_and_reads_back_the_same():
    value = {"name": HOSTILE, "amp": "&amp;", "number": 0.5}
    text = embed_json(value)
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == value


def test_embedded_json_has_no_nan():
    assert embed_json({"values": [math.nan, math.inf, 1.0]}) == '{"values":[null,null,1.0]}'


def test_nan_and_none_everywhere_still_give_a_page():
    for broken in (math.nan, None, "text"):
        runs = [synthetic_run(seed=seed) for seed in range(2)]
        for run in runs:
            for row in run.metrics:
                row.update({key: broken for key in row if key != "epoch"})
            for picture in run.pictures["plane"]["same"], run.pictures["plane"]["different"], run.pictures["pairs"]:
                for key in ("x", "y", "x1", "x2"):
                    if key in picture:
                        picture[key] = [broken] * len(picture[key])
            run.pictures["plane"]["classifiers"] = {"x": [broken] * 3, "y": [broken] * 3}
            run.pictures["linearity"] = [
                dict.fromkeys(layer, broken) | {"site": layer["site"]} for layer in run.pictures["linearity"]
            ]
            for key in ("confidence", "accuracy"):
                run.pictures["reliability"][key] = [broken] * 15
        page = page_of(runs)
        assert "nan" not in page.text.lower().split()
        assert "test error, end" not in page.text


def test_one_run_with_one_epoch_has_the_sections_it_has_data_for():
    page = page_of([synthetic_run(epochs=[10], has_pictures=False)])
    assert page.section_names == ["numbers", "collapse", "layers", "channels", "made"]
    assert "One seed only: mixup" in page.text


def test_a_measured_checkpoint_gives_a_page():
    page = page_of([synthetic_run("weights", kind="measure", epochs=[0])])
    assert page.section_names == ["calibration", "plane", "numbers", "collapse", "layers", "channels", "made"]
    for words in ("epoch None", "One seed", "one seed", "after the last epoch", "seed –", "Nothing is known"):
        assert words not in page.text
    assert "1 measured checkpoint on shapes" in page.text
    assert "one checkpoint" in page.text


def test_a_page_of_one_method_opens_with_its_reliability_diagram_over_the_whole_width():
    first = runs_page([synthetic_run()], title="A title").sections[0].drawn[0]
    assert (first.name, first.is_wide) == ("reliability-0", True)
    several = runs_page(synthetic_runs(1), title="A title")
    assert several.sections[0].name == "numbers"
    assert not several.figures["reliability-0"].is_wide


def test_an_examination_gives_a_page_without_options():
    run = synthetic_run(kind="measure", epochs=[0])
    page = examination_page(run.metrics[-1], run.pictures, title="A title", name="mine", num_test=797)
    html = Page(render_page(page))
    assert html.section_names == ["calibration", "plane", "numbers", "collapse", "layers", "channels"]
    assert "mine" in html.text


def test_no_option_is_shown_in_python_s_words():
    runs = [synthetic_run("mixup", seed=seed, epochs=[1], has_pictures=False) for seed in range(2)]
    runs[0].record["description"]["data"] |= {"subset": None, "flip": True, "sites": []}
    runs[1].record["description"]["data"] |= {"subset": 10, "flip": False}
    assert not re.search(r"\b(None|True|False)\b", page_of(runs).text)


def test_a_run_without_any_measurement_gives_a_page_without_plotly():
    run = synthetic_run(epochs=[1], has_pictures=False, status="running")
    page = page_of([Run(folder=run.folder, record=run.record, metrics=[], pictures={})])
    assert page.section_names == ["numbers", "made"]
    assert page.figures == {}
    assert "no run finished" in page.text


def test_the_file_is_written_whole_and_replaces_the_earlier_one(tmp_path: Path):
    path = tmp_path / "new" / "report.html"
    for title in ("First", "Second"):
        write_report(path, [synthetic_run(epochs=[1])], title=title)
    text = path.read_text(encoding="utf-8")
    assert "<title>Second</title>" in text
    assert text.rstrip().endswith("</html>")
    assert list(path.parent.iterdir()) == [path]


def test_paths_that_are_no_text_do_not_stop_the_page(tmp_path: Path):
    run = synthetic_run(epochs=[1])
    run = Run(folder=Path("runs/\udcff"), record=run.record, metrics=run.metrics, pictures=run.pictures)
    write_report(tmp_path / "report.html", [run], title="A title")
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_no_runs_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="runs must hold at least one run, got none"):
        write_report(tmp_path / "report.html", [], title="A title")
    assert not (tmp_path / "report.html").exists()


def test_the_report_imports_no_torch():
    code = "import sys, mixscope.report; assert 'torch' not in sys.modules and 'plotly' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
