"""The cache of tokens: what it saves, what it tells apart, and what it survives."""

import shutil
from pathlib import Path

import pytest
import torch

from nsgauge.models.prediction import encode_tokens
from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.models.towers.transformer import TransformerShape
from nsgauge.train.token_cache import cached_tokens

WINDOWS = [
    Window((1, 2, 3), (0, 0, 1)),
    Window((4,), (0,)),
    Window((1, 2, 3), (0, 1, 1)),
    Window((9, 8, 7, 6, 5), (0, 0, 0, 0, 0)),
]


class CountingTower(TextTower):
    """Counts how often it reads."""

    reads = 0

    def tokens(self, packed: Packed) -> torch.Tensor:
        self.reads += 1
        return super().tokens(packed)


@pytest.fixture
def tower() -> CountingTower:
    shape = TextShape(
        transformer=TransformerShape(width=8, layers=1, heads=2, hidden=16),
        vocabulary=20,
        context=8,
        pooling="mean",
        embedding_norm=True,
        projection=None,
    )
    built = CountingTower(shape)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return built.eval()


def cached(tower: TextTower, *, cache: Path, windows: list[Window] = WINDOWS):
    return cached_tokens(tower, windows=windows, cache=cache, tokens_per_batch=100)


def test_a_second_training_doesnt_run_the_tower(tower, tmp_path):
    cache = tmp_path / "new" / "cache"
    first = cached(tower, cache=cache)
    assert tower.reads > 0
    read = tower.reads
    second = cached(tower, cache=cache, windows=WINDOWS[::-1])
    assert tower.reads == read
    assert len(list(cache.iterdir())) == 1
    fresh = encode_tokens(tower, windows=WINDOWS, tokens_per_batch=100)
    for found in (first, second):
        for asked in (WINDOWS, WINDOWS[2:], WINDOWS[::-1]):
            assert torch.equal(found.of(asked), fresh.of(asked))


def test_other_weights_and_other_windows_are_other_files(tower, tmp_path):
    cached(tower, cache=tmp_path)
    cached(tower, cache=tmp_path, windows=WINDOWS[:3])
    # The same ids, told apart by their segments alone.
    cached(tower, cache=tmp_path, windows=[*WINDOWS[:3], Window((9, 8, 7, 6, 5), (0, 0, 0, 0, 1))])
    assert len(list(tmp_path.iterdir())) == 3
    with torch.no_grad():
        tower.token_embedding.weight[0, 0] += 1e-6
    cached(tower, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    assert tower.reads == 4


@pytest.mark.parametrize("fault", ["cut", "garbage", "empty", "another size"])
def test_a_damaged_file_is_made_again(tower, tmp_path, fault):
    cached(tower, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    damaged = {"cut": content[: len(content) // 2], "garbage": b"tokens" * 99, "empty": b""}
    if fault == "another size":
        other = tmp_path / "other"
        cached(tower, cache=other, windows=WINDOWS[:2])
        (smaller,) = other.iterdir()
        damaged[fault] = smaller.read_bytes()
        shutil.rmtree(other)
    path.write_bytes(damaged[fault])
    read = tower.reads
    found = cached(tower, cache=tmp_path)
    assert tower.reads == read + 1
    assert path.read_bytes() == content
    fresh = encode_tokens(tower, windows=WINDOWS, tokens_per_batch=100)
    assert torch.equal(found.of(WINDOWS), fresh.of(WINDOWS))
