import json
import math
import re

import pytest

from mixscope.report.document import (
    Chapter,
    Exhibit,
    Listing,
    Series,
    exhibit_figure,
    exhibit_key,
    render_document,
    write_document,
)

CURVE = Series("<b>bold</b>", x=[1.0, 2.0], y=[3.0, math.nan], low=[2.0, 2.0], high=[4.0, 4.0])
POINTS = Series("measured", x=[1.0], y=[3.5], is_marked=True)
EXHIBIT = Exhibit("first-one", "A curve & points", [CURVE, POINTS], "t", "loss", log_x=True)
CHAPTER = Chapter(
    "one", "First <chapter>", "What to look for.", [EXHIBIT], Listing(["name", "value"], [["<a>", "1.5"]]), ["A note."]
)


def test_a_page_escapes_what_it_shows_and_loads_nothing():
    page = render_document([CHAPTER], title="<title>", lead="It <came> out.", facts="float64")
    assert "<b>bold" not in page
    assert "First &lt;chapter&gt;" in page
    assert "It &lt;came&gt; out." in page
    assert '<th scope="row">&lt;a&gt;</th>' in page
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?!#)', markup)
    assert "default-src 'none'" in markup  # what scripts may load


def test_figures_are_embedded_with_gaps_where_there_is_no_number():
    page = render_document([CHAPTER], title="t", lead="l")
    embedded = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL).group(1))
    low, high, line, points = embedded["figures"]["first-one"]["data"]
    assert line["y"] == [3.0, None]
    assert (low["y"], high["y"]) == ([2.0, 2.0], [4.0, 4.0])
    assert points["mode"] == "markers"
    assert 'id="first-one"' in page


def test_axes_are_logarithmic_where_asked_and_one_line_needs_no_key():
    assert exhibit_figure(EXHIBIT)["layout"]["xaxis"]["type"] == "log"
    assert "type" not in exhibit_figure(EXHIBIT)["layout"]["yaxis"]
    alone = Chapter("one", "One", "Text.", [Exhibit("alone", "t", [POINTS], "x", "y")])
    assert 'class="legend"' in render_document([CHAPTER], title="t", lead="l")
    assert 'class="legend"' not in render_document([alone], title="t", lead="l")


def test_a_page_without_figures_carries_no_plotting_library(tmp_path):
    path = tmp_path / "deep" / "page.html"
    write_document(path, [Chapter("words", "Words", "Only words.")], title="t", lead="l")
    assert path.stat().st_size < 100_000


def test_a_reference_is_grey_and_dotted_and_the_second_of_a_pair_dashed():
    level = Series("limit", x=[1.0, 2.0], y=[1.0, 1.0], is_reference=True)
    second = Series("second", x=[1.0, 2.0], y=[2.0, 3.0], colour=0, is_dashed=True)
    lines = exhibit_figure(Exhibit("two", "t", [level, second], "x", "y"))["data"]
    assert lines[0]["line"]["dash"] == "dot"
    assert lines[0]["line"]["color"] != lines[1]["line"]["color"]
    assert lines[1]["line"]["dash"] == "dash"


def test_the_key_names_every_line_by_its_look_and_hides_it_alone():
    level = Series("limit", x=[1.0], y=[1.0], is_reference=True)
    key = exhibit_key(Exhibit("two", "t", [CURVE, POINTS, level], "x", "y"))
    assert [entry.stroke for entry in key] == ["", "points", "dotted"]
    assert [entry.colour for entry in key] == ["c0", "c1", "reference"]
    page = render_document([CHAPTER], title="t", lead="l")
    groups = re.findall(r'<button[^>]* data-method="([^"$]+)"', page)
    embedded = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL).group(1))
    assert set(groups) == {line["legendgroup"] for line in embedded["figures"]["first-one"]["data"]}
    assert len(groups) == 2
    assert "&lt;b&gt;bold&lt;/b&gt;</button>" in page


def test_ranges_are_in_the_data_s_units_and_many_decades_are_powers_of_ten():
    tiny = Series("tiny", x=[1.0, 10.0], y=[1e-9, 1.0])
    layout = exhibit_figure(Exhibit("r", "t", [tiny], "x", "y", log_x=True, log_y=True, x_range=(1.0, 100.0)))["layout"]
    assert layout["xaxis"]["range"] == [0.0, 2.0]
    assert layout["xaxis"]["tickformat"] == "~g"
    assert "tickformat" not in layout["yaxis"]
    plain = exhibit_figure(Exhibit("r", "t", [tiny], "x", "y", y_range=(0, 2)))["layout"]
    assert plain["yaxis"]["range"] == [0, 2]
    linear = exhibit_figure(Exhibit("r", "t", [tiny], "x", "y"))["layout"]
    assert not {"dtick", "type", "range"} & set(linear["yaxis"])  # only a logarithmic axis counts decades


@pytest.mark.parametrize("name", ["one", "first-one", "figures", "theme"])
def test_a_name_that_is_taken_is_refused(name):
    other = Chapter("other", "Other", "Text.", [Exhibit(name, "t", [POINTS], "x", "y")])
    with pytest.raises(ValueError, match=re.escape(f"must be unique, and none of figures and theme, got ['{name}']")):
        render_document([CHAPTER, other], title="t", lead="l")
