"""The store of vectors: what is kept comes back whole, or not at all."""

import logging
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from nsgauge.eval.scoring import vector_store
from nsgauge.eval.scoring.vector_store import VectorStore


def digest(number: int) -> bytes:
    return sha256(str(number).encode()).digest()


def vector(number: int) -> np.ndarray:
    return np.full((2, 3), number, dtype=np.float32)


def same(found: np.ndarray | None, wanted: np.ndarray) -> bool:
    return found is not None and np.array_equal(found, wanted)


def filled(folder: Path | None, numbers: range, *, key: str = "k") -> VectorStore:
    store = VectorStore(folder, key=key)
    for number in numbers:
        store.keep(digest(number), vector=vector(number))
    store.flush()
    return store


def held(store: VectorStore, numbers: range) -> list[int]:
    """Those of the numbers whose vectors are kept; each must be its own."""
    found = {number: store.find(digest(number)) for number in numbers}
    for number, own in found.items():
        assert own is None or same(own, vector(number))
    return [number for number, own in found.items() if own is not None]


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_what_is_kept_is_found_by_this_run_and_the_next(tmp_path):
    assert held(filled(tmp_path, range(5)), range(7)) == [0, 1, 2, 3, 4]
    assert held(VectorStore(tmp_path, key="k"), range(7)) == [0, 1, 2, 3, 4]
    assert held(VectorStore(tmp_path, key="other"), range(7)) == []
    assert held(filled(None, range(5)), range(7)) == [0, 1, 2, 3, 4]


@given(st.lists(st.sampled_from([b"\0" * 8, b"\xff" * 8, b"same-beg"]), max_size=6))
def test_digests_that_begin_alike_are_told_apart(heads):
    store = VectorStore(None, key="k")
    index = [head + bytes([place]) * 24 for place, head in enumerate(heads)]
    for place, name in enumerate(index):
        store.keep(name, vector=vector(place))
    for place, name in enumerate(index):
        assert same(store.find(name), vector(place))


def test_digests_that_begin_alike_are_told_apart_on_disk(tmp_path):
    names = [b"same-beg" + bytes([place]) * 24 for place in range(4)]
    store = VectorStore(tmp_path, key="k")
    for place in (2, 0, 3):
        store.keep(names[place], vector=vector(place))
    store.flush()
    again = VectorStore(tmp_path, key="k")
    assert again.find(names[1]) is None
    assert all(same(again.find(names[place]), vector(place)) for place in (0, 2, 3))


def test_memory_is_bounded_and_the_oldest_goes_first(tmp_path):
    store = VectorStore(None, key="k", memory_bytes=4 * vector(0).nbytes)
    for number in range(10):
        store.keep(digest(number), vector=vector(number))
    assert held(store, range(10)) == [6, 7, 8, 9]
    kept = VectorStore(tmp_path, key="k", memory_bytes=4 * vector(0).nbytes)
    for number in range(10):
        kept.keep(digest(number), vector=vector(number))
    assert held(kept, range(10)) == list(range(10))


def test_vectors_lie_in_few_files(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_store, "VECTORS_PER_FILE", 8)
    monkeypatch.setattr(vector_store, "SMALL_FILES", 4)
    reader = VectorStore(tmp_path, key="k")
    for number in range(30):
        filled(tmp_path, range(number, number + 1))
    assert len(files(tmp_path)) < 12
    assert held(VectorStore(tmp_path, key="k"), range(40)) == list(range(30))
    # One that looked before the files were merged misses, and believes nothing wrong.
    assert held(reader, range(40)) == []


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _other_numbers(file: Path) -> None:
    content = load_file(file)
    save_file({**content, "vectors": np.full_like(content["vectors"], np.nan)}, file)


def _fewer_rows(file: Path) -> None:
    content = load_file(file)
    save_file({**content, "vectors": content["vectors"][:1].copy()}, file)


def _other_kind(file: Path) -> None:
    content = load_file(file)
    save_file({**content, "vectors": content["vectors"].astype(np.float64)}, file)


def _no_names(file: Path) -> None:
    save_file({"vectors": load_file(file)["vectors"]}, file)


@pytest.mark.parametrize(
    "spoil", [_cut, _flip, _empty, _other_numbers, _fewer_rows, _other_kind, _no_names]
)
def test_what_is_damaged_is_missed_and_made_anew(tmp_path, spoil):
    filled(tmp_path, range(2))
    (file,) = files(tmp_path)
    spoil(file)
    left = held(VectorStore(tmp_path, key="k"), range(2))
    assert len(left) < 2
    filled(tmp_path, range(2))
    assert held(VectorStore(tmp_path, key="k"), range(2)) == [0, 1]


def test_a_half_written_file_is_not_looked_at(tmp_path):
    filled(tmp_path, range(1))
    (file,) = files(tmp_path)
    file.rename(file.with_name(f".{file.stem}.1.part"))
    assert held(VectorStore(tmp_path, key="k"), range(1)) == []


def test_a_full_disk_costs_a_warning_and_nothing_else(tmp_path, monkeypatch, caplog):
    def full(_content, _path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(vector_store, "save_file", full)
    with caplog.at_level(logging.WARNING):
        store = filled(tmp_path, range(3))
    assert "No space left" in caplog.text
    assert held(store, range(3)) == [0, 1, 2]
    assert files(tmp_path) == []
