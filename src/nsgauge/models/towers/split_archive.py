"""A zip cut into parts, read without putting it together on disk."""

import io
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

CHUNK_BYTES = 1 << 20
# What zipfile lets through on content that isn't what a zip's directory says.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError)


def unpack(member: str, *, parts: Sequence[Path], to: Path, limit_bytes: int) -> None:
    """Write one member to a file, or as much of it as `limit_bytes` allows.

    Args:
        member: Its name in the zip; where it is written depends on `to` alone.
        parts: The zip's parts, in order.
        to: The file to write.
        limit_bytes: Of what is written, whatever the zip says of the member's size.

    Raises:
        ValueError: the parts together are no zip, have no such member, or it is damaged.
        OSError: a part can't be read, or the file can't be written.
    """
    try:
        with (
            io.BufferedReader(JoinedFiles(parts), CHUNK_BYTES) as joined,
            zipfile.ZipFile(joined) as archive,
            archive.open(member) as packed,
            to.open("wb") as file,
        ):
            while limit_bytes and (chunk := packed.read(min(CHUNK_BYTES, limit_bytes))):
                file.write(chunk)
                limit_bytes -= len(chunk)
    except DAMAGED as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


class JoinedFiles(io.RawIOBase):
    """Files read as one, end to end."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._files: list[tuple[int, IO[bytes]]] = []
        self._size_bytes = 0
        self._position = 0
        for path in paths:
            self._files.append((self._size_bytes, path.open("rb", buffering=0)))
            self._size_bytes += path.stat().st_size

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place counted over all files.

        Raises:
            ValueError: before the first byte.
        """
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size_bytes}
        place = bases[whence] + offset
        if place < 0:
            raise ValueError(f"place {place} is before the first byte")
        self._position = place
        return place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read on, up to the end of the file that the place is in; 0 at the very end."""
        chunk = b""
        for start, file in self._files:
            if start <= self._position:
                file.seek(self._position - start)
                chunk = file.read(len(buffer)) or chunk
        buffer[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)

    def close(self) -> None:
        """Close every file."""
        for _, file in self._files:
            file.close()
        super().close()
