"""Figures of lines, the page model around them, and the fragment for notebooks."""

import json
import math
import re

import pytest

from mixscope.report import render_fragment, render_page, write_page
from mixscope.report.figures.line_figure import Axes, Line, line_figure, mean_line
from mixscope.report.page import Cell, KeyEntry, Page, Section, Table, present
from mixscope.report.page_texts import PageTexts
from mixscope.stats.intervals import student_interval

CURVE = Line("<b>bold</b>", x=[1.0, 2.0], y=[3.0, math.nan], low=[2.0, 2.0], high=[4.0, 4.0])
POINTS = Line("measured", x=[1.0], y=[3.5], is_marked=True)
LEVEL = Line("limit", x=[1.0, 2.0], y=[1.0, 1.0], is_reference=True)
FIGURE = line_figure("first-one", "A curve & points", [CURVE, POINTS], Axes("t", "loss", log_x=True))
TABLE = Table(["name", Cell("value", meaning="what <it> is")], [["<a>", "1.5"]])
SECTION = Section("one", "First <section>", "What to look for.", [FIGURE], [TABLE], ["A note."])


def page_of(*sections):
    return Page("t", list(sections) or [SECTION], lead="l")


def drawn(*lines, **options):
    return line_figure("f", "t", lines, Axes("x", "y", **options))


def embedded(html):
    return json.loads(re.search(r'id="figures">(.*?)</script>', html, re.DOTALL).group(1))["figures"]


def test_a_page_escapes_what_it_shows_and_loads_nothing():
    html = render_page(Page("<title>", [SECTION], lead="It <came> out.", facts="float64"))
    assert "<b>bold" not in html
    assert "First &lt;section&gt;" in html
    assert "It &lt;came&gt; out." in html
    assert '<th scope="row">&lt;a&gt;</th>' in html
    assert "what &lt;it&gt; is" in html
    markup = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?!#)', markup)
    assert "default-src 'none'" in markup  # what scripts may load


def test_a_fragment_shows_words_and_tables_in_place_and_figures_in_a_frame_of_their_own():
    findings = Section("numbers", "What came out", findings=[("Best", ["<b>mixup</b> is."])])
    html = render_fragment(Page("<title>", [findings, SECTION], lead="It <came> out."))
    outside, _, frame = html.partition("<iframe")
    assert "&lt;b&gt;mixup&lt;/b&gt; is." in outside
    assert '<th scope="row">&lt;a&gt;</th>' in outside
    assert not re.search(r"<(script|style)", html)
    assert 'sandbox="allow-scripts' in frame
    assert "<" not in re.search(r'srcdoc="([^"]*)"', frame).group(1)  # nothing ends the attribute or the frame
    assert "<iframe" not in render_fragment(page_of(Section("words", "Words", tables=[TABLE])))


def test_figures_are_embedded_with_gaps_where_there_is_no_number():
    html = render_page(page_of())
    low, high, line, points = embedded(html)["first-one"]["data"]
    assert line["y"] == [3.0, None]
    assert (low["y"], high["y"]) == ([2.0, 2.0], [4.0, 4.0])
    assert points["mode"] == "markers"
    assert 'id="first-one"' in html


def test_a_line_through_means_has_a_band_where_a_place_has_two_seeds():
    line = mean_line("m", [1.0, 2.0, 3.0], [[1.0, 3.0], [2.0, math.nan], [math.nan]])
    assert (line.x, line.y) == ([1.0, 2.0], [2.0, 2.0])
    assert (line.low[0], line.high[0]) == student_interval([1.0, 3.0])
    assert (line.low[1], line.high[1]) == (2.0, 2.0)
    assert mean_line("m", [1.0], [[2.0]]).low == []
    assert mean_line("m", [1.0], [[]]).x == []


def test_a_logarithmic_axis_leaves_out_what_it_cannot_show_and_cuts_bands_at_the_line():
    line = Line("l", [0.0, 1.0, 2.0], [1.0, 2.0, 0.0], low=[0.5, -1.0, -2.0], high=[2.0, 3.0, 1.0])
    low, _, middle = drawn(line, log_x=True, log_y=True).plot["data"]
    assert middle["x"] == [1.0, 2.0]
    assert middle["y"] == [2.0, None]
    assert low["y"] == [2.0, None]
    assert drawn(Line("l", [1.0, 2.0], [0.0, -1.0]), log_y=True) is None


