"""The pictures of a run: found by path, known by content, decoded when they are new."""

from dataclasses import dataclass
from pathlib import Path

from nsgauge.data.images import Resize, decode_image, image_digest, pixels, read_image
from nsgauge.errors import ImageError, ScoringError
from nsgauge.eval.scoring.images import Pixels


@dataclass(frozen=True, slots=True)
class Picture:
    """What became of a path: a digest, or the code of what is wrong with the file."""

    digest: str | None
    fault: str | None


class Pictures:
    """Reads each picture file once.

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
        self._path_of: dict[str, str] = {}
        self._decoded: dict[str, Pixels] = {}

    def find(self, path: str) -> Picture:
        """Read and fully decode the picture at a path, the first time it is asked for."""
        if path not in self._found:
            self._found[path] = self._look(path)
        return self._found[path]

    def decode(self, digest: str) -> Pixels:
        """Pixels of a picture that was found.

        Raises:
            ScoringError: its file was changed or removed since.
        """
        if digest not in self._decoded:
            # Found in an earlier shard and not encoded then; read it again.
            path = self._path_of[digest]
            if self._look(path).digest != digest:
                raise ScoringError(f"{path}: changed while it was being scored; start again")
        return self._decoded.pop(digest)

    def forget(self) -> None:
        """Drop decoded pictures that nobody asked for."""
        self._decoded.clear()

    def _look(self, path: str) -> Picture:
        try:
            content = self._content(path)
            decoded = decode_image(content)
        except ImageError as error:
            return Picture(None, error.code)
        digest = image_digest(content)
        self._path_of.setdefault(digest, path)
        self._decoded[digest] = pixels(decoded, side=self._side, resize=self._resize)
        return Picture(digest, None)

    def _content(self, path: str) -> bytes:
        if self._root is not None:
            return read_image(self._root, path)
        try:
            # A link is followed: the caller's own file may lie wherever it likes.
            file = Path(path).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise ImageError("unsafe_path", f"picture path {path!r}: {error}") from error
        return read_image(file.parent, file.name)
