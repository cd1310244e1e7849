"""`nsgauge report`: two sides beside each other, and how many cases a page shows."""

import json


def test_two_judges_are_set_side_by_side(nsgauge, sample, tmp_path):
    told = nsgauge(
        *("report", "--data", sample, "--out", tmp_path / "two"),
        *("--compare", "rule", "sample-judge"),
    )
    assert told.code == 0, told.err
    assert str(tmp_path / "two" / "comparison.html") in told.out.replace("\n", "")
    found = json.loads((tmp_path / "two" / "comparison.json").read_text())
    assert (found["first"], found["second"]) == ("rule", "sample-judge")
    assert found["rates"][-1]["paired"]["rows"] > 50


def test_a_comparison_names_its_own_score_folders(refused, sample, tmp_path):
    line = refused(
        *("report", "--data", sample, "--out", tmp_path / "two", "--scores", tmp_path),
        *("--compare", "rule", "sample-judge"),
    )
    assert "leave --scores out" in line


def test_a_side_that_is_nobody_is_named(refused, sample, tmp_path):
    words = ("report", "--data", sample, "--out", tmp_path / "two", "--compare", "rule", "nobody")
    assert "'nobody': no judge of that name" in refused(*words)


def test_a_page_shows_at_most_48_cases(nsgauge, sample, tmp_path):
    told = nsgauge("report", "--data", sample, "--out", tmp_path / "out", "--cases", 49)
    assert told.code == 2
    assert "48" in told.err
