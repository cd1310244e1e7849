"""ZIP files from elsewhere: read member by member, within limits, nothing unpacked to disk."""

import importlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nsgauge.errors import DataError

MEMBER_BYTES_LIMIT = 2**28
"""A member has at most this many bytes when unpacked."""
TOTAL_BYTES_LIMIT = 2**33
"""All members together have at most this many bytes when unpacked."""

_ZSTD = 93
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, _ZSTD)
# A decompressor takes in whole what it is fed, and zstd may answer 4 bytes with 128 KiB.
_BYTES_PER_READ = 4096


@contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A ZIP file whose members are of a size and a method that can be read.

    Raises:
        DataError: no such file, no ZIP, too large when unpacked, packed in another way than
            stored, deflated or zstd, or zstd without the package that reads it.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (NotImplementedError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable ZIP file: {error}") from error
    with archive:
        _check(path, members=archive.infolist())
        yield archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of one member; the name is never used as a path.

    Raises:
        DataError: no such member, or it is damaged or encrypted.
    """
    parts: list[bytes] = []
    try:
        with archive.open(name) as file:
            while part := file.read(_BYTES_PER_READ):
                parts.append(part)
    except KeyError as error:
        raise DataError(f"no member {name!r} in the archive") from error
    except _unpacking_failures() as error:
        raise DataError(f"member {name!r} can't be unpacked: {error}") from error
    return b"".join(parts)


def _check(path: Path, *, members: list[zipfile.ZipInfo]) -> None:
    # The declared size binds: zipfile gives out no more bytes of a member than that.
    sizes = [member.file_size for member in members]
    if max(sizes, default=0) > MEMBER_BYTES_LIMIT or sum(sizes) > TOTAL_BYTES_LIMIT:
        raise DataError(
            f"{path}: unpacks to {sum(sizes)} bytes, {max(sizes)} in one member; at most "
            f"{TOTAL_BYTES_LIMIT} and {MEMBER_BYTES_LIMIT} are read: split it"
        )
    methods = {member.compress_type for member in members}
    if not methods <= set(_METHODS):
        raise DataError(f"{path}: packed by ZIP method {max(methods)}; wanted deflate or zstd")
    if _ZSTD in methods:
        _teach_zstd(path)


def _teach_zstd(path: Path) -> None:
    """Have `zipfile` read method 93, which it does by itself only from Python 3.14 on."""
    try:
        importlib.import_module("zipfile_zstd")
    except ImportError as error:
        raise DataError(
            f"{path}: packed by zstd: install nsgauge[inspect], or convert it to json with "
            "`inspect log convert --to json`"
        ) from error


def _unpacking_failures() -> tuple[type[Exception], ...]:
    """What damaged bytes raise; zstd has an error of its own where it is installed."""
    failures: list[type[Exception]] = [
        EOFError,
        OSError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ]
    with suppress(ImportError):
        failures.append(importlib.import_module("zstandard").ZstdError)
    return tuple(failures)
