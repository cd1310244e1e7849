"""The data folder: what lies in it, and how a new one comes to be in one step.

DATA/triples.parquet   one row a triple (TRIPLES_SCHEMA)
DATA/verdicts.parquet  one row a vote of a judge (VERDICTS_SCHEMA); absent if there are none
DATA/rejects.jsonl     one object a source row that couldn't be used
DATA/images/           the pictures, named by SHA-256
DATA/source.json       where it all came from
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nsgauge.data.images import IMAGES_FOLDER
from nsgauge.errors import DataError

TRIPLES_FILE = "triples.parquet"
VERDICTS_FILE = "verdicts.parquet"
REJECTS_FILE = "rejects.jsonl"
SOURCE_FILE = "source.json"
FORMAT_KEY = "nsgauge_data"
"""The key in source.json that marks a folder as ours; its value is the format's version."""
FORMAT_VERSION = 1

_OURS = {TRIPLES_FILE, VERDICTS_FILE, REJECTS_FILE, SOURCE_FILE, IMAGES_FOLDER}


@contextmanager
def new_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder beside `out` to build in; it becomes `out` when the block ends without an error.

    Raises:
        DataError: `out` holds something, and it isn't a data folder or `overwrite` is False.
    """
    _check_free(out, overwrite=overwrite)
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


def _check_free(out: Path, *, overwrite: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"{out}: is a file; name a folder that doesn't exist yet")
    names = {path.name for path in out.iterdir()}
    if not names:
        return
    foreign = sorted(names - _OURS)
    if foreign or not _is_ours(out):
        found = ", ".join(foreign[:5]) or "no source.json of ours"
        raise DataError(f"{out}: not empty and not only our data ({found}); name another folder")
    if not overwrite:
        raise DataError(f"{out}: holds a data folder already; name another or ask to overwrite it")


def _is_ours(folder: Path) -> bool:
    try:
        source = json.loads((folder / SOURCE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(source, dict) and FORMAT_KEY in source


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
