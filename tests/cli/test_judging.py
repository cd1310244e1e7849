"""`nsgauge judge` from the command line, with nobody at the other end."""

import json

import pytest
import yaml

from nsgauge.data.tables import read_verdicts


@pytest.fixture
def recipe(tmp_path):
    """A judge at a port that nothing listens on."""
    path = tmp_path / "judge.yaml"
    content = {
        "model": "m",
        "endpoint": {"base_url": "http://127.0.0.1:9/v1"},
        "price": {"input_per_million": 2.0, "output_per_million": 8.0},
        "limits": {"retries": 0, "failures_in_a_row": 2, "concurrency": 1},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_shipped_recipes_and_prompts_are_listed(nsgauge):
    told = nsgauge("judge", "--list")
    assert told.code == 0
    names = [line.split()[0] for line in told.out.splitlines()]
    assert names[:3] == ["recipes:", "local", "openai"]
    assert names[3] == "prompts:"
    assert "two-questions" in names


def test_a_plan_for_another_judge_is_told_of(nsgauge, sample, recipe, tmp_path):
    plan = tmp_path / "plan.parquet"
    drawn = ("--data", sample, "--rows", 4, "--out", plan, "--overwrite", "--judge")
    asked = ("judge", sample, "--recipe", recipe, "--plan", plan, "--dry-run")
    assert nsgauge("plan", *drawn, "somebody").code == 0
    assert "was drawn for 'somebody'" in nsgauge(*asked).out
    assert nsgauge("plan", *drawn, "m").code == 0
    assert "was drawn for" not in nsgauge(*asked).out


def test_a_dry_run_says_what_it_would_cost(nsgauge, sample, recipe, tmp_path):
    before = read_verdicts(sample)
    options = ("--recipe", recipe, "--answers", tmp_path / "a.sqlite", "--dry-run")
    told = nsgauge("judge", sample, "votes=2", *options)
    assert told.code == 0, told.err
    assert "x 2 votes: 0 answers are there" in told.out
    assert "not asked about: response" in told.out
    assert "USD" in told.out
    assert read_verdicts(sample).equals(before)


def test_nobody_at_the_other_end_is_one_line_and_a_record(
    nsgauge, refused, sample, recipe, tmp_path
):
    data = tmp_path / "data"
    rows = tmp_path / "rows.jsonl"
    assert nsgauge("export", sample, "--out", rows).code == 0
    assert nsgauge("import", "auto", rows, "--image-root", sample, "--out", data).code == 0
    assert read_verdicts(data).num_rows == read_verdicts(sample).num_rows
    line = refused("judge", data, "--recipe", recipe, "--answers", tmp_path / "a.sqlite")
    assert "0 answers are kept" in line
    assert "run the same command again" in line
    (record,) = (data / "judging").iterdir()
    assert json.loads(record.read_text())["runs"][0]["result"]["end"] == "endpoint_down"
    failed = [v for v in read_verdicts(data).to_pylist() if v["judge"] == "m"]
    assert {v["state"] for v in failed} == {"failed"}
