"""Tables for a paper: the page's numbers, and names that stay names."""

import re

import pytest

from nsgauge.eval.report.contents import build_report
from nsgauge.eval.report.paper_tables import PaperTable, headline_paper, latex, markdown
from nsgauge.eval.report.writing import write_report
from nsgauge.protocol import Rate

HOSTILE = (
    "a|b",
    "\\input{secret}",
    "50% & $x_1^2$ #~",
    "{\\catcode`\\%=12}",
    "<script>alert(1)</script>",
    "[link](javascript:alert(1))",
    "`code`\nnew | row",
    "\u202egnp",
    "\x00\x1b",
)


def one_name(name):
    return PaperTable(header=("VLLM",), rows=((name,),), names=1)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_one_cell_in_markdown(name):
    lines = markdown(one_name(name)).splitlines()
    assert len(lines) == 3
    assert lines[2].isprintable()
    assert len(re.findall(r"(?<!\\)\|", lines[2])) == 2
    assert "<" not in lines[2]
    assert not re.search(r"(?<!\\)\]\(", lines[2])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_runs_nothing_in_latex(name):
    line = latex(one_name(name)).splitlines()[4]
    assert line.endswith(r" \\")
    body = line.removesuffix(r" \\")
    allowed = r"\\(text(backslash|ascii(tilde|circum)|less|greater|bar)\{\}|[{}&%$#_])"
    left = re.sub(allowed, "", body)
    assert not set(left) & set("\\{}&%$#_~^"), left


def test_the_headline_has_a_line_a_group_with_the_pages_numbers(simulated, tmp_path):
    report = build_report(simulated(60, judged_share=0.7).inputs())
    paper = headline_paper(report)
    assert paper is not None
    assert report.headline is not None
    assert [row[:2] for row in paper.rows] == [
        ("bench", "alpha"),
        ("bench", "beta"),
        ("bench", "all"),
    ]
    assert {row[2] for row in paper.rows} <= {"judged", "insufficient"}
    value = report.headline.rows[0].best[Rate.UNSAFE].value
    assert value is not None
    assert paper.rows[0][5].startswith(f"{100 * value:.1f} (")
    write_report(report, tmp_path)
    assert (tmp_path / "tables" / "headline.md").read_text() == markdown(paper)
    assert (tmp_path / "tables" / "headline.tex").read_text() == latex(paper)


def test_a_report_without_scores_has_no_headline_and_leaves_no_old_one(judged_world, tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "headline.tex").write_text("old")
    report = build_report(judged_world.inputs())
    assert headline_paper(report) is None
    write_report(report, tmp_path)
    assert not (tmp_path / "tables" / "headline.tex").exists()
