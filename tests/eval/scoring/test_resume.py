"""A run that is stopped anywhere ends, when it is started again, with the same bytes."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nsgauge.data.tables import (
    SourceNote,
    read_triples,
    read_verdicts,
    triples_of,
    verdicts_of,
    write_data,
)
from nsgauge.errors import ScoringError
from nsgauge.eval.scoring import runner, shards
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.eval.scoring.shards import read_manifest, read_scores, write_manifest

FILES = 8  # four shards, four control runs

KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from nsgauge.eval.scoring import shards
from nsgauge.eval.scoring.runner import Resources, score_folder
from nsgauge.eval.scoring.settings import ScoringSettings

whole, left = shards.pq.write_table, [2]

def write_table(table, part, **options):
    if not left[0]:
        print(*sys.modules, flush=True)
        part.write_bytes(b"PAR1 and then nothing")
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    whole(table, part, **options)

shards.pq.write_table = write_table
bundle, data, out, cache, settings = sys.argv[1:]
score_folder(
    Path(bundle),
    data=Path(data),
    out=Path(out),
    settings=ScoringSettings.model_validate_json(settings),
    resources=Resources(cache=Path(cache), device="cpu"),
)
"""


class StoppedError(Exception):
    """Stands for whatever ends a process."""


def contents(folder: Path) -> dict[str, object]:
    """Every file's bytes; of the manifest, all but when the run began."""
    found: dict[str, object] = {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
    manifest = json.loads((folder / "manifest.json").read_text())
    return found | {"manifest.json": {**manifest, "created": ""}}


@pytest.fixture
def finished(scored, tmp_path):
    """A copy of the finished run that may be spoilt."""
    shutil.copytree(scored, tmp_path / "finished")
    return tmp_path / "finished"


def _stop_in_progress(_, attempt: int) -> dict[str, object]:
    """Told of the files that were there already, and of one more."""
    calls: list[str] = []

    def progress(doing, _done, _total):
        calls.append(doing)
        if len(calls) > attempt:
            raise StoppedError

    return {"progress": progress}


def _stop_before_writing(monkeypatch, _) -> dict[str, object]:
    """One file is written, and half of another."""
    written: list[str] = []

    def write_shard(path, *, name, table):
        if written:
            target = path / name
            target.parent.mkdir(exist_ok=True)
            target.with_name(f".{target.name}.part").write_bytes(b"PAR1 half a file")
            raise StoppedError
        written.append(name)
        return shards.write_shard(path, name=name, table=table)

    monkeypatch.setattr(runner, "write_shard", write_shard)
    return {}


def _stop_after_renaming(monkeypatch, _) -> dict[str, object]:
    """One file is written; another is in its place, and the manifest doesn't know of it."""
    written: list[str] = []

    def write_shard(path, *, name, table):
        shard = shards.write_shard(path, name=name, table=table)
        if written:
            raise StoppedError
        written.append(name)
        return shard

    monkeypatch.setattr(runner, "write_shard", write_shard)
    return {}


@pytest.mark.parametrize("stopper", [_stop_in_progress, _stop_before_writing, _stop_after_renaming])
def test_a_run_stopped_after_every_file_ends_with_the_same_bytes(
    run, scored, tmp_path, monkeypatch, stopper
):
    out, stops = tmp_path / "out", 0
    for attempt in range(FILES + 1):
        try:
            run(out, **stopper(monkeypatch, attempt))
        except StoppedError:
            stops += 1
            with pytest.raises(ScoringError, match="run `nsgauge score` again"):
                read_scores(out)
        else:
            break
    assert stops >= FILES - 1
    assert contents(out) == contents(scored)


def test_a_killed_process_leaves_a_run_that_goes_on(run, scored, bundle_path, world, tmp_path):
    out, settings = tmp_path / "out", json.dumps(read_manifest(scored).settings)
    child = subprocess.run(
        [
            *(sys.executable, "-c", KILLED, bundle_path, world, out, tmp_path / "cache"),
            settings,
        ],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert not {"lightning", "tensorboard"} & set(child.stdout.split())
    assert (out / ".scores-00002.parquet.part").is_file()
    assert len(read_manifest(out).shards) == 2
    run(out)
    assert contents(out) == contents(scored)


def test_a_run_killed_before_its_first_manifest_begins_anew(run, scored, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in (".manifest.json.part", "scores-00000.parquet", ".scores-00009.parquet.part"):
        (out / name).write_text("half")
    run(out)
    assert contents(out) == contents(scored)


def test_a_finished_run_is_left_as_it_is(run, finished, monkeypatch):
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*")}
    monkeypatch.setattr(runner, "Engine", None)
    said = []
    assert run(finished, progress=lambda *said_: said.append(said_)).complete
    assert {file: file.stat().st_mtime_ns for file in finished.rglob("*")} == before
    assert said == [("scoring", 24, 24)]


@pytest.mark.parametrize("name", ["scores-00001.parquet", "controls/blank_images.parquet"])
@pytest.mark.parametrize("removed", [True, False])
def test_a_file_that_was_changed_or_removed_is_made_anew(run, scored, finished, name, removed):
    file = finished / name
    if removed:
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    reader = read_scores if name.startswith("scores") else shards.read_controls
    with pytest.raises(ScoringError, match="missing or changed since it was written"):
        reader(finished)
    run(finished)
    assert contents(finished) == contents(scored)


def test_other_settings_are_refused(run, finished):
    before = contents(finished)
    for other in ({"controls_rows": 5}, {"seed": 1}, {"rows_per_shard": 8}):
        settings = ScoringSettings(**{"rows_per_shard": 7, "controls_rows": 6, **other})
        with pytest.raises(ScoringError, match=rf"other settings \({next(iter(other))}\)"):
            run(finished, settings=settings)
    assert contents(finished) == before


def test_what_was_begun_in_vain_is_in_nobodys_way(run, finished, tmp_path):
    out = tmp_path / "scores"
    out.mkdir()
    begun = read_manifest(finished).model_copy(
        update={"run": "0" * 64, "shards": (), "controls": (), "complete": False}
    )
    write_manifest(out, manifest=begun)
    assert run(out).complete


def test_another_bundle_is_refused(run, bundle, finished, monkeypatch):
    other = replace(bundle, fingerprint="0" * 64)
    monkeypatch.setattr(runner, "load_saved", lambda *_, **__: other)
    with pytest.raises(ScoringError, match="another bundle"):
        run(finished)


def test_other_data_is_refused_and_overwrite_scores_it(run, world, finished, tmp_path):
    data = tmp_path / "data"
    triples = triples_of(read_triples(world))[:3]
    known = {triple.triple_id for triple in triples}
    verdicts = [v for v in verdicts_of(read_verdicts(world)) if v.triple_id in known]
    source = SourceNote(importer="test", image_root=world)
    write_data(data, triples=triples, verdicts=verdicts, rejects=(), source=source)
    with pytest.raises(ScoringError, match="other data"):
        run(finished, data=data)
    (finished / "notes.txt").write_text("mine")
    (finished / "controls" / "notes.txt").write_text("mine too")
    assert run(finished, data=data, overwrite=True).rows == 3
    assert sorted(file.name for file in finished.glob("*")) == [
        *("controls", "manifest.json", "notes.txt", "scores-00000.parquet")
    ]
    assert (finished / "controls" / "notes.txt").read_text() == "mine too"
    assert read_scores(finished).num_rows == 3


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(
    ("name", "text"),
    [("thesis.tex", "x"), ("manifest.json", '{"name": "web app"}'), ("manifest.json", "[]")],
)
def test_a_folder_of_someone_else_is_refused_and_unharmed(run, tmp_path, name, text, overwrite):
    out = tmp_path / "out"
    (out / "controls").mkdir(parents=True)
    (out / "controls" / "mine.parquet").write_text("mine")
    (out / name).write_text(text)
    with pytest.raises(ScoringError, match="not empty and no score folder"):
        run(out, overwrite=overwrite)
    assert (out / name).read_text() == text
    assert (out / "controls" / "mine.parquet").read_text() == "mine"


def test_a_damaged_manifest_says_to_overwrite_and_that_works(run, scored, finished):
    (finished / "manifest.json").write_text('{"nsgauge_scores": 1, "run"')
    with pytest.raises(ScoringError, match="--overwrite"):
        run(finished)
    run(finished, overwrite=True)
    assert contents(finished) == contents(scored)


def test_a_file_in_the_place_of_the_folder_is_refused(run, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ScoringError, match="is a file"):
        run(tmp_path / "out", overwrite=True)


def test_a_second_run_into_the_same_folder_is_refused_at_once(run, tmp_path):
    out = tmp_path / "out"
    refused: list[object] = []

    def progress(_doing, _done, _total):
        if not refused:
            with pytest.raises(ScoringError, match="another process is scoring into it") as error:
                run(out)
            refused.append(error)

    run(out, progress=progress)
    assert refused
    assert read_manifest(out).complete


@pytest.mark.parametrize("full", ["at once", "later"])
def test_a_full_disk_is_named_and_what_is_finished_is_kept(run, scored, tmp_path, full):
    out = tmp_path / "out"
    largest = max(file.stat().st_size for file in scored.glob("*.parquet"))
    limit_bytes = 1_000 if full == "at once" else largest - 1
    free = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, free[1]))
    try:
        with pytest.raises(ScoringError, match=r"can't be written \(.*make room"):
            run(out, cache=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, free)
    assert not list(out.rglob("*.part"))
    run(out)
    assert contents(out) == contents(scored)
