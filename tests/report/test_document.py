import json
import math
import re

from mixscope.report.document import Chapter, Exhibit, Listing, Series, exhibit_figure, render_document, write_document

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


def test_axes_are_logarithmic_where_asked_and_one_line_needs_no_legend():
    assert exhibit_figure(EXHIBIT)["layout"]["xaxis"]["type"] == "log"
    assert "type" not in exhibit_figure(EXHIBIT)["layout"]["yaxis"]
    assert exhibit_figure(EXHIBIT)["layout"]["showlegend"]
    alone = Exhibit("alone", "t", [POINTS], "x", "y")
    assert not exhibit_figure(alone)["layout"]["showlegend"]


def test_a_page_without_figures_carries_no_plotting_library(tmp_path):
    path = tmp_path / "deep" / "page.html"
    write_document(path, [Chapter("words", "Words", "Only words.")], title="t", lead="l")
    assert path.stat().st_size < 100_000
