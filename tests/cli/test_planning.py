"""The command `plan`, by itself."""

import pytest
import typer
from typer.testing import CliRunner

from nsgauge.cli.planning import plan
from nsgauge.data.plan_file import note_of, read_plan
from nsgauge.data.tables import read_triples
from nsgauge.errors import NsgaugeError


@pytest.fixture
def drawn(tmp_path, sample, monkeypatch):
    """Runs the command on the sample; what it printed, and the plan that it wrote."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(plan)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words, judge="sample-judge-2"):
        out = tmp_path / "PLAN.parquet"
        named = ("--judge", judge) if judge else ()
        given = ["--data", sample, "--out", out, *named, *words]
        told = CliRunner().invoke(app, list(map(str, given)), catch_exceptions=False)
        assert told.exit_code == 0, told.output
        return told.output.replace("\n", " "), read_plan(out)

    return run


def test_a_uniform_plan_is_written_and_shown(drawn, sample):
    told, table = drawn("--rows", 8, "--seed", 3)
    assert table.num_rows == 8
    assert set(table["triple_id"].to_pylist()) <= set(read_triples(sample)["triple_id"].to_pylist())
    # One of the 128 responses is no answer.
    assert set(table["inclusion_probability"].to_pylist()) == {8 / 127}
    assert "0.06299" in told
    assert "8 of 127 triples: " in told
    note = note_of(table)
    assert (note.judge, note.round, note.settings["seed"]) == ("sample-judge-2", 1, 3)


def test_a_width_is_planned_for_and_shown_with_what_more_would_buy(drawn):
    told, table = drawn("--width", 0.3)
    assert 20 < table.num_rows < 60
    assert "expected width of the 95% intervals over these rows, without scores: at worst" in told
    assert "Unsafe Rate, width" in told
    assert "0.000" in told


def test_strata_are_shown_one_a_line(drawn):
    told, table = drawn("--rows", 20, "--design", "stratified", "--minimum", 3)
    strata = set(table["stratum"].to_pylist())
    assert len(strata) > 1
    for name in strata:
        assert name in told


def test_items_are_drawn_whole(drawn, sample):
    told, table = drawn("--rows", 4, "--by-item")
    triples = read_triples(sample).to_pylist()
    chosen = set(table["triple_id"].to_pylist())
    items = {row["item_id"] for row in triples if row["triple_id"] in chosen}
    assert len(items) == 4
    assert chosen == {row["triple_id"] for row in triples if row["item_id"] in items}
    assert "triples of 4 items: " in told


def test_what_the_judge_has_answered_on_is_left_out(drawn):
    told, table = drawn("--rows", 8, "--round", 2, judge="sample-judge")
    assert table.num_rows == 0
    assert "127 triples that 'sample-judge' has answered on are left out" in told


@pytest.mark.parametrize(
    ("words", "judge", "named"),
    [
        (("--rows", 8), "", "give --judge"),
        (("--rows", 8, "--design", "by-feel"), "you", "uniform"),
        (("--rows", -1), "you", "size"),
        ((), "you", r"give a size \(--rows\) or a width \(--width\): neither given"),
        (("--rows", 8, "--design", "stratified", "--allocation", "neyman"), "you", "neyman"),
        (("--rows", 8, "--design", "uncertainty"), "you", "give --scores"),
        (("--rows", 8, "--axis", "mood"), "you", "not_grounded"),
    ],
)
def test_what_makes_no_plan_is_named(drawn, words, judge, named, tmp_path):
    with pytest.raises(NsgaugeError, match=named):
        drawn(*words, judge=judge)
    assert not (tmp_path / "PLAN.parquet").exists()


def test_a_plan_that_is_there_is_kept_unless_told_otherwise(drawn):
    _, first = drawn("--rows", 8)
    with pytest.raises(NsgaugeError, match="--overwrite"):
        drawn("--rows", 9)
    _, second = drawn("--rows", 9, "--overwrite")
    assert (first.num_rows, second.num_rows) == (8, 9)
