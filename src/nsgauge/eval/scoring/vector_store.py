"""Vectors kept by what they are of: in memory up to a bound, and in a folder that outlives the run.

A folder holds a few safetensors files, each written beside its place and renamed. Every vector has
its own checksum, so a damaged one is missed and made again, never believed.
"""

import logging
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

VECTORS_PER_FILE = 4096
SMALL_FILES = 16
MEMORY_BYTES = 256 << 20

Vector = Float32[np.ndarray, "tokens width"]
_CHECK_BYTES = 8
_DIGEST_BYTES = 32

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """Which vectors lie where: sorted by the first eight bytes of their digests."""

    files: tuple[Path, ...]
    heads: Int[np.ndarray, " kept"]
    digests: UInt8[np.ndarray, "kept 32"]
    checks: UInt8[np.ndarray, "kept 8"]
    file_of: Int[np.ndarray, " kept"]
    row_of: Int[np.ndarray, " kept"]

    def place(self, digest: bytes) -> int | None:
        """Where a digest is."""
        head = np.frombuffer(digest[:8], dtype="<i8")[0]
        place = int(np.searchsorted(self.heads, head))
        while place < len(self.heads) and self.heads[place] == head:
            if self.digests[place].tobytes() == digest:
                return place
            place += 1
        return None


class VectorStore:
    """Vectors by SHA-256 of what they are of.

    Args:
        folder: Where they outlive the run, in a folder of their own for each key; None keeps them
            in memory alone.
        key: Everything that a vector depends on beside what it is of.
        memory_bytes: Bound of what is held in memory; the oldest goes first.
    """

    def __init__(self, folder: Path | None, *, key: str, memory_bytes: int = MEMORY_BYTES) -> None:
        self._folder = None if folder is None else folder / sha256(key.encode()).hexdigest()[:32]
        self._memory_bytes = memory_bytes
        self._held: OrderedDict[bytes, Vector] = OrderedDict()
        self._held_bytes = 0
        self._unwritten: dict[bytes, Vector] = {}
        self._index = _indexed(self._folder)

    def find(self, digest: bytes) -> Vector | None:
        """The vector of what has this digest, if it is kept and whole."""
        if digest in self._held:
            return self._held[digest]
        if digest in self._unwritten:
            return self._unwritten[digest]
        place = self._index.place(digest)
        if place is None:
            return None
        vector = _read(self._index, place=place)
        if vector is not None:
            self._hold(digest, vector=vector)
        return vector

    def keep(self, digest: bytes, *, vector: Vector) -> None:
        """Keep a vector; it is in the folder at the latest after `flush`."""
        self._hold(digest, vector=vector)
        if self._folder is not None:
            self._unwritten[digest] = vector
            if len(self._unwritten) >= VECTORS_PER_FILE:
                self.flush()

    def flush(self) -> None:
        """Bring to the folder what isn't there yet.

        A folder that can't be written to, or is full, costs a warning in the log and no run.
        """
        if self._folder is None or not self._unwritten:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            small = [file for file in _files(self._folder) if _rows(file) < VECTORS_PER_FILE // 2]
            if len(small) >= SMALL_FILES:
                self._merge(small)
            else:
                _write(self._folder, vectors=self._unwritten)
        except OSError as error:
            _log.warning("%s: vectors can't be kept there: %s", self._folder, error)
            self._folder = None
        self._unwritten = {}
        self._index = _indexed(self._folder)

    def _merge(self, files: Sequence[Path]) -> None:
        """Many small files and what is new become one; a run that has one of them open keeps it."""
        index = _index_of(files)
        vectors = dict(self._unwritten)
        for place in range(len(index.heads)):
            vector = _read(index, place=place)
            if vector is not None:
                vectors.setdefault(index.digests[place].tobytes(), vector)
        if self._folder is not None:
            written = _write(self._folder, vectors=vectors)
            for file in files:
                if file != written:
                    file.unlink(missing_ok=True)

    def _hold(self, digest: bytes, *, vector: Vector) -> None:
        if digest in self._held:
            return
        self._held[digest] = vector
        self._held_bytes += vector.nbytes
        while self._held_bytes > self._memory_bytes and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._held_bytes -= oldest.nbytes


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _write(folder: Path, *, vectors: dict[bytes, Vector]) -> Path:
    digests = sorted(vectors)
    name = sha256(b"".join(digests)).hexdigest()[:32]
    target, part = folder / f"{name}.safetensors", folder / f".{name}.{os.getpid()}.part"
    stacked = np.stack([vectors[digest] for digest in digests])
    checks = [_check(vectors[digest]) for digest in digests]
    content = {
        "digests": np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST_BYTES),
        "checks": np.frombuffer(b"".join(checks), np.uint8).reshape(-1, _CHECK_BYTES),
        "vectors": stacked,
    }
    try:
        save_file(content, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _indexed(folder: Path | None) -> _Index:
    return _index_of([] if folder is None or not folder.is_dir() else _files(folder))


def _index_of(files: Sequence[Path]) -> _Index:
    """Of all whole files; those that aren't hold nothing."""
    found = [(file, *named) for file in files if (named := _named(file)) is not None]
    lengths = [len(digests) for _, digests, _ in found]
    digests = np.concatenate([np.zeros((0, 32), np.uint8), *(part for _, part, _ in found)])
    checks = np.concatenate([np.zeros((0, 8), np.uint8), *(part for _, _, part in found)])
    heads = np.ascontiguousarray(digests[:, :8]).view("<i8").ravel()
    order = np.argsort(heads, kind="stable")
    rows = [np.arange(length) for length in lengths]
    return _Index(
        files=tuple(file for file, _, _ in found),
        heads=heads[order],
        digests=digests[order],
        checks=checks[order],
        file_of=np.repeat(np.arange(len(found)), lengths)[order],
        row_of=np.concatenate([np.zeros(0, np.int64), *rows])[order],
    )


def _named(
    file: Path,
) -> tuple[UInt8[np.ndarray, "kept 32"], UInt8[np.ndarray, "kept 8"]] | None:
    """Digests and checksums of a file; None if it isn't one of ours, or damaged."""
    try:
        with safe_open(file, framework="np") as content:
            digests, checks = content.get_tensor("digests"), content.get_tensor("checks")
            shape = content.get_slice("vectors").get_shape()
            kind = content.get_slice("vectors").get_dtype()
    except (SafetensorError, OSError, ValueError):
        return None
    rows = shape[0] if len(shape) == 3 and kind == "F32" else -1
    fit = digests.shape == (rows, _DIGEST_BYTES) and checks.shape == (rows, _CHECK_BYTES)
    return (digests, checks) if fit and digests.dtype == checks.dtype == np.uint8 else None


def _rows(file: Path) -> int:
    named = _named(file)
    return 0 if named is None else len(named[0])


def _read(index: _Index, *, place: int) -> Vector | None:
    """A vector, if its bytes are those that were written."""
    row = int(index.row_of[place])
    try:
        with safe_open(index.files[index.file_of[place]], framework="np") as content:
            vector: Vector = content.get_slice("vectors")[row : row + 1][0]
    except (SafetensorError, OSError, ValueError, IndexError):
        return None
    return vector if _check(vector) == index.checks[place].tobytes() else None


def _check(vector: Vector) -> bytes:
    return blake2b(np.ascontiguousarray(vector).tobytes(), digest_size=_CHECK_BYTES).digest()
