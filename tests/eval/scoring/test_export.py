"""A score folder as one table, in every form the same rows."""

import json
import shutil

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from nsgauge.cli.app import app
from nsgauge.errors import DataError, ScoringError, SettingsError
from nsgauge.eval.scoring.export import export_scores
from nsgauge.eval.scoring.shards import read_manifest, read_scores
from nsgauge.records import SCORES_SCHEMA


def test_all_forms_hold_what_the_folder_holds(scored, tmp_path):
    expected = read_scores(scored)
    assert len(read_manifest(scored).shards) > 1
    for suffix in (".csv", ".jsonl", ".parquet"):
        out = tmp_path / f"scores{suffix}"
        assert export_scores(scored, out=out) == expected.num_rows
    assert pq.read_table(tmp_path / "scores.parquet").equals(expected)
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert lines == expected.to_pylist()
    types = {field.name: field.type for field in SCORES_SCHEMA}
    options = pyarrow.csv.ConvertOptions(
        column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    again = pyarrow.csv.read_csv(tmp_path / "scores.csv", convert_options=options)
    assert again.to_pylist() == expected.to_pylist()


def test_what_cannot_go_out_is_named(scored, tmp_path):
    with pytest.raises(SettingsError, match=r"wanted \.csv or \.jsonl or \.parquet"):
        export_scores(scored, out=tmp_path / "scores.xlsx")
    out = tmp_path / "scores.csv"
    out.write_text("mine")
    with pytest.raises(DataError, match="--overwrite"):
        export_scores(scored, out=out)
    assert out.read_text() == "mine"
    half = tmp_path / "half"
    shutil.copytree(scored, half)
    (half / read_manifest(scored).shards[-1].name).unlink()
    with pytest.raises(ScoringError, match="run `nsgauge score`"):
        export_scores(half, out=tmp_path / "half.csv")
    assert not (tmp_path / "half.csv").exists()


def test_the_command_tells_scores_from_data(scored, world, tmp_path):
    for source, name in ((scored, "scores.csv"), (world, "rows.jsonl")):
        told = CliRunner().invoke(app, ["export", str(source), "--out", str(tmp_path / name)])
        assert told.exit_code == 0, told.output
    header = (tmp_path / "scores.csv").read_text().partition("\n")[0]
    assert header.startswith('"triple_id","status"')
    assert "prompt" in json.loads((tmp_path / "rows.jsonl").read_text().partition("\n")[0])
