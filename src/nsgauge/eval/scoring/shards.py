"""The score folder: shards, control runs, and the manifest that says what is done.

SCORES/manifest.json            what was scored by what, and which files are whole
SCORES/scores-00000.parquet     rows in the order of triples.parquet (SCORES_SCHEMA)
SCORES/controls/NAME.parquet    some rows scored again with the picture taken away

A file is written beside its place and renamed, so one that is listed is whole. Nothing here needs
torch: a report reads scores without it.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from nsgauge.data.folders import file_digest
from nsgauge.data.parquet import checked, read_parquet
from nsgauge.errors import ScoringError
from nsgauge.records import SCORES_SCHEMA, ImageState, ScoreStatus
from nsgauge.settings import Settings

MANIFEST = "manifest.json"
CONTROLS = "controls"
FORMAT: Literal[1] = 1

_SHARD = re.compile(r"\.?scores-\d{5,}\.parquet(\.part)?")
_CONTROL = re.compile(r"\.?[a-z_]+\.parquet(\.part)?")
_MANIFESTS = frozenset({MANIFEST, f".{MANIFEST}.part"})


class ShardFile(Settings):
    """One whole file: where, how many rows, and the SHA-256 of its bytes."""

    name: str = Field(pattern=r"^(scores-\d{5,}|controls/[a-z_]+)\.parquet$")
    rows: int = Field(ge=0)
    sha256: str


class ScoreManifest(Settings):
    """Contents of `manifest.json`.

    Attributes:
        nsgauge_scores: Version of the folder's format.
        run: Digest of everything that the scores depend on; a run resumes only itself.
        nsgauge_version: That scored.
        created: When the run began, UTC, ISO 8601.
        data_fingerprint: Of the data folder.
        bundle: Provenance of the classifier: name, judges, recipe, thresholds, validation...
        settings: Of the scoring.
        rows: Triples to score.
        shards: Whole shards, in order.
        controls: Whole control runs.
        complete: Whether every shard and control run is there.
        statuses: Rows by status, over the whole shards.
        image_states: Likewise by what stood in the image slot.
        truncated: Rows of which a part wasn't read.
    """

    nsgauge_scores: Literal[1] = FORMAT
    run: str
    nsgauge_version: str
    created: str
    data_fingerprint: str
    bundle: dict[str, Any]
    settings: dict[str, Any]
    rows: int
    shards: tuple[ShardFile, ...] = ()
    controls: tuple[ShardFile, ...] = ()
    complete: bool = False
    statuses: dict[str, int] = Field(default_factory=dict)
    image_states: dict[str, int] = Field(default_factory=dict)
    truncated: int = 0

    def with_shard(self, shard: ShardFile, *, table: pa.Table) -> "ScoreManifest":
        """The manifest after one more shard."""
        return self.model_copy(
            update={
                "shards": (*self.shards, shard),
                "statuses": _added(self.statuses, table["status"]),
                "image_states": _added(self.image_states, table["image_state"]),
                "truncated": self.truncated + (pc.sum(table["truncated"]).as_py() or 0),
            }
        )


def read_manifest(path: Path) -> ScoreManifest:
    """The manifest of a score folder, finished or not.

    Raises:
        ScoringError: none there, or not one that this version reads.
    """
    file = path / MANIFEST
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return ScoreManifest.model_validate(content)
    except FileNotFoundError as error:
        raise ScoringError(
            f"{file}: no such file; give a folder made by `nsgauge score`"
        ) from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(step) for step in fault["loc"]) or "(top level)"
        wanted = "score again with --overwrite"
        raise ScoringError(f"{file}: {where}: {fault['msg']}; {wanted}") from error
    except (OSError, ValueError, RecursionError) as error:
        wanted = "score again with --overwrite"
        raise ScoringError(f"{file}: can't be read ({error}); {wanted}") from error


def write_manifest(path: Path, *, manifest: ScoreManifest) -> None:
    """Replace the manifest in one step.

    Raises:
        ScoringError: the disk is full, or the folder can't be written to.
    """
    with _replacing(path / MANIFEST) as part:
        part.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def is_ours(path: Path) -> bool:
    """Whether a folder is a score folder, or what a run that was stopped early left of one.

    A manifest of other software isn't ours; without a readable one, every name must be.
    """
    try:
        content = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        own = {*_MANIFESTS, CONTROLS}
        return all(file.name in own or _SHARD.fullmatch(file.name) for file in path.iterdir())
    return isinstance(content, dict) and "nsgauge_scores" in content


def clear(path: Path) -> None:
    """Remove a score folder's own files, and no others; the manifest goes last."""
    controls = path / CONTROLS
    if controls.is_dir():
        _remove([file for file in controls.iterdir() if _CONTROL.fullmatch(file.name)])
        if not any(controls.iterdir()):
            controls.rmdir()
    _remove([file for file in path.iterdir() if _SHARD.fullmatch(file.name)])
    _remove([path / name for name in sorted(_MANIFESTS)])


