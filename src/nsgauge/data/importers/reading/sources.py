"""The files of a source, which may be a folder of folders."""

from collections.abc import Collection
from itertools import islice
from pathlib import Path

from nsgauge.data.folders import file_digest

_LEVELS = ("*", "*/*", "*/*/*", "*/*/*/*")
_FILES_PEEKED = 50


def source_files(source: Path, *, suffixes: Collection[str]) -> list[Path]:
    """The files with one of the suffixes, in name order: `source`, or those up to four levels down.

    Harnesses keep links to their latest run beside the runs, so a file counts once however many
    names lead to it.
    """
    if not source.is_dir():
        return [source] if source.suffix.lower() in suffixes and source.is_file() else []
    found = (path for level in _LEVELS for path in source.glob(level))
    wanted = sorted(path for path in found if path.suffix.lower() in suffixes and path.is_file())
    once: dict[Path, Path] = {}
    for path in wanted:
        once.setdefault(path.resolve(), path)
    return sorted(once.values())


def first_files(source: Path, *, suffixes: Collection[str]) -> list[Path]:
    """A few of `source_files`, to recognise a format by."""
    return list(islice(source_files(source, suffixes=suffixes), _FILES_PEEKED))


def image_root(source: Path, *, given: Path | None) -> Path:
    """The folder of the pictures: as the user says, or where the source lies."""
    return given or (source if source.is_dir() else source.parent)


def digests(files: Collection[Path], *, source: Path) -> dict[str, str]:
    """SHA-256 of each file, by its name inside `source`."""
    root = source if source.is_dir() else source.parent
    return {path.relative_to(root).as_posix(): file_digest(path) for path in files}
