"""Verdicts in words, on pages and as Markdown."""

import html
import math
import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from mixscope.records.claims import Claim, Sample, paired
from mixscope.records.judging import judge
from mixscope.report.page import Cell, Page, Section, Table
from mixscope.report.rendering import render_page, write_page
from mixscope.report.verdicts.verdict_markdown import (
    escape,
    overview_counts,
    overview_table,
    own_claims_table,
    study_markdown,
)
from mixscope.report.verdicts.verdict_sections import (
    StudySummary,
    basis_words,
    by_claim,
    claims_sections,
    count_words,
    duration_words,
    expected_words,
    limits_section,
    made_words,
    measured_words,
    overview_sections,
    verdict_table,
)

CLAIM = Claim(
    key="demo.1",
    group="paper",
    statement="|h| grows <b>fast</b>.",
    source="Demo 2024",
    measured="the growth",
    low=1.4,
)
DERIVED = Claim(
    key="demo.2",
    group="derived",
    statement="It vanishes.",
    source="derived",
    measured="a residual",
    high=1e-6,
    is_exact=True,
)
CONTROL = Claim(
    key="demo.3", group="control", statement="Nothing grows.", source="here", measured="the growth", high=1.4
)
ENVIRONMENT = {"processor": "Chip", "num_cores": 2, "num_threads": 1, "torch": "2.13.0", "commit": "0123456789abcdef+"}


def seeds(*values, **options):
    return Sample({f"seed {place}": value for place, value in enumerate(values)}, **options)


HELD = judge(CLAIM, seeds(1.8, 1.85, 1.9), setting="digits | MLP")
OPEN = judge(CLAIM, seeds(1.3, 1.4, 1.5), setting="<fashion>")
REFUTED = judge(CONTROL, seeds(1.8, 1.85, 1.9), setting="digits")
WORST = judge(DERIVED, seeds(1e-9, 2e-8), setting="theory")
SUMMARY = StudySummary(
    key="demo",
    title="A *demo* & more",
    citation="Demo et al. <2024>.",
    scale="small",
    environment=ENVIRONMENT,
    seconds=725.0,
    judgements=(HELD, WORST, REFUTED, OPEN),
    deviations=("Digits stand in.",),
    unknown=("the number of seeds",),
    notes=("Medium has not been run.",),
    date="2024-05-17",
)


@pytest.fixture(name="markdown")
def make_markdown():
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "at least 1.4"),
        ({"low": None, "high": -0.05}, "at most −0.05"),
        ({"high": 2.0}, "1.4 to 2"),
        ({"low": 5.0, "unit": "percentage points"}, "at least 5 percentage points"),
        ({"is_exact": True}, "every value at least 1.4"),
        ({"is_exact": True, "low": 0.0, "high": 0.0}, "every value exactly 0"),
    ],
)
def test_the_expected_range_is_put_into_words(changes, words):
    assert expected_words(replace(CLAIM, **changes)) == words


def test_what_was_measured_is_put_into_words():
    assert (measured_words(HELD), basis_words(HELD)) == ("1.85 [1.73, 1.97]", "n = 3, d = 9")
    assert (measured_words(WORST), basis_words(WORST)) == ("2·10⁻⁸, the worst", "n = 2")
    one = judge(CLAIM, seeds(1.5), setting="s")
    assert (measured_words(one), basis_words(one)) == ("1.5", "n = 1")
    none = judge(CLAIM, seeds(math.nan), setting="s")
    assert (measured_words(none), basis_words(none)) == ("–", "")
    pairs = judge(CLAIM, paired(seeds(5.0, 6.0, 7.0), seeds(1.0, 1.0, 1.0)), setting="s")
    assert basis_words(pairs) == "n = 3, paired, d = 5"


def test_verdicts_are_counted_with_their_zeros():
    assert count_words(SUMMARY.judgements) == "2 held, 1 not held, 1 undecided"
    assert count_words([]) == "0 held, 0 not held, 0 undecided"


