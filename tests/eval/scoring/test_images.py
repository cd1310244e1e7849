"""Image vectors: the same bytes in any company, and a cache that is never believed blindly."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nsgauge.eval.scoring.images import ImageVectors, in_order
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
        self.pictures = {f"d{index}": drawn[index] for index in range(count)}
        self.asked: list[str] = []

    def decode(self, digest: str):
        self.asked.append(digest)
        return self.pictures[digest]


@pytest.fixture
def source():
    return Source(20)


def vectors_in(folder: Path | None, *, key: str = "tower") -> ImageVectors:
    return ImageVectors(Means(), folder=folder, key=key)


def only_file(folder: Path) -> Path:
    (file,) = folder.rglob("*.safetensors")
    return file


def test_vectors_come_in_the_order_asked(source):
    order = ["d7", "d0", "d19", "d3"]
    found = vectors_in(None).of(order, decode=source.decode)
    expected = [source.pictures[digest].mean() / 255 for digest in order]
    np.testing.assert_allclose(found[:, 0, 0].numpy(), expected, rtol=1e-5)


def test_a_picture_is_encoded_once_in_a_run_and_never_again_with_a_cache(source, tmp_path):
    digests = list(source.pictures)
    cold = vectors_in(tmp_path)
    first = cold.of(digests, decode=source.decode)
    again = cold.of(digests[::-1], decode=source.decode).flip(0)
    cold.forget()
    recalled = cold.of(digests, decode=source.decode)
    warm = vectors_in(tmp_path).of(digests[5:9], decode=source.decode)
    assert source.asked == digests
    assert torch.equal(first, again)
    assert torch.equal(first, recalled)
    assert torch.equal(first[5:9], warm)


def test_the_company_a_picture_is_encoded_in_changes_no_byte_of_its_vector(bundle, tmp_path):
    tower, source = bundle.network.image_tower, Source(18, side=64)
    together = ImageVectors(tower, folder=tmp_path, key="k")
    expected = together.of(list(source.pictures), decode=source.decode)
    alone = ImageVectors(tower, folder=None, key="k")
    for place in (17, 0):
        found = alone.of([f"d{place}"], decode=source.decode)
        assert torch.equal(found[0], expected[place])
        assert torch.equal(alone.encoded(source.pictures[f"d{place}"]), expected[place])
    warm = ImageVectors(tower, folder=tmp_path, key="k")
    source.asked.clear()
    assert torch.equal(warm.of(list(source.pictures), decode=source.decode), expected)
    assert not source.asked


def test_the_cache_of_another_tower_is_not_used(source, tmp_path):
    vectors_in(tmp_path, key="one").of(["d0"], decode=source.decode)
    vectors_in(tmp_path, key="two").of(["d0"], decode=source.decode)
    assert source.asked == ["d0", "d0"]
    assert len(list(tmp_path.iterdir())) == 2


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _other_numbers(file: Path) -> None:
    rewritten(file, vectors=torch.full((2, 1, 2), torch.nan), digests=["d0", "d1"])


def _fewer_rows(file: Path) -> None:
    rewritten(file, vectors=torch.zeros(1, 1, 2), digests=["d0", "d1"])


def _flat(file: Path) -> None:
    rewritten(file, vectors=torch.zeros(2), digests=["d0", "d1"])


def _no_names(file: Path) -> None:
    rewritten(file, vectors=torch.zeros(2, 1, 2), digests=[["d0"], {"d1": 1}])


def _no_metadata(file: Path) -> None:
    save_file({"vectors": torch.zeros(2, 1, 2)}, file)


def rewritten(file: Path, *, vectors: Tensor, digests: list[object]) -> None:
    save_file({"vectors": vectors}, file, metadata={"digests": json.dumps(digests)})


@pytest.mark.parametrize(
    "spoil",
    [_cut, _flip, _empty, _other_numbers, _fewer_rows, _flat, _no_names, _no_metadata],
)
def test_a_damaged_cache_file_is_made_anew(source, tmp_path, spoil):
    expected = vectors_in(tmp_path).of(["d0", "d1"], decode=source.decode)
    spoil(only_file(tmp_path))
    found = vectors_in(tmp_path).of(["d0", "d1"], decode=source.decode)
    assert torch.equal(found, expected)
    assert source.asked == ["d0", "d1"] * 2
    assert torch.equal(load_file(only_file(tmp_path))["vectors"], expected)


def test_a_half_written_cache_file_is_not_looked_at(source, tmp_path):
    vectors_in(tmp_path).of(["d0"], decode=source.decode)
    file = only_file(tmp_path)
    file.rename(file.with_name(f".{file.stem}.1.part"))
    vectors_in(tmp_path).of(["d0"], decode=source.decode)
    assert source.asked == ["d0", "d0"]


def test_distinct_digests_keep_their_first_place():
    assert in_order(["b", None, "a", "b"]) == (["b", "a"], [0, -1, 1, 0])
    assert in_order([]) == ([], [])
