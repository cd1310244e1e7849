"""The pictures of a run: found by path, known by content, decoded when they are new."""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nsgauge.data.images import Resize, image_digest, pixels_of, read_image
from nsgauge.errors import ImageError, ScoringError
from nsgauge.eval.scoring.images import Pixels

THREADS = min(16, os.cpu_count() or 1)
DECODED_AHEAD = 4 * THREADS
REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Picture:
    """What became of a path: a digest, or the code of what is wrong with the file."""

    digest: str | None
    fault: str | None


class Pictures:
    """Reads each picture file once, and decodes it when its vector is wanted.

    Args:
        root: The folder that paths are relative to and must stay in; None takes paths as they
            are, for callers who name their own files.
        side: Of the square that the image tower reads, in px.
        resize: How a picture becomes that square.
    """

    def __init__(self, root: Path | None, *, side: int, resize: Resize) -> None:
        self._root = root
        self._side = side
        self._resize = resize
        self._found: dict[str, Picture] = {}
        self._faults: dict[str, str] = {}

    def find(self, paths: Sequence[str]) -> list[Picture]:
        """Read the files at some paths that are new, to know them by their content."""
        if len(self._found) > REMEMBERED:
            self._found.clear()
        new = [path for path in dict.fromkeys(paths) if path not in self._found]
        with ThreadPoolExecutor(THREADS) as pool:
            self._found.update(zip(new, pool.map(self._look, new), strict=True))
        return [self._found[path] for path in paths]

    def fault(self, digest: str) -> str | None:
        """The code of what is wrong with a picture, if it was decoded and couldn't be."""
        return self._faults.get(digest)

    def decoded(self, paths: Mapping[str, str]) -> Iterator[tuple[str, Pixels | None]]:
        """Pixels of pictures that were found, by digest; None where they can't be decoded.

        Args:
            paths: By digest.

        Raises:
            ScoringError: a file was changed or removed since.
        """
        ahead: deque[tuple[str, Future[Pixels | None]]] = deque()
        with ThreadPoolExecutor(THREADS) as pool:
            try:
                for digest, path in paths.items():
                    ahead.append((digest, pool.submit(self._pixels, path, digest)))
                    if len(ahead) >= DECODED_AHEAD:
                        yield _first(ahead)
                while ahead:
                    yield _first(ahead)
            finally:
                for _, future in ahead:
                    future.cancel()

    def _pixels(self, path: str, digest: str) -> Pixels | None:
        if digest in self._faults:
            return None
        try:
            content = self._content(path)
        except ImageError as error:
            raise _changed(path) from error
        if image_digest(content) != digest:
            raise _changed(path)
        try:
            return pixels_of(content, side=self._side, resize=self._resize)
        except ImageError as error:
            self._faults[digest] = error.code
            return None

    def _look(self, path: str) -> Picture:
        try:
            return Picture(image_digest(self._content(path)), None)
        except ImageError as error:
            return Picture(None, error.code)

    def _content(self, path: str) -> bytes:
        if self._root is not None:
            return read_image(self._root, path)
        try:
            # A link is followed: the caller's own file may lie wherever it likes.
            file = Path(path).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise ImageError("unsafe_path", f"picture path {path!r}: {error}") from error
        return read_image(file.parent, file.name)


def _first(ahead: deque[tuple[str, Future[Pixels | None]]]) -> tuple[str, Pixels | None]:
    digest, future = ahead.popleft()
    return digest, future.result()


def _changed(path: str) -> ScoringError:
    return ScoringError(f"{path}: changed while it was being scored; start again")
