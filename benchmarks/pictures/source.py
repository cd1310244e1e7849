"""Where the drawings come from: five packages of the npm registry, pinned and verified.

Nothing of them is part of this project. `fetch` has the ordinary client download each tarball,
checks its SHA-256, and copies the drawings out of it; no code of a package runs. Drawings and
licences, as the packages' own README and LICENSE files state them:

    noto      emoji-datasource-google 16.0.0    Noto Emoji of Google, Apache-2.0
    blob      emoji-datasource-google 3.0.0     Noto Emoji of 2016, another style, Apache-2.0
    twemoji   emoji-datasource-twitter 16.0.0   Twemoji, CC BY 4.0
    fluent    @lobehub/fluent-emoji-3d 1.1.0    Fluent Emoji of Microsoft, MIT
    emojione  emojione 2.2.7                    EmojiOne 2, CC BY 4.0 (provided by emojione.com)
"""

import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pictures.things import read_things
from nsgauge.data.folders import FolderKind, file_digest, new_folder
from nsgauge.errors import DataError

CAPTIONS = "captions.json"
MARKER = "pictures.json"
_BYTES_LIMIT = 2**20
"""A drawing has at most this many bytes; the largest that is wanted has 80 kB."""
_CATEGORIES = frozenset(
    {"Activities", "Animals & Nature", "Food & Drink", "Objects", "Travel & Places"}
)
_LEFT_OUT = frozenset({"time"})
"""Subcategories whose names a drawing hardly shows: twenty-four clock faces."""
_VARIATION = "-fe0f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One artist's drawings in the registry.

    Attributes:
        artist: Name of their folder.
        spec: Package and version.
        sha256: Of the tarball.
        folder: Where the drawings lie in it.
        suffix: Of their names.
    """

    artist: str
    spec: str
    sha256: str
    folder: str
    suffix: str


PACKAGES: tuple[Package, ...] = (
    Package(
        artist="noto",
        spec="emoji-datasource-google@16.0.0",
        sha256="fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
        folder="package/img/google/64/",
        suffix=".png",
    ),
    Package(
        artist="blob",
        spec="emoji-datasource-google@3.0.0",
        sha256="3247dd55dee7954d6d1d3d84b05759e49daf71cab5cccb4566940209679af66f",
        folder="package/img/google/64/",
        suffix=".png",
    ),
    Package(
        artist="twemoji",
        spec="emoji-datasource-twitter@16.0.0",
        sha256="f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
        folder="package/img/twitter/64/",
        suffix=".png",
    ),
    Package(
        artist="fluent",
        spec="@lobehub/fluent-emoji-3d@1.1.0",
        sha256="c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
        folder="package/assets/",
        suffix=".webp",
    ),
    Package(
        artist="emojione",
        spec="emojione@2.2.7",
        sha256="5fe002738e6e276f49ac37783799d2feab99a6131fdedccfa56569d745449ae5",
        folder="package/assets/png_128x128/",
        suffix=".png",
    ),
)
NAMES_FILE = "package/emoji.json"
"""In the first package: the Unicode name, short names and category of every code point."""

SOURCE_FOLDER = FolderKind(
    noun="picture source",
    marker=MARKER,
    key="packages",
    names=frozenset({MARKER, CAPTIONS, *(package.artist for package in PACKAGES)}),
)


def fetch(out: Path, *, overwrite: bool = False) -> None:
    """Download the packages (270 MB) and put their drawings and captions into `out`.

    Raises:
        DataError: `out` is taken, npm fails, or a tarball isn't the one that was pinned.
    """
    with (
        tempfile.TemporaryDirectory() as scratch,
        new_folder(out, overwrite=overwrite, kind=SOURCE_FOLDER) as built,
    ):
        captions: dict[str, dict[str, Any]] = {}
        needed = {thing.code for thing in read_things()}
        for package in PACKAGES:
            tarball = packed(package, folder=Path(scratch) / package.artist)
            captions = captions or captions_of(tarball)
            unpack(tarball, package=package, codes={*captions, *needed}, out=built)
        (built / CAPTIONS).write_text(json.dumps(captions, indent=1) + "\n", encoding="utf-8")
        pinned = {package.spec: package.sha256 for package in PACKAGES}
        (built / MARKER).write_text(json.dumps({"packages": pinned}) + "\n", encoding="utf-8")


def packed(package: Package, *, folder: Path) -> Path:
    """The package's tarball, downloaded into `folder` and verified.

    Raises:
        DataError: npm isn't there or fails, or the SHA-256 is another.
    """
    folder.mkdir()
    command = ["npm", "pack", "--silent", "--ignore-scripts", package.spec]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise DataError("npm: no such command; install Node.js, which brings it") from error
    except subprocess.CalledProcessError as error:
        raise DataError(f"{' '.join(command)} failed: {error.stderr.strip()}") from error
    (tarball,) = folder.glob("*.tgz")
    found = file_digest(tarball)
    if found != package.sha256:
        raise DataError(f"{package.spec}: SHA-256 {found}, wanted {package.sha256}; don't use it")
    return tarball


def captions_of(tarball: Path) -> dict[str, dict[str, Any]]:
    """By code point, the name and short names of everything that may be captioned."""
    with tarfile.open(tarball) as archive:
        file = archive.extractfile(NAMES_FILE)
        if file is None:
            raise DataError(f"{tarball}: {NAMES_FILE} is no file")
        rows = json.load(file)
    return {
        plain_code(row["unified"]): {"name": row["name"].lower(), "short": row["short_names"]}
        for row in rows
        if row["category"] in _CATEGORIES and row["subcategory"] not in _LEFT_OUT
    }


def unpack(tarball: Path, *, package: Package, codes: set[str], out: Path) -> None:
    """Copy the wanted drawings to `out/ARTIST/CODE.SUFFIX`; nothing else is written."""
    target = out / package.artist
    target.mkdir()
    with tarfile.open(tarball) as archive:
        for code, member in _drawings(archive, package=package):
            file = archive.extractfile(member) if code in codes else None
            if file is not None:
                (target / f"{code}{package.suffix}").write_bytes(file.read())


def _drawings(
    archive: tarfile.TarFile, *, package: Package
) -> Iterator[tuple[str, tarfile.TarInfo]]:
    name = re.compile(f"{re.escape(package.folder)}([0-9a-f-]+){re.escape(package.suffix)}")
    for member in archive:
        found = name.fullmatch(member.name)
        if found and member.isfile() and member.size <= _BYTES_LIMIT:
            yield plain_code(found[1]), member


def plain_code(code: str) -> str:
    """Code points in lower case, without the selector that the artists' file names differ in.

    Example:
        >>> plain_code("1F577-FE0F")
        '1f577'
    """
    return code.lower().replace(_VARIATION, "")