def test_what_was_run_is_told_in_one_line():
    assert made_words(SUMMARY) == (
        "small scale, 2024-05-17, 12 min summed over runs, Chip, 2 cores, 1 thread a run, torch 2.13.0, "
        "commit 0123456789 with changes"
    )
    gpu = replace(SUMMARY, environment={"accelerator": "A GPU", "processor": "Chip"}, date="")
    typed = replace(SUMMARY, environment={}, date="", command="mixscope reproduce demo --scale small")
    assert made_words(typed) == "mixscope reproduce demo --scale small, 12 min summed over runs, commit not known"
    assert made_words(gpu) == "small scale, 12 min summed over runs, A GPU, commit not known"
    assert [duration_words(seconds) for seconds in (0.4, 119, 120, 7199, 7200)] == [
        "0 s",
        "119 s",
        "2 min",
        "120 min",
        "2.0 h",
    ]


def test_a_claim_stands_once_above_all_its_settings():
    assert by_claim(SUMMARY.judgements) == [[HELD, OPEN], [WORST], [REFUTED]]
    table = verdict_table(SUMMARY.judgements)
    assert [row[0] for row in table.rows] == ["digits | MLP", "<fashion>", "theory", "digits"]
    assert {row: head.text for row, head in table.heads.items()} == {
        0: CLAIM.statement,
        2: DERIVED.statement,
        3: CONTROL.statement,
    }
    assert [row[-1].badge for row in table.rows] == ["good", "open", "good", "bad"]
    assert dict(table.heads[0].folded) == {
        "measured": "the growth",
        "refuted by": "a 95% interval of the mean that lies below 1.4",
        "name": "demo.1",
    }
    assert "Demo 2024" in table.heads[0].fold


def test_sections_part_the_paper_s_claims_from_derived_facts_and_controls():
    sections = claims_sections(SUMMARY)
    assert [(section.name, section.text.split(".")[0]) for section in sections] == [
        ("claims-paper", "1 held, 0 not held, 1 undecided"),
        ("claims-derived", "1 held, 0 not held, 0 undecided"),
        ("claims-control", "0 held, 1 not held, 0 undecided"),
    ]
    assert claims_sections(replace(SUMMARY, judgements=())) == []


def test_limits_name_departures_what_is_not_known_and_what_was_not_run():
    assert limits_section(SUMMARY).notes == [
        "Digits stand in.",
        "Not known of the paper's own runs: the number of seeds.",
        "Medium has not been run.",
    ]
    bare = replace(SUMMARY, deviations=(), unknown=(), notes=())
    assert limits_section(bare).text == "No departures are noted."


