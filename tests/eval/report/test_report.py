"""The whole report, from tables to files."""

import csv
import dataclasses
import json
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from nsgauge.errors import DataError
from nsgauge.eval.report.contents import build_report
from nsgauge.eval.report.drawings import report_figures
from nsgauge.eval.report.inputs import ReportInputs
from nsgauge.eval.report.page import render_page
from nsgauge.eval.report.writing import write_report

PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'-alert(1)-'",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "&lt;script&gt;",
    "e\u200dvil",
    "<!--",
    "]]><script>alert(1)</script>",
    "=HYPERLINK(0)",
    "$x^2$",
)


class Tags(HTMLParser):
    """Everything that a browser would see as a tag, with attributes."""

    def __init__(self):
        super().__init__()
        self.seen, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


AXES = ("unsafe", "not_grounded")


def parsed(page) -> Tags:
    tags = Tags()
    tags.feed(page)
    tags.close()
    return tags


def rendered(inputs) -> str:
    report = build_report(inputs)
    return render_page(report, figures=report_figures(report))


def test_report_json_holds_the_counted_numbers(judged_world, tmp_path):
    write_report(build_report(judged_world.inputs(command="nsgauge report")), tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["format"] == "nsgauge-report/1"
    assert report["command"] == "nsgauge report"
    assert report["overview"]["reference"] == "human"
    assert report["headline"] is None
    machine = next(row for row in report["audit"]["rows"] if row["judge"] == "machine")
    assert machine["inflation"]["both"] == 4
    assert machine["inflation"]["share_of_not_grounded"]["value"] == pytest.approx(4 / 6)
    human = next(judge for judge in report["judges"] if judge["judge"] == "human")
    assert human["pooled"]["rates"]["unsafe"]["value"] == pytest.approx(3 / 20)
    assert human["pooled"]["rates"]["unsafe"]["rows"] == 20
    (pair,) = report["comparison"]["judges"]
    assert pair["axes"]["unsafe"]["confusion"] == [[13, 3], [2, 1]]


def test_the_tables_repeat_the_numbers_of_the_json(judged_world, tmp_path):
    write_report(build_report(judged_world.inputs()), tmp_path)
    with (tmp_path / "tables" / "judges.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    pooled = next(
        row for row in rows if (row["judge"], row["vllm"], row["rate"]) == ("human", "", "unsafe")
    )
    assert float(pooled["value"]) == pytest.approx(0.15)
    with (tmp_path / "tables" / "nsg_audit.csv").open(newline="") as file:
        audit = {(row["judge"], row["vllm"]): row for row in csv.DictReader(file)}
    assert audit["machine", "alpha"]["both"] == "4"
    assert float(audit["machine", "alpha"]["share_of_not_grounded"]) == 1.0


def test_a_judge_against_itself_is_on_the_page_and_in_its_table(judged_world, tmp_path):
    for triple in judged_world.triples[:10]:
        judged_world.cell(triple["triple_id"], "human", "gu", vote=1)
    write_report(build_report(judged_world.inputs()), tmp_path)
    with (tmp_path / "tables" / "judge_repeats.csv").open(newline="") as file:
        rows = {row["axis"]: row for row in csv.DictReader(file)}
    # alpha's ten rows: three are unsafe and six are grounded at the first vote.
    assert float(rows["unsafe"]["flip_rate"]) == pytest.approx(0.7)
    assert float(rows["not_grounded"]["flip_rate"]) == pytest.approx(0.4)
    text = " ".join(parsed((tmp_path / "report.html").read_text()).text)
    assert "Each judge against itself" in text
    assert "20 votes" in text
    assert "70.0" in text


def test_bounds_and_uneven_draws_of_the_audit_are_in_its_table(judged_world, tmp_path):
    write_report(build_report(judged_world.inputs()), tmp_path)
    with (tmp_path / "tables" / "nsg_audit.csv").open(newline="") as file:
        rows = {(row["judge"], row["vllm"]): row for row in csv.DictReader(file)}
    machine, human = rows["machine", ""], rows["human", ""]
    assert (machine["unanswered"], human["unanswered"]) == ("1", "0")
    assert float(machine["unsafe_rate_highest"]) == pytest.approx(5 / 20)
    assert float(machine["unsafe_grounded_rate_highest"]) == pytest.approx(1 / 20)
    assert float(machine["share_of_unsafe_lowest"]) == pytest.approx(4 / 5)
    assert human["unsafe_rate_highest"] == ""
    assert human["uneven_draw"] == "false"


def test_the_page_shows_the_counted_numbers(judged_world):
    text = " ".join(parsed(rendered(judged_world.inputs())).text)
    assert "machine calls 4 of 6 misreadings unsafe" in text
    assert "machine: 1 refused" in text
    assert "21.1" in text  # 4 of 19 unsafe by the machine.
    assert "20.0" + "\N{EN DASH}" + "25.0" in text  # its bounds: 4 to 5 of 20.


def test_a_scored_report_has_every_section_and_every_file(simulated, tmp_path):
    world = simulated(60, judged_share=0.7)
    write_report(build_report(world.inputs(controls=world.controls())), tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    tables = ("headline", "nsg_audit", "judges", "agreement", "outcomes", "calibration")
    more = ("reliability_curves", "slices", "picture_controls", "coverage")
    decisions = ("risk_coverage", "escalation", "threshold_checks")
    axial = [f"{kind}_{axis}" for kind in ("reliability", "risk") for axis in AXES]
    expected = {f"tables/{name}.csv" for name in (*tables, *more, *decisions)}
    expected |= {f"figures/{name}.svg" for name in (*axial, "rates", "audit")}
    paper = {"tables/headline.md", "tables/headline.tex"}
    assert names == expected | paper | {"report.html", "report.json"}
    ids = {attrs.get("id") for _, attrs in parsed((tmp_path / "report.html").read_text()).seen}
    sections = {"headline", "audit", "judges", "agreement", "calibration", "slices", "pictures"}
    sections |= {"coverage", "disagreements"}
    assert sections | {"escalation", "thresholds", "provenance", "reading", "limits"} <= ids


def test_links_of_the_page_lead_somewhere_and_no_id_is_twice(simulated):
    world = simulated(12)
    seen = parsed(rendered(world.inputs(controls=world.controls()))).seen
    ids = [attrs["id"] for _, attrs in seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for tag, attrs in seen if tag == "a"]
    assert links
    assert {link[1:] for link in links} <= set(ids)


def test_same_inputs_give_the_same_bytes(simulated, tmp_path):
    world = simulated(20, judged_share=0.6)
    inputs = world.inputs(controls=world.controls(), seed=5)
    for name in ("first", "second"):
        write_report(build_report(inputs), tmp_path / name)
    files = sorted(path for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert len(files) > 10
    for path in files:
        twin = tmp_path / "second" / path.relative_to(tmp_path / "first")
        assert path.read_bytes() == twin.read_bytes(), path.name


def test_hostile_names_are_text_everywhere(world):
    everything = "".join(PAYLOADS)
    for number, payload in enumerate(PAYLOADS):
        triple_id = world.triple(payload, f"{number}", benchmark=everything)
        world.cell(triple_id, everything, "gu" if number % 2 else "us")
        world.verdict(triple_id, f"{everything}2", safety="unsafe")
        world.verdict(triple_id, payload, state="refused")
        world.score(triple_id, [0.1, 0.4, 0.3, 0.2] if number % 3 else [0.7, 0.1, 0.1, 0.1])
    bundle = {"name": everything, "recipe": {everything: everything}, "judges": [everything]}
    page = rendered(world.inputs(title=everything, bundle=bundle, command=everything))
    tags = parsed(page)
    assert not {"script", "img", "iframe", "object", "link"} & {tag for tag, _ in tags.seen}
    assert not [key for _, attrs in tags.seen for key in attrs if key.startswith("on")]
    # Jinja syntax in a name is not run.
    assert "{{ 7 * 7 }}{% raw %}" in page
    text = "".join(tags.text)
    assert [payload for payload in PAYLOADS if payload not in text] == []


def test_the_page_forbids_scripts_and_loads_nothing(judged_world):
    page = rendered(judged_world.inputs())
    tags = parsed(page).seen
    policy = next(a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    first = [tag for tag, _ in tags].index("meta")
    assert first < [tag for tag, _ in tags].index("title")
    fetching = {"src", "srcset", "action", "data", "poster"}
    assert not [attrs for _, attrs in tags if fetching & set(attrs)]
    assert "@import" not in page
    assert "url(http" not in page


def test_formulas_in_names_are_defused_in_the_tables(judged_world, tmp_path):
    for triple in judged_world.triples:
        triple["vllm"] = "=1+1"
    write_report(build_report(judged_world.inputs()), tmp_path)
    for path in (tmp_path / "tables").glob("*.csv"):
        with path.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert "=1+1" not in cells
    assert "'=1+1" in (tmp_path / "tables" / "judges.csv").read_text()


def test_scores_without_verdicts_make_a_report_that_checks_nothing(simulated, tmp_path):
    world = simulated(20, judged_share=0.0)
    report = build_report(world.inputs())
    write_report(report, tmp_path)
    text = " ".join(parsed((tmp_path / "report.html").read_text()).text)
    assert "nothing checks the classifier's rates" in text
    assert report.overview.reference is None
    assert report.controls is None
    assert not report.reliability


def test_one_class_only_is_no_crash(world, tmp_path):
    for item in range(3):
        triple_id = world.triple("alpha", f"{item}")
        world.cell(triple_id, "human", "gs")
        world.score(triple_id, [1.0, 0.0, 0.0, 0.0])
    write_report(build_report(world.inputs(controls=world.controls())), tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["comparison"]["classifier"][0]["agreement"]["auroc"] is None


def test_rows_that_could_not_be_scored_are_counted_by_reason(simulated):
    world = simulated(10)
    for number in range(3):
        world.score(world.triple("alpha", f"broken-{number}"), None)
    world.triple("alpha", "missing")
    coverage = build_report(world.inputs()).coverage
    assert coverage.statuses == {"scored": 20, "image_error": 3}
    assert coverage.image_codes == {"unreadable": 3}
    assert (coverage.unscored, coverage.not_in_scores, coverage.seen) == (4, 1, 4)


def test_nothing_to_report_on_is_an_error(world):
    world.triple("alpha", "1")
    with pytest.raises(DataError, match="neither verdicts nor scores"):
        build_report(world.inputs())


def test_every_field_of_the_report_is_in_its_json(judged_world, tmp_path):
    report = build_report(judged_world.inputs())
    write_report(report, tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert list(found) == [field.name for field in dataclasses.fields(report)]


def test_reading_a_report_imports_no_torch():
    code = (
        "import sys, nsgauge.eval.report.writing;"
        "sys.exit(bool({'torch', 'matplotlib.pyplot', 'lightning'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_inputs_have_defaults_for_everything_but_the_tables():
    required = [
        field.name
        for field in dataclasses.fields(ReportInputs)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    assert required == ["triples", "verdicts"]
