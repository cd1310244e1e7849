import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.models.stretches import balanced, gathered, places_within

TEXTS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), min_size=1, max_size=8)


@given(TEXTS, st.integers(1, 12))
def test_balanced_stretches_cover_everything_in_order_and_are_as_few_as_can_be(texts, most):
    lengths, capacities = np.array(texts).T
    found = balanced(lengths, capacity=capacities, most=most)
    assert found.texts.tolist() == sorted(found.texts.tolist())
    for text, (length, capacity) in enumerate(texts):
        own = found.texts == text
        starts, sizes = found.starts[own], found.lengths[own]
        assert found.ordinals[own].tolist() == list(range(own.sum()))
        assert sizes.max() - sizes.min() <= 1
        assert sizes.max() <= capacity
        assert starts.tolist() == [0, *np.cumsum(sizes)[:-1]]
        fewest = max(1, -(-length // capacity))
        assert own.sum() == min(fewest, most)
        assert found.cut[text] == (fewest > most)
        assert sizes.sum() == min(length, capacity * most)


def test_no_capacity_is_refused():
    with pytest.raises(ValueError, match="at least one token"):
        balanced(np.array([2]), capacity=np.array([0]), most=1)


@given(st.lists(st.integers(0, 9), max_size=20))
def test_places_count_up_within_each_group(counts):
    wanted = [place for count in counts for place in range(count)]
    assert places_within(np.array(counts, dtype=np.int64)).tolist() == wanted


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=20))
def test_pieces_lie_end_to_end(pieces):
    pool = np.arange(100, 130)
    starts, lengths = np.array(pieces, dtype=np.int64).reshape(-1, 2).T
    wanted = [int(token) for start, length in pieces for token in pool[start : start + length]]
    assert gathered(pool, starts=starts, lengths=lengths).tolist() == wanted
