"""Image vectors: every distinct picture is decoded and encoded once, and kept between runs."""

import json
import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nsgauge.models.prediction import encode_images
from nsgauge.models.towers.image import ImageTower

Pixels = UInt8[np.ndarray, "3 side side"]
Vectors = Float[Tensor, "image_tokens image_width"]

IMAGES_PER_BATCH = 16
"""Every forward has exactly this many pictures: the vector of one can't depend on the others."""


class ImageVectors:
    """Vectors by the SHA-256 of a picture's bytes, for one image tower.

    Args:
        tower: With its adapters merged, in eval mode.
        folder: Where vectors are kept, a folder per tower; None keeps them in memory alone.
        key: Of everything that a vector depends on beside the picture's bytes.
    """

    def __init__(self, tower: ImageTower, *, folder: Path | None, key: str) -> None:
        self._tower = tower
        self._folder = None if folder is None else folder / sha256(key.encode()).hexdigest()[:32]
        self._kept: dict[str, Vectors] = {}
        self._files = self._index()

    def of(
        self, digests: Sequence[str], *, decode: Callable[[str], Pixels]
    ) -> Float[Tensor, "images image_tokens image_width"]:
        """Vectors of some pictures, in fp32 on the CPU.

        Args:
            digests: Distinct.
            decode: Pixels by digest, asked only of pictures that are new.
        """
        missing = [digest for digest in digests if not self._recall(digest)]
        pending = iter(missing)
        while chunk := list(islice(pending, IMAGES_PER_BATCH)):
            self._keep(chunk, vectors=self._encoded([decode(digest) for digest in chunk]))
        return torch.stack([self._kept[digest] for digest in digests])

    def encoded(self, pixels: Pixels) -> Vectors:
        """Vectors of one picture that isn't kept."""
        return self._encoded([pixels])[0]

    def forget(self) -> None:
        """Drop what is in memory; what is in the folder stays."""
        self._kept.clear()

    def _encoded(self, images: list[Pixels]) -> Tensor:
        batch = np.zeros((IMAGES_PER_BATCH, *images[0].shape), dtype=np.uint8)
        batch[: len(images)] = images
        return encode_images(self._tower, batches=[batch])[: len(images)]

    def _recall(self, digest: str) -> bool:
        if digest not in self._kept and digest in self._files:
            self._kept.update(_read(self._files[digest]) or {})
        return digest in self._kept

    def _keep(self, digests: Sequence[str], *, vectors: Tensor) -> None:
        self._kept.update(zip(digests, vectors, strict=True))
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        name = sha256(",".join(digests).encode()).hexdigest()[:32]
        target = self._folder / f"{name}.safetensors"
        part = self._folder / f".{name}.{os.getpid()}.part"
        whole = vectors.contiguous()
        notes = {"digests": json.dumps(list(digests)), "sha256": _checksum(whole)}
        save_file({"vectors": whole}, part, metadata=notes)
        part.replace(target)
        self._files.update(dict.fromkeys(digests, target))

    def _index(self) -> dict[str, Path]:
        if self._folder is None or not self._folder.is_dir():
            return {}
        found: dict[str, Path] = {}
        for file in sorted(self._folder.glob("*.safetensors")):
            found.update(dict.fromkeys(_digests(file), file))
        return found


def _digests(file: Path) -> list[str]:
    """The pictures that a file of the cache holds; none if it is damaged."""
    try:
        with safe_open(file, framework="pt") as content:
            digests = json.loads((content.metadata() or {}).get("digests", "[]"))
            rows = content.get_slice("vectors").get_shape()[0]
    except (SafetensorError, OSError, ValueError, KeyError, IndexError):
        return []
    texts = isinstance(digests, list) and all(isinstance(digest, str) for digest in digests)
    return digests if texts and len(digests) == rows else []


def _read(file: Path) -> dict[str, Vectors]:
    """The vectors in a file of the cache; none if it was changed since it was written."""
    digests = _digests(file)
    if not digests:
        return {}
    with safe_open(file, framework="pt") as content:
        vectors = content.get_tensor("vectors")
        written = content.metadata().get("sha256")
    if vectors.dtype != torch.float32 or vectors.ndim != 3 or _checksum(vectors) != written:
        return {}
    return dict(zip(digests, vectors, strict=True))


def _checksum(vectors: Tensor) -> str:
    return sha256(vectors.numpy().tobytes()).hexdigest()


def in_order(wanted: Sequence[str | None]) -> tuple[list[str], list[int]]:
    """Distinct digests by first appearance, and for each row its place among them, or -1."""
    slots: dict[str, int] = {}
    for digest in wanted:
        if digest is not None:
            slots.setdefault(digest, len(slots))
    return list(slots), [-1 if digest is None else slots[digest] for digest in wanted]
