"""Towers whose forwards have a few shapes: the same tokens as ever, and nothing compiled twice."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch

from nsgauge.models.towers.attention import Offsets, attention_between, packed_attention
from nsgauge.models.towers.fixed import FixedTower, Room, takes_offsets
from nsgauge.models.towers.packing import Packed, Run
from nsgauge.models.towers.pair import Towers
from nsgauge.models.towers.text import TextTower
from nsgauge.models.towers.transformer import TransformerShape
from tests.models.towers.compiling import LLAMA, tower_of

LENGTHS = ([3, 7, 7, 20], [5], [9] * 4, [31, 2, 2, 2, 2, 2])
ROOM = Room(tokens=48, sequences=6)


@pytest.fixture
def llama() -> TextTower:
    return tower_of(LLAMA, mean=True)


@pytest.fixture(params=["clip", "bert", "llama", "telling"])
def tower(request, build_towers, llama) -> TextTower:
    if request.param == "llama":
        return cast("TextTower", llama)
    if request.param == "telling":
        return TextTower(replace(llama.shape, taken_after=1)).eval()
    towers: Towers = build_towers(causal=request.param == "clip")
    return towers.text


@torch.inference_mode()
def test_a_filled_forward_gives_each_window_what_it_is_given_without(
    tower, draw_windows, relative_difference
):
    fixed = FixedTower(tower, room=lambda _: ROOM, longest=32, compiled=None)
    for lengths in LENGTHS:
        packed = Packed.of(draw_windows(lengths))
        if tower.shape.taken_after is None:
            assert relative_difference(fixed(packed), reference=tower(packed)) <= 1e-5
        assert relative_difference(fixed.tokens(packed), reference=tower.tokens(packed)) <= 1e-5


def test_a_shape_is_compiled_once_and_changes_nothing():
    script = Path(__file__).with_name("compiling.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert all(tower["off"] <= 1e-5 for tower in found.values()), found
    # Four packs in one shape, then one in another.
    assert [found[name]["compilations"] for name in ("clip", "bert", "llama")] == [
        [1, 1, 1, 1, 2]
    ] * 3
    assert found["vit"]["compilations"] == [1]


@torch.inference_mode()
def test_what_the_room_doesnt_hold_is_read_all_the_same(tower, draw_windows, relative_difference):
    fixed = FixedTower(tower, room=lambda _: Room(tokens=4, sequences=1), longest=32, compiled=None)
    packed = Packed.of(draw_windows([3, 7, 7, 20]))
    assert relative_difference(fixed(packed), reference=tower(packed)) <= 1e-5


def test_a_tower_with_a_bias_of_distances_is_refused(llama):
    transformer = TransformerShape(width=16, layers=1, heads=2, hidden=8, distance_buckets=8)
    tower = TextTower(replace(llama.shape, transformer=transformer))
    assert not takes_offsets(tower)
    with pytest.raises(ValueError, match="bias of distances"):
        FixedTower(tower, room=lambda _: ROOM, longest=32, compiled=None)


@torch.inference_mode()
@pytest.mark.parametrize("causal", [True, False])
def test_attention_between_offsets_is_attention_within_runs(causal):
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(9, 2, 4, generator=generator) for _ in range(3))
    # Two of two, none, and five.
    bounds = torch.tensor([0, 2, 4, 4, 9, 9], dtype=torch.int32)
    found, wanted = (
        packed_attention(query, key=key, value=value, layout=layout, causal=causal)
        for layout in (Offsets(bounds, 5), (Run(0, 2, 2), Run(4, 1, 5)))
    )
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    arguments = (query, key, value, bounds, 5)
    torch.library.opcheck(attention_between, arguments, {"causal": causal})


@torch.inference_mode()
def test_a_window_longer_than_the_longest_is_refused(llama, draw_windows):
    fixed = FixedTower(llama, room=lambda _: ROOM, longest=8, compiled=None)
    with pytest.raises(ValueError, match="9 tokens, where 8 is the most"):
        fixed(Packed.of(draw_windows([3, 9])))


@torch.inference_mode()
def test_what_fills_the_room_is_laid_out_like_windows(llama, draw_windows, monkeypatch):
    fixed = FixedTower(llama, room=lambda _: ROOM, longest=10, compiled=None)
    seen = []
    plain = llama.read

    def watched(ids, **given):
        seen.append(given["layout"])
        return plain(ids, **given)

    monkeypatch.setattr(llama, "read", watched)
    fixed(Packed.of(draw_windows([3, 8])))
    # 37 of 48 tokens are free; six windows, and five that fill, are the most.
    assert seen[0].bounds.tolist() == [0, 3, 11, 21, 31, 41, 48, 48, 48, 48, 48, 48]
    assert seen[0].longest == 10


def test_offsets_take_no_bias():
    given = torch.zeros(2, 1, 4)
    with pytest.raises(ValueError, match="runs of equal lengths"):
        packed_attention(
            given,
            key=given,
            value=given,
            layout=Offsets(torch.tensor([0, 2]), 2),
            causal=False,
            bias=torch.zeros(1, 2, 2),
        )