def test_a_page_shows_every_verdict_as_a_word_and_escapes_the_rest(tmp_path):
    page = render_page(Page("t", [*claims_sections(SUMMARY), limits_section(SUMMARY)]))
    assert re.findall(r'<b class="badge (\w+)">([\w ]+)</b>', page) == [
        ("good", "held"),
        ("open", "undecided"),
        ("good", "held"),
        ("bad", "not held"),
    ]
    assert "|h| grows &lt;b&gt;fast&lt;/b&gt;." in page
    assert "<b>fast" not in page
    assert "&lt;fashion&gt;" in page
    assert html.escape(OPEN.reason) in page
    assert page.count("<details>") == 3
    write_page(Page("t", overview_sections([SUMMARY])), tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 100_000  # no plotting library where nothing is drawn


def test_the_overview_holds_every_claim_of_every_study():
    other = replace(SUMMARY, key="other", title="Other", judgements=(WORST,))
    empty = replace(SUMMARY, key="empty", title="Empty", judgements=())
    counts, *studies = overview_sections([SUMMARY, other, empty])
    assert counts.filled[0].rows == [
        ["A *demo* & more", "2", "1", "1", "small"],
        ["Other", "1", "0", "0", "small"],
        ["Empty", "0", "0", "0", "small"],
    ]
    assert [section.name for section in studies] == ["claims-demo", "claims-other", "claims-empty"]
    assert len(studies[0].filled[0].rows) == 4
    assert studies[2].filled == []
    assert "Medium has not been run." in studies[0].notes
    with pytest.raises(ValueError, match=re.escape("summaries must be of different studies, got ['demo', 'demo']")):
        overview_sections([SUMMARY, SUMMARY])


def cells(rendered):
    rows = re.findall(r"<tr>(.*?)</tr>", rendered, re.DOTALL)
    return [[cell.strip() for cell in re.findall(r"<t[dh]>(.*?)</t[dh]>", row, re.DOTALL)] for row in rows]


def test_a_study_s_markdown_renders_to_whole_tables_and_plain_words(markdown):
    rendered = markdown.render(study_markdown(SUMMARY))
    assert "<h1>A *demo* &amp; more</h1>" in rendered
    header, first, second, *others = cells(rendered)
    assert header == ["claim", "setting", "expected", "measured", "verdict"]
    assert first == [
        "|h| grows &lt;b&gt;fast&lt;/b&gt;. (demo.1)",
        "digits | MLP",
        "at least 1.4",
        "1.85 [1.73, 1.97]<br>n = 3, d = 9",
        "<strong>held</strong>",
    ]
    assert second[0] == ""
    assert second[4] == f"undecided: {OPEN.reason}"
    assert {len(row) for row in others} == {5}
    for words in ("Demo et al. &lt;2024&gt;.", "<li>Digits stand in.</li>", "<li>the number of seeds</li>"):
        assert words in rendered
    assert "<p>Medium has not been run.</p>" in rendered
    assert rendered.count("Refuted by: ") == 3


def test_the_readme_tables_have_one_row_per_study_and_one_per_claim(markdown):
    assert cells(markdown.render(overview_counts([SUMMARY])))[1] == ["A *demo* &amp; more", "2", "1", "1", "small"]
    header, first, *others = cells(markdown.render(overview_table([SUMMARY])))
    assert header == ["claim", "whose", "expected", "measured"]
    assert first[3] == (
        "digits | MLP: 1.85 [1.73, 1.97], <strong>held</strong><br>&lt;fashion&gt;: 1.40 [1.15, 1.65], undecided: "
        "the interval [1.15, 1.65] crosses the limit 1.4"
    )
    assert len(others) == 2


def test_a_study_s_tables_and_answer_stand_in_its_markdown_too(markdown):
    rows = [["erm", Cell("9.8", "small print")], ["a|b", "<b>"]]
    tabled = Section("t", "Numbers & more", "Look.", tables=[Table(["run", "error"], rows, {1: Cell("later")})])
    drawn = Section("d", "Drawn", "Look.")
    rendered = markdown.render(study_markdown(replace(SUMMARY, answer="On *one* set."), [tabled, drawn]))
    assert "<p>On *one* set.</p>" in rendered
    assert cells(rendered)[-4:] == [
        ["run", "error"],
        ["erm", "9.8"],
        ["<strong>later</strong>", ""],
        ["a|b", "&lt;b&gt;"],
    ]
    assert "<h2>Numbers &amp; more</h2>" in rendered
    assert "Drawn" not in rendered


def test_the_papers_own_claims_have_one_row_with_the_sets_of_every_verdict(markdown):
    more = (*SUMMARY.judgements, replace(HELD, setting="other"))
    assert cells(markdown.render(own_claims_table([replace(SUMMARY, judgements=more)]))) == [
        ["claim", "verdict"],
        [
            "|h| grows &lt;b&gt;fast&lt;/b&gt;. (demo.1)",
            "<strong>held</strong>: digits | MLP, other<br><strong>undecided</strong>: &lt;fashion&gt;",
        ],
    ]


def test_a_study_without_judgements_still_has_its_markdown(markdown):
    bare = replace(SUMMARY, judgements=(), deviations=(), unknown=())
    assert "None are noted." in study_markdown(bare)
    assert cells(markdown.render(overview_table([bare]))) == []


@pytest.mark.parametrize(
    "text",
    [
        "a | b",
        "*a* _b_ __c__ snake_case ~~d~~ `e`",
        "[a](b) [a][b] [a]: b ![x](y) [1.5, 2.5]",
        "<script>alert(1)</script> &lt; &amp; & \\| \\",
        "# head",
        "- item",
        "+ item",
        "> quoted",
        "1. item",
        "2) item",
        "---",
        "1.85 of 3",
    ],
)
def test_escaped_words_render_as_they_are(markdown, text):
    assert markdown.render(escape(text)).strip() == f"<p>{html.escape(text).replace('&#x27;', chr(39))}</p>"
    table = f"| a |\n| --- |\n| {escape(text)} |"
    assert cells(markdown.render(table))[1] == [html.escape(text)]


def test_escaped_words_stand_on_one_line():
    assert escape("a\n\n# b\r\n c") == "a # b c"
