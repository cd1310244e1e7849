"""The data folder: what lies in it, and how a new one comes to be in one step.

DATA/triples.parquet   one row a triple (TRIPLES_SCHEMA)
DATA/verdicts.parquet  one row a vote of a judge (VERDICTS_SCHEMA); absent if there are none
DATA/rejects.jsonl     one object a source row that couldn't be used
DATA/images/           the pictures, named by SHA-256
DATA/judging/          one record a judge that `nsgauge judge` asked
DATA/source.json       where it all came from
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nsgauge.data.images import IMAGES_FOLDER
from nsgauge.errors import DataError

TRIPLES_FILE = "triples.parquet"
VERDICTS_FILE = "verdicts.parquet"
REJECTS_FILE = "rejects.jsonl"
SOURCE_FILE = "source.json"
JUDGING_FOLDER = "judging"
FORMAT_KEY = "nsgauge_data"
"""The key in source.json that marks a folder as ours; its value is the format's version."""
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderKind:
    """What tells a folder that we wrote, and may replace, from any other.

    Attributes:
        noun: What to call it in an error.
        marker: Its JSON file that has the key `key` at the top.
        key: See `marker`.
        names: Everything that it may hold.
    """

    noun: str
    marker: str
    key: str
    names: frozenset[str]


DATA_FOLDER = FolderKind(
    noun="data folder",
    marker=SOURCE_FILE,
    key=FORMAT_KEY,
    names=frozenset(
        {TRIPLES_FILE, VERDICTS_FILE, REJECTS_FILE, SOURCE_FILE, IMAGES_FOLDER, JUDGING_FOLDER}
    ),
)


@contextmanager
def new_folder(out: Path, *, overwrite: bool, kind: FolderKind = DATA_FOLDER) -> Iterator[Path]:
    """A folder beside `out` to build in; it becomes `out` when the block ends without an error.

    Raises:
        DataError: `out` holds something, and it isn't a folder of this kind or `overwrite` is
            False.
    """
    check_free(out, overwrite=overwrite, kind=kind)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        built = Path(scratch) / "new"
        built.mkdir()
        yield built
        _flush(built)
        if out.exists():
            out.replace(Path(scratch) / "old")
        built.replace(out)
        _sync(out.parent)


@contextmanager
def new_file(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A file beside `out` to write; it becomes `out` when the block ends without an error.

    Raises:
        DataError: `out` is a folder, or a file and `overwrite` is False.
    """
    if out.is_dir() or (out.exists() and not overwrite):
        raise DataError(f"{out}: is there already; name another file or pass --overwrite")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        part = Path(scratch) / out.name
        yield part
        _sync(part)
        part.replace(out)
        _sync(out.parent)


def copy_image(name: str, *, source: Path, target: Path) -> None:
    """Bring the picture `name` from the folder `source` into `target`, by link where possible.

    Raises:
        DataError: no such picture under `source`.
    """
    start, end = source / name, target / name
    end.parent.mkdir(parents=True, exist_ok=True)
    try:
        # A stored picture is named by its content and never changed, so a link is a copy.
        os.link(start, end)
    except FileNotFoundError as error:
        raise DataError(f"{start}: no such picture; store it with ImageStore first") from error
    except OSError:
        shutil.copyfile(start, end)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_free(out: Path, *, overwrite: bool, kind: FolderKind) -> None:
    """Refuse a place that can't be written, or replaced, without loss.

    Raises:
        DataError: as `new_folder`.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"{out}: is a file; name a folder that doesn't exist yet")
    names = {path.name for path in out.iterdir()}
    if not names:
        return
    foreign = sorted(names - kind.names)
    if foreign or not _is_ours(out, kind=kind):
        found = ", ".join(foreign[:5]) or f"no {kind.marker} of ours"
        raise DataError(f"{out}: not empty and no {kind.noun} ({found}); name another folder")
    if not overwrite:
        raise DataError(f"{out}: holds a {kind.noun} already; name another or pass --overwrite")


def _is_ours(folder: Path, *, kind: FolderKind) -> bool:
    try:
        content = json.loads((folder / kind.marker).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and kind.key in content


def _flush(folder: Path) -> None:
    """Have everything in the folder reach the disk before its name does."""
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
