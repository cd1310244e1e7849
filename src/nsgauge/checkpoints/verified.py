"""Reading a saved classifier's files: what is missing, damaged or hostile is one clear line."""

import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nsgauge.data.folders import file_digest
from nsgauge.errors import BundleError

MANIFEST_BYTES_LIMIT = 16 << 20
_FAULT_CHARACTERS_LIMIT = 400
# Weights, and the keys of a lexical channel.
_WEIGHT_TYPES = (torch.float32, torch.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedForm:
    """One form of a saved classifier, and the words of its errors.

    Attributes:
        manifest: Name of its JSON file.
        files: Names of the files that the manifest lists.
        key: Of the manifest's version.
        version: That is read here.
        title: What a version is a version of.
        noun: What is copied again where a file is damaged.
        maker: The command that makes it.
        again: How to make it anew.
    """

    manifest: str
    files: Sequence[str]
    key: str
    version: int
    title: str
    noun: str
    maker: str
    again: str


def read_content(path: Path, *, form: SavedForm) -> dict[str, Any]:
    """The manifest's content, of the version that is read here; not validated.

    Raises:
        BundleError: none there, too large, no JSON, or of another version.
    """
    file = path / form.manifest
    if not file.is_file():
        raise BundleError(f"{path}: no {form.manifest} there; expected {form.maker}")
    if file.stat().st_size > MANIFEST_BYTES_LIMIT:
        raise BundleError(f"{file}: over {MANIFEST_BYTES_LIMIT >> 20} MiB, that's no manifest")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file}: not valid JSON ({error})") from error
    found = content.get(form.key) if isinstance(content, dict) else None
    if found != form.version:
        raise BundleError(
            f"{file}: {form.title} {reprlib.repr(found)}, this version reads {form.version}: use "
            f"the nsgauge version that wrote it, or {form.again} again"
        )
    return dict(content)


def verify_files(path: Path, *, files: Mapping[str, str], form: SavedForm) -> None:
    """Check every file against the SHA-256 that the manifest has of it.

    Raises:
        BundleError: other files are listed than the form has, or one is missing or changed.
    """
    if sorted(files) != sorted(form.files):
        raise BundleError(f"{path}: lists {sorted(files)}, expected {sorted(form.files)}")
    for name, expected in files.items():
        file = path / name
        if not file.is_file():
            raise BundleError(f"{file}: missing; copy the whole {form.noun} again")
        found = file_digest(file)
        if found != expected:
            raise BundleError(
                f"{file}: SHA-256 is {found[:12]}, {form.manifest} says {expected[:12]}: "
                f"the file is damaged or was changed; copy the {form.noun} again"
            )


def read_weights(file: Path, *, form: SavedForm) -> dict[str, Tensor]:
    """The tensors of a safetensors file: finite fp32, and the int64 keys of lexical channels.

    Raises:
        BundleError: it can't be read, or holds anything else.
    """
    try:
        weights = load_file(file)
    except (SafetensorError, ValueError, OSError) as error:
        raise BundleError(f"{file}: weights can't be read ({error})") from error
    for name, tensor in weights.items():
        if tensor.dtype not in _WEIGHT_TYPES:
            raise BundleError(f"{file}: {name} is {tensor.dtype}, expected fp32 (keys: int64)")
        if not bool(torch.isfinite(tensor).all()):
            raise BundleError(f"{file}: {name} holds NaN or infinity; {form.again} again")
    return weights


def read_seen(file: Path) -> frozenset[str]:
    """Digests of the items and images that the classifier was made with.

    Raises:
        BundleError: no list of texts.
    """
    try:
        content = json.loads(file.read_text(encoding="ascii"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file}: not valid JSON ({error}); copy the bundle again") from error
    if not isinstance(content, list) or not all(isinstance(entry, str) for entry in content):
        raise BundleError(f"{file}: expected a list of digests")
    return frozenset(content)


def first_fault(error: ValidationError | RecursionError) -> str:
    """The first thing that doesn't validate, and where."""
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors()[0]
    return f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}"


def in_a_line(error: Exception) -> str:
    """What torch says of tensors that don't fit, which it lists one a line; cut short."""
    return " ".join(str(error).split())[:_FAULT_CHARACTERS_LIMIT]
