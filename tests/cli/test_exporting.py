"""`nsgauge export`: which form goes where, and what is refused before anything is loaded."""

import json

import pytest
import typer
from typer.testing import CliRunner

from nsgauge.checkpoints import export_merged, export_onnx
from nsgauge.cli.exporting import export
from nsgauge.errors import BundleError, DataError

app = typer.Typer()
app.command()(export)


def _run(*words: object):
    return CliRunner().invoke(app, list(map(str, words)))


def test_a_data_folder_goes_out_as_a_table(sample, tmp_path):
    rows = tmp_path / "rows.jsonl"
    told = _run(sample, "--out", rows)
    assert told.exit_code == 0, told.output
    lines = rows.read_text().splitlines()
    assert f"{len(lines):,} rows" in told.output
    assert "prompt" in json.loads(lines[0])


def test_another_form_is_refused(sample, tmp_path):
    told = _run(sample, "--to", "pickle", "--out", tmp_path / "out")
    assert told.exit_code == 2
    assert "'pickle' is not one of" in told.output


@pytest.mark.parametrize("form", ["merged", "onnx"])
def test_what_is_no_classifier_is_refused(sample, tmp_path, form):
    told = _run(sample, "--to", form, "--out", tmp_path / "out")
    assert isinstance(told.exception, BundleError)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["merged", "onnx"])
def test_a_taken_place_is_refused_before_the_classifier_is_loaded(tmp_path, form):
    (tmp_path / "mine.txt").write_text("keep")
    told = _run(tmp_path / "absent", "--to", form, "--out", tmp_path)
    assert isinstance(told.exception, DataError)


@pytest.mark.parametrize(
    ("form", "module", "writer"),
    [("merged", export_merged, "export_merged"), ("onnx", export_onnx, "export_onnx")],
)
def test_a_classifier_goes_to_the_exporter_of_its_form(tmp_path, monkeypatch, form, module, writer):
    given: dict[str, object] = {}

    def write(bundle, *, out, overwrite):
        given.update(bundle=bundle, overwrite=overwrite)
        out.mkdir()
        (out / "file").write_bytes(b"0" * 2_000_000)

    monkeypatch.setattr(export_merged, "load_saved", lambda path, **_: path.name)
    monkeypatch.setattr(module, writer, write)
    told = _run(tmp_path / "bundle", "--to", form, "--out", tmp_path / "out", "--overwrite")
    assert told.exit_code == 0, told.output
    assert given == {"bundle": "bundle", "overwrite": True}
    assert "2 MB" in told.output
