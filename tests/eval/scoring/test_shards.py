"""Reading a score folder that is unfinished, damaged or hostile: one line says what to do."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from nsgauge.data.folders import file_digest
from nsgauge.errors import NsgaugeError, ScoringError
from nsgauge.eval.scoring.shards import read_controls, read_manifest, read_scores

READERS = (read_manifest, read_scores, read_controls)


@pytest.fixture
def folder(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "scores")
    return tmp_path / "scores"


def edited(folder, change: Callable[[dict[str, Any]], object]):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def refusal(reader, folder) -> str:
    with pytest.raises(ScoringError) as caught:
        reader(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert "manifest.json" in message or str(folder) in message
    return message


@pytest.mark.parametrize("reader", READERS)
def test_a_missing_folder_is_answered_with_what_makes_one(reader, tmp_path):
    assert "nsgauge score" in refusal(reader, tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", '"text"', "\x00", "[" * 100_000, '{"nsgauge_scores": 1}', "1e999"],
)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_manifest_is_refused(reader, tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    assert "--overwrite" in refusal(reader, tmp_path)


def test_a_manifest_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe{}")
    refusal(read_manifest, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../scores-00000.parquet",
        "/etc/passwd",
        "controls/../../secret.parquet",
        "controls/../scores-00000.parquet",
        "scores-00000.parquet\n",
        "scores-0000.parquet",
        "",
    ],
)
@pytest.mark.parametrize("field", ["shards", "controls"])
def test_a_name_that_leads_out_of_the_folder_is_refused(folder, name, field):
    edited(folder, lambda manifest: manifest[field][0].update(name=name))
    for reader in READERS:
        assert f"{field}.0.name" in refusal(reader, folder)


@pytest.mark.parametrize(
    "change",
    [
        {"nsgauge_scores": 2},
        {"surprise": 1},
        {"rows": "many"},
        {"shards": "all"},
        {"bundle": None},
        {"statuses": {"scored": "x"}},
    ],
)
def test_a_manifest_of_another_form_is_refused_by_the_name_of_the_field(folder, change):
    edited(folder, lambda manifest: manifest.update(change))
    assert next(iter(change)) in refusal(read_manifest, folder)


def test_an_unfinished_run_says_how_far_it_is(folder):
    edited(folder, lambda m: m.update(complete=False, shards=m["shards"][:2], controls=[]))
    for reader in (read_scores, read_controls):
        assert "14 of 24 rows are scored" in refusal(reader, folder)


def test_a_manifest_that_calls_itself_complete_must_have_every_row(folder):
    edited(folder, lambda manifest: manifest.update(shards=manifest["shards"][:3]))
    assert "21 of 24 rows are scored" in refusal(read_scores, folder)


def test_a_file_that_is_whole_but_no_scores_is_refused(folder, world):
    shutil.copy(world / "triples.parquet", folder / "scores-00000.parquet")
    refusal(read_scores, folder)
    digest = file_digest(folder / "scores-00000.parquet")
    edited(folder, lambda manifest: manifest["shards"][0].update(sha256=digest))
    with pytest.raises(NsgaugeError, match="missing: status"):
        read_scores(folder)


def test_controls_are_read_by_name(scored):
    controls = read_controls(scored)
    assert list(controls) == [
        *("shuffled_images", "blank_images", "prompt_response", "response_only")
    ]
    assert {table.num_rows for table in controls.values()} == {6}
