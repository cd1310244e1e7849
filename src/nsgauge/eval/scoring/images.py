"""Image vectors: every distinct picture is decoded and encoded once, and kept between runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nsgauge.eval.scoring.vector_store import VectorStore
from nsgauge.models.prediction import encode_images
from nsgauge.models.towers.image import ImageTower

Pixels = UInt8[np.ndarray, "3 side side"]

Decoded = Callable[[Mapping[str, str]], Iterator[tuple[str, Pixels | None]]]
"""From paths by digest to pixels by digest, in the same order; None for what can't be decoded."""


class ImageVectors:
    """Vectors by the SHA-256 of a picture's bytes, for one image tower.

    Args:
        tower: With its adapters merged, in eval mode.
        store: Where vectors are kept.
        per_forward: Every forward has exactly so many pictures: the vector of one can't depend on
            the others.
    """

    def __init__(self, tower: ImageTower, *, store: VectorStore, per_forward: int = 16) -> None:
        self._tower = tower
        self._store = store
        self._per_forward = per_forward

    def known(self, digests: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors that are kept already, of some pictures."""
        found = {digest: self._store.find(bytes.fromhex(digest)) for digest in digests}
        return {digest: vector for digest, vector in found.items() if vector is not None}

    def of(
        self, paths: Mapping[str, str], *, decoded: Decoded
    ) -> dict[str, Float[np.ndarray, "image_tokens image_width"]]:
        """Vectors of some pictures; those that can't be decoded are left out.

        Args:
            paths: By digest.
            decoded: Asked only of pictures that are new.
        """
        found = self.known(list(paths))
        new = {digest: path for digest, path in paths.items() if digest not in found}
        pending = ((digest, pixels) for digest, pixels in decoded(new) if pixels is not None)
        while chunk := list(islice(pending, self._per_forward)):
            vectors = self._encoded([pixels for _, pixels in chunk]).numpy()
            for (digest, _), vector in zip(chunk, vectors, strict=True):
                self._store.keep(bytes.fromhex(digest), vector=vector)
                found[digest] = vector
        return found

    def encoded(self, pixels: Pixels) -> Float[np.ndarray, "image_tokens image_width"]:
        """Vectors of one picture that isn't kept."""
        return self._encoded([pixels])[0].numpy()

    def flush(self) -> None:
        """Bring what is new to where it outlives the run."""
        self._store.flush()

    def _encoded(self, images: list[Pixels]) -> Tensor:
        batch = np.zeros((self._per_forward, *images[0].shape), dtype=np.uint8)
        batch[: len(images)] = images
        return torch.clone(encode_images(self._tower, batches=[batch])[: len(images)])
