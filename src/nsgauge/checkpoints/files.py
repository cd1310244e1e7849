"""Writing a folder whole or not at all, and reading files whose digest is known."""

import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

from nsgauge.errors import BundleError


def write_folder(path: Path, *, write: Callable[[Path], None], overwrite: bool) -> None:
    """Let `write` fill a folder beside `path`, then rename it there.

    Raises:
        BundleError: `path` exists and may not be replaced.
    """
    if path.exists() and not overwrite:
        raise BundleError(f"{path} exists already: choose another path or pass --overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        write(part)
        for file in part.iterdir():
            _sync(file)
        _sync(part)
        part.chmod(0o755)
        _replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _sync(path.parent)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _replace(part: Path, path: Path) -> None:
    """Rename over an existing folder by way of a third name: there is no atomic exchange."""
    if not path.exists():
        part.rename(path)
        return
    old = Path(mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    path.rename(old / path.name)
    part.rename(path)
    shutil.rmtree(old)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
