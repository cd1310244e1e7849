import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nsgauge.models.towers.attention import packed_attention
from nsgauge.models.towers.packing import Packed, Run, Window, Windows
from nsgauge.models.towers.pair import Towers

LENGTHS = [7, 3, 3, 31, 1, 7, 2, 32, 3]


@torch.inference_mode()
@pytest.mark.parametrize("causal", [True, False])
def test_packed_equals_one_at_a_time_in_the_order_given(
    causal, build_towers, draw_windows, relative_difference
):
    tower = build_towers(causal=causal).text
    windows = draw_windows(LENGTHS)
    alone = torch.cat([tower(Packed.of([window])) for window in windows])
    together = tower(Packed.of(windows))
    assert relative_difference(together, reference=alone) <= 1e-5
    # All differ, so an order that was lost would show.
    assert torch.pdist(alone).min() > 1e-3


@torch.inference_mode()
def test_pocket_windows_packed_equal_one_at_a_time(
    pocket_towers: Towers, draw_windows, relative_difference
):
    windows = draw_windows([12, 5, 40, 5, 40, 256], vocabulary=30000)
    alone = torch.cat([pocket_towers.text(Packed.of([window])) for window in windows])
    together = pocket_towers.text(Packed.of(windows))
    assert relative_difference(together, reference=alone) <= 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("causal", [True, False])
def test_a_window_doesnt_see_its_neighbours(causal, build_towers, draw_windows):
    tower = build_towers(causal=causal).text
    windows = draw_windows(LENGTHS)
    before = tower(Packed.of(windows))
    changed = [*windows]
    changed[5] = draw_windows([7], seed=1)[0]
    after = tower(Packed.of(changed))
    others = [row for row in range(len(LENGTHS)) if row != 5]
    torch.testing.assert_close(after[others], before[others], rtol=0, atol=1e-6)
    assert (after[5] - before[5]).abs().max() > 1e-3


@torch.inference_mode()
def test_segments_count_for_a_tower_that_knows_them(build_towers):
    ids = (1, 2, 3, 4)
    flat, split = Window(ids, (0, 0, 0, 0)), Window(ids, (0, 0, 1, 1))
    bert, clip = build_towers().text, build_towers(causal=True).text
    first, second = bert(Packed.of([flat, split]))
    assert (first - second).abs().max() > 1e-3
    first, second = clip(Packed.of([flat, split]))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("causal", [True, False])
def test_attention_equals_a_masked_softmax_over_everything(causal):
    generator = torch.Generator().manual_seed(3)
    lengths = (2, 2, 5)
    query, key, value = (torch.randn(9, 2, 4, generator=generator) for _ in range(3))
    runs = (Run(0, 2, 2), Run(4, 1, 5))
    owner = torch.tensor([row for row, length in enumerate(lengths) for _ in range(length)])
    visible = owner[:, None] == owner[None, :]
    if causal:
        visible &= torch.ones(9, 9, dtype=torch.bool).tril()
    scores = torch.einsum("qhd,khd->hqk", query, key) / 2
    weights = scores.masked_fill(~visible, -torch.inf).softmax(dim=-1)
    wanted = torch.einsum("hqk,khd->qhd", weights, value)
    found = packed_attention(query, key=key, value=value, layout=runs, causal=causal)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_packing_keeps_every_token_and_the_way_back(lengths):
    windows = [
        Window(tuple(100 * row + token for token in range(length)), (row % 2,) * length)
        for row, length in enumerate(lengths)
    ]
    packed = Packed.of(windows)
    assert list(packed.lengths) == sorted(lengths)
    bounds = np.cumsum([0, *packed.lengths])
    for row, window in enumerate(windows):
        place = int(packed.restore[row])
        stretch = slice(int(bounds[place]), int(bounds[place + 1]))
        assert tuple(packed.ids[stretch].tolist()) == window.ids
        assert tuple(packed.segments[stretch].tolist()) == window.segments
        assert packed.positions[stretch].tolist() == list(range(lengths[row]))
    covered = [
        (run.start + index * run.length, run.length)
        for run in packed.runs
        for index in range(run.count)
    ]
    assert covered == list(zip(bounds[:-1].tolist(), packed.lengths, strict=True))


@pytest.mark.parametrize("windows", [[], [Window((1,), (0,)), Window((), ())]])
def test_nothing_to_read_is_refused(windows):
    with pytest.raises(ValueError, match="at least one"):
        Packed.of(windows)


@given(st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(0, 4))))
def test_columns_hold_the_windows_and_keys_tell_them_apart(drawn):
    windows = [
        Window(tuple(ids), tuple(int(place >= edge) for place in range(len(ids))))
        for ids, edge in drawn
    ]
    columns = Windows.of(windows)
    assert [columns[index] for index in range(len(columns))] == windows
    keys = columns.keys()
    for window, key in zip(windows, keys, strict=True):
        same = [other == key for other in keys]
        assert same == [other == window for other in windows]


def test_a_second_text_in_pieces_is_refused():
    with pytest.raises(ValueError, match="in one stretch"):
        Windows.of([Window((1, 2, 3), (1, 0, 1))])
