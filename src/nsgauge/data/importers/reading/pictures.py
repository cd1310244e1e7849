"""Pictures as results name them: inside the text, on the net, or by a path of another machine."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from nsgauge.data.importers.reading.data_uri import data_uri_bytes, is_data_uri
from nsgauge.errors import ImageError

REMOVED = "<base64-data-removed>"
"""What stands where a harness was told not to log pictures."""
FURTHER_COLUMN = "further_pictures"
"""Where a row names its pictures after the first; those inside the text only by that word."""
URL_COLUMN = "picture_url"
"""Where a row names a picture that would have to be fetched."""

_INSIDE = "data URI"
_DATA_SET_FOLDER = "imgs/"
_URLS = ("http://", "https://", "ftp://", "s3://", "gs://", "hf://")


class PictureReader:
    """Turns the names of a row's pictures into an `image` value; counts what isn't one.

    Args:
        root: The folder that holds the pictures now.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._owners: dict[str, str] = {}
        self._removed = 0
        self._urls = 0
        self._further = 0

    def start_file(self) -> None:
        """Begin another source file: it may come from another machine, with other paths."""
        self._owners.clear()

    def columns(self, names: Sequence[str]) -> dict[str, Any]:
        """`image` for the first of the pictures: bytes or a path under the root, if it is there.

        Raises:
            ImageError: `bad_data_uri`, `too_large` or `ambiguous` (see `found`).
        """
        columns: dict[str, Any] = {}
        if len(names) > 1:
            self._further += 1
            columns[FURTHER_COLUMN] = [_INSIDE if is_data_uri(name) else name for name in names[1:]]
        first = names[0] if names else ""
        if first == REMOVED:
            self._removed += 1
        elif first.lower().startswith(_URLS):
            self._urls += 1
            columns[URL_COLUMN] = first
        elif first:
            columns["image"] = data_uri_bytes(first) if is_data_uri(first) else self.found(first)
        return columns

    def is_here(self, name: str) -> bool:
        """Whether there is such a file under the root."""
        try:
            return (self._root / name).is_file()
        except OSError:
            # Longer than a name may be, such as a picture in base64 in the place of its path.
            return False

    def found(self, path: str) -> str:
        """The longest tail of `path` that is a file under the root; its last step if none is.

        Results are moved without their pictures, and pictures from machine to machine: what stays
        is the end of the path.

        Raises:
            ImageError: `ambiguous`: in this file the tail already stands for another path.
        """
        steps = PurePosixPath(path.removeprefix("file://").replace("\\", "/")).parts
        if ".." in steps or "\0" in path or not steps:
            return path
        tails = ["/".join(steps[start:]) for start in range(len(steps))]
        inside = [tail for tail in tails if not tail.startswith("/")]
        name = next(filter(self.is_here, inside), None)
        if name is None or name == tails[0]:
            return name or steps[-1]
        owner = self._owners.setdefault(name, tails[0])
        if owner != tails[0]:
            both = f"{owner!r} and {tails[0]!r} would both be {name!r}"
            raise ImageError("ambiguous", f"{both}: give an image_root that has their folders")
        return name

    def notes(self) -> list[str]:
        """Sentences on what was counted."""
        counted = [
            (self._removed, "have a picture that wasn't logged"),
            (self._urls, "name their picture by URL, which is never fetched"),
            (self._further, f"have several pictures; the first counts, see {FURTHER_COLUMN}"),
        ]
        return [f"{count} rows {words}" for count, words in counted if count]


def picture_tail(path: str) -> str:
    r"""A picture's path from the data set's folder on, without the root it had on its machine.

    Example:
        >>> picture_tail("C:\\runs\\vlsbench\\imgs\\7.png")
        'imgs/7.png'
    """
    plain = path.replace("\\", "/")
    head, found, tail = plain.rpartition(_DATA_SET_FOLDER)
    if found and head[-1:] in ("", "/"):
        return f"{_DATA_SET_FOLDER}{tail}"
    windows = PureWindowsPath(plain)
    # An absolute path holds on one machine only; what is left of it elsewhere is the name.
    return windows.name if windows.root else plain
