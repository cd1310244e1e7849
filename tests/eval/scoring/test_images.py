"""Image vectors: one encoding a picture, and the same bytes in any company."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nsgauge.eval.scoring.images import ImageVectors, Pixels
from nsgauge.eval.scoring.vector_store import VectorStore
from nsgauge.models.towers.image import ImageTower, Normalisation

SIDE = 8


class Means(ImageTower):
    """One token: the picture's mean, and twice that."""

    def __init__(self) -> None:
        plain = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        super().__init__(plain, width=2, patch_grid=0)

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        means = pixels.mean(dim=(1, 2, 3))
        return torch.stack([means, means * 2], dim=1), pixels.new_zeros(len(pixels), 2, 1, 1)


class Source:
    """Pictures by digest, and which were asked for."""

    def __init__(self, count: int, side: int = SIDE) -> None:
        drawn = np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
        self.digests = [sha256(bytes([index])).hexdigest() for index in range(count)]
        self.pictures = dict(zip(self.digests, drawn, strict=True))
        self.asked: list[str] = []

    def decoded(self, paths: Mapping[str, str]) -> Iterator[tuple[str, Pixels | None]]:
        for digest, path in paths.items():
            self.asked.append(path)
            yield digest, self.pictures.get(digest)

    def vectors(self, images: ImageVectors, places: Sequence[int]) -> np.ndarray:
        """By place; a picture's path is its place."""
        wanted = {self.digests[place]: str(place) for place in places}
        found = images.of(wanted, decoded=self.decoded)
        return np.stack([found[self.digests[place]] for place in places])


@pytest.fixture
def source():
    return Source(20)


def vectors_in(folder: Path | None, *, key: str = "tower") -> ImageVectors:
    return ImageVectors(Means(), store=VectorStore(folder, key=key))


def test_every_picture_gets_its_own_vector(source):
    found = source.vectors(vectors_in(None), [7, 0, 19, 3])
    expected = [source.pictures[source.digests[place]].mean() / 255 for place in (7, 0, 19, 3)]
    np.testing.assert_allclose(found[:, 0, 0], expected, rtol=1e-5)


def test_a_picture_is_encoded_once_in_a_run_and_never_again_with_a_cache(source, tmp_path):
    cold = vectors_in(tmp_path)
    first = source.vectors(cold, range(20))
    again = source.vectors(cold, range(19, -1, -1))[::-1]
    cold.flush()
    warm = source.vectors(vectors_in(tmp_path), range(5, 9))
    assert source.asked == [str(place) for place in range(20)]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[5:9], warm)


def test_a_picture_that_cannot_be_decoded_has_no_vector(source):
    lost = sha256(b"lost").hexdigest()
    found = vectors_in(None).of({lost: "x", source.digests[0]: "0"}, decoded=source.decoded)
    assert list(found) == [source.digests[0]]


def test_the_company_a_picture_is_encoded_in_changes_no_byte_of_its_vector(bundle):
    tower, source = bundle.network.image_tower, Source(18, side=64)
    expected = source.vectors(ImageVectors(tower, store=VectorStore(None, key="k")), range(18))
    alone = ImageVectors(tower, store=VectorStore(None, key="k"))
    for place in (17, 0):
        np.testing.assert_array_equal(source.vectors(alone, [place])[0], expected[place])
        pixels = source.pictures[source.digests[place]]
        np.testing.assert_array_equal(alone.encoded(pixels), expected[place])