def write_shard(path: Path, *, name: str, table: pa.Table) -> ShardFile:
    """Write one file of a score folder whole or not at all; the same rows give the same bytes.

    Raises:
        ScoringError: the disk is full, or the folder can't be written to.
    """
    with _replacing(path / name) as part:
        pq.write_table(table, part, compression="zstd")
        digest = file_digest(part)
    return ShardFile(name=name, rows=table.num_rows, sha256=digest)


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A file beside the target to write; it is flushed and takes its place if all went well."""
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(exist_ok=True)
        yield part
        _sync(part)
        part.replace(target)
        _sync(target.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ScoringError(
            f"{target}: can't be written ({error}): make room or see to its rights, then start "
            "again with the same arguments; what is finished is kept"
        ) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_whole(path: Path, *, shard: ShardFile) -> bool:
    """Whether the file is there with the bytes that the manifest says."""
    file = path / shard.name
    return file.is_file() and file_digest(file) == shard.sha256


def read_scores(path: Path) -> pa.Table:
    """All scores of a finished run, with SCORES_SCHEMA, in the order of the triples.

    Raises:
        ScoringError: the run isn't finished, or a shard is missing or damaged.
        DataError: a shard isn't a table of scores.
    """
    manifest = finished(path)
    tables = [read_shard(path, shard=shard) for shard in manifest.shards]
    return pa.concat_tables(tables) if tables else SCORES_SCHEMA.empty_table()


def read_controls(path: Path) -> dict[str, pa.Table]:
    """The control runs by name, each with SCORES_SCHEMA.

    Raises:
        ScoringError: the run isn't finished, or a file is missing or damaged.
        DataError: a file isn't a table of scores.
    """
    manifest = finished(path)
    return {Path(shard.name).stem: read_shard(path, shard=shard) for shard in manifest.controls}


def finished(path: Path) -> ScoreManifest:
    """The manifest of a finished run.

    Raises:
        ScoringError: there is none, or the run isn't finished.
    """
    manifest = read_manifest(path)
    done = sum(shard.rows for shard in manifest.shards)
    if not manifest.complete or done != manifest.rows:
        raise ScoringError(
            f"{path}: {done} of {manifest.rows} rows are scored; run `nsgauge score` again with "
            "the same arguments, it goes on from there"
        )
    return manifest


def read_shard(path: Path, *, shard: ShardFile) -> pa.Table:
    """One file of a score folder, with SCORES_SCHEMA.

    Raises:
        ScoringError: it is missing or damaged.
        DataError: it isn't a table of scores.
    """
    if not is_whole(path, shard=shard):
        raise ScoringError(
            f"{path / shard.name}: missing or changed since it was written; run `nsgauge score` "
            "again with the same arguments, it makes the file anew"
        )
    words = {"status": ScoreStatus, "image_state": ImageState}
    file = path / shard.name
    return checked(read_parquet(file), schema=SCORES_SCHEMA, words=words, where=str(file))


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _added(counts: Mapping[str, int], column: pa.ChunkedArray) -> dict[str, int]:
    new = {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}
    return dict(sorted((Counter(counts) + Counter(new)).items()))