def test_what_has_no_line_is_no_figure_and_what_has_neither_figure_nor_table_is_left_out():
    assert drawn(None, Line("empty", [], [])) is None
    empty = Section("empty", "Nothing", figures=[None], tables=[None, Table(["a"], [])])
    assert present([empty, SECTION]) == [SECTION]


def test_axes_are_logarithmic_where_asked_and_one_line_needs_no_key():
    assert FIGURE.plot["layout"]["xaxis"]["type"] == "log"
    assert "type" not in FIGURE.plot["layout"]["yaxis"]
    assert 'class="legend"' in render_page(page_of())
    assert 'class="legend"' not in render_page(page_of(Section("one", "One", figures=[drawn(POINTS)])))


def test_names_on_the_axis_keep_their_order():
    axis = drawn(Line("b", [1], [2.0]), Line("a", [0, 1], [1.0, 2.0]), names=["in", "out"]).plot["layout"]["xaxis"]
    assert (axis["type"], axis["categoryarray"]) == ("category", ["in", "out"])


def test_a_page_without_figures_carries_no_plotting_library(tmp_path):
    path = tmp_path / "deep" / "page.html"
    write_page(page_of(Section("words", "Words", "Only words.")), path)
    assert path.stat().st_size < 100_000


def test_a_reference_is_grey_and_dotted_and_the_second_of_a_pair_dashed():
    second = Line("second", x=[1.0, 2.0], y=[2.0, 3.0], colour=0, is_dashed=True)
    lines = drawn(LEVEL, second).plot["data"]
    assert lines[0]["line"]["dash"] == "dot"
    assert lines[0]["line"]["color"] != lines[1]["line"]["color"]
    assert lines[1]["line"]["dash"] == "dash"


def test_the_key_names_every_line_by_its_look_and_hides_it_alone():
    assert drawn(CURVE, POINTS, LEVEL).key == [
        KeyEntry("<b>bold</b>", "f-0", 0, ""),
        KeyEntry("measured", "f-1", 1, "points"),
        KeyEntry("limit", "f-2", None, "dotted"),
    ]
    html = render_page(page_of())
    groups = re.findall(r'<button[^>]* data-method="([^"$]+)"', html)
    assert set(groups) == {line["legendgroup"] for line in embedded(html)["first-one"]["data"]}
    assert len(groups) == 2
    assert "&lt;b&gt;bold&lt;/b&gt;</button>" in html


def test_ranges_are_in_the_data_s_units_and_many_decades_are_powers_of_ten():
    tiny = Line("tiny", x=[1.0, 10.0], y=[1e-9, 1.0])
    layout = drawn(tiny, log_x=True, log_y=True, x_range=(1.0, 100.0)).plot["layout"]
    assert layout["xaxis"]["range"] == [0.0, 2.0]
    assert layout["xaxis"]["tickformat"] == "~g"
    assert "tickformat" not in layout["yaxis"]
    assert drawn(tiny, y_range=(0, 2)).plot["layout"]["yaxis"]["range"] == [0, 2]
    linear = drawn(tiny).plot["layout"]["yaxis"]
    assert not {"dtick", "type", "range"} & set(linear)  # only a logarithmic axis counts decades


@pytest.mark.parametrize("name", ["one", "first-one", "figures", "theme"])
def test_a_name_that_is_taken_is_refused(name):
    other = Section("other", "Other", "Text.", [line_figure(name, "t", [POINTS], Axes("x", "y"))])
    with pytest.raises(ValueError, match=re.escape(f"must be unique, and none of figures and theme, got ['{name}']")):
        render_page(page_of(SECTION, other))


def test_texts_of_a_page_stand_in_a_file_and_take_values():
    texts = PageTexts(
        {
            "title": "A title",
            "lead": "It comes to {share:.0%}.",
            "facts": "",
            "section": {"one": {"heading": "First", "text": "Look for {what}.", "notes": ["Of {what}."]}},
        }
    )
    section = texts.section("one", [FIGURE], notes=["More {plain}."], what="{braces}")
    assert (section.heading, section.text) == ("First", "Look for {braces}.")
    assert section.notes == ["Of {braces}.", "More {plain}."]
    page = texts.page([section], share=0.25)
    assert (page.title, page.lead, page.sections) == ("A title", "It comes to 25%.", [section])
    with pytest.raises(KeyError, match="what"):
        texts.section("one")
