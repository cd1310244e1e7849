"""A report's folder: what is written, what is left alone, and what is read to make it."""

from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from nsgauge.data.tables import data_fingerprint
from nsgauge.errors import DataError
from nsgauge.eval import scoring
from nsgauge.eval.report.contents import build_report
from nsgauge.eval.report.writing import report_from_folders, write_report


def test_an_old_report_in_the_folder_leaves_no_stale_table(simulated, judged_world, tmp_path):
    write_report(build_report(simulated(8).inputs()), tmp_path)
    assert (tmp_path / "tables" / "headline.csv").exists()
    others = [tmp_path / name for name in ("notes.txt", "tables/results.csv", "figures/arch.svg")]
    for path in others:
        path.write_text("mine")
    write_report(build_report(judged_world.inputs()), tmp_path)
    assert not (tmp_path / "tables" / "headline.csv").exists()
    assert [path.read_text() for path in others] == ["mine"] * 3


@pytest.mark.parametrize("name", ["triples.parquet", "manifest.json", "bundle.json"])
def test_a_folder_that_holds_something_else_of_ours_gets_no_report(name, judged_world, tmp_path):
    (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=name):
        write_report(build_report(judged_world.inputs()), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_in_the_way_is_named(judged_world, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="a file is in the way"):
        write_report(build_report(judged_world.inputs()), tmp_path / "out")


def written(inputs, data):
    """A data folder without pictures."""
    data.mkdir()
    pq.write_table(inputs.triples, data / "triples.parquet")
    pq.write_table(inputs.verdicts, data / "verdicts.parquet")
    return data


def test_folders_give_the_report_of_their_tables(judged_world, tmp_path):
    inputs = judged_world.inputs()
    data = written(inputs, tmp_path / "data")
    report = report_from_folders(data, out=tmp_path / "report", reference="machine")
    assert report.overview.reference == "machine"
    assert report.judges == build_report(inputs).judges
    command = f"nsgauge report --data {data} --reference machine --out {tmp_path / 'report'}"
    assert report.command == command
    assert report.provenance["data_fingerprint"] == data_fingerprint(data)


@pytest.mark.parametrize("changed", [False, True])
def test_a_score_folder_brings_scores_controls_and_provenance(
    simulated, tmp_path, monkeypatch, changed
):
    world = simulated(10)
    inputs = world.inputs()
    data = written(inputs, tmp_path / "data")
    manifest = SimpleNamespace(
        bundle={"name": "pocket", "judges": ["human"]},
        data_fingerprint="another" if changed else data_fingerprint(data),
        created="2026-01-01T00:00:00+00:00",
        nsgauge_version="0.1.0",
    )
    shards = SimpleNamespace(
        read_manifest=lambda _: manifest,
        read_scores=lambda _: inputs.scores,
        read_controls=lambda _: world.controls(),
    )
    monkeypatch.setattr(scoring, "shards", shards, raising=False)
    report = report_from_folders(data, scores=tmp_path / "scores", out=tmp_path / "report")
    assert report.overview.teachers == ("human",)
    assert report.overview.scored == 20
    assert report.controls is not None
    assert ("data_changed_since_scoring" in report.provenance) is changed
    page = (tmp_path / "report" / "report.html").read_text()
    assert "bundle: name" in page
