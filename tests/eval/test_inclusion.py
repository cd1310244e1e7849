import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import chisquare

from nsgauge.eval.inclusion import (
    allocation,
    draw_keys,
    filled,
    simple_draw,
    systematic_draw,
    uncertainty_probabilities,
)

SEEDS = 4000
NAMES = [f"t{number}" for number in range(8)]
SHARE = st.floats(0, 1)
WEIGHT = st.floats(1e-3, 1e3)
BOUND = st.floats(0.1, 9)


def shares_of(draw):
    """Over the seeds, how often each unit was drawn, and each pair of units."""
    drawn = np.array([draw(seed) for seed in range(SEEDS)], dtype=float)
    return drawn.mean(axis=0), drawn.T @ drawn / SEEDS, drawn.sum(axis=1)


def within(found, expected):
    """Within five standard errors of a share."""
    expected = np.asarray(expected)
    allowed = 5 * np.sqrt(expected * (1 - expected) / SEEDS) + 1e-12
    return bool((np.abs(found - expected) <= allowed).all())


def test_keys_depend_on_name_and_salt_alone():
    keys = draw_keys(NAMES, salt="a")
    assert draw_keys(NAMES[::-1], salt="a").tolist() == keys[::-1].tolist()
    assert set(keys) & set(draw_keys(NAMES, salt="b")) == set()
    assert draw_keys([], salt="a").tolist() == []


def test_keys_are_spread_evenly():
    keys = draw_keys([f"{number}" for number in range(10_000)], salt="1")
    counts = np.bincount((keys >> np.uint64(61)).astype(np.int64), minlength=8)
    assert chisquare(counts).pvalue > 1e-4


def test_a_simple_draw_is_a_simple_random_sample():
    def draw(seed):
        return simple_draw(draw_keys(NAMES, salt=f"{seed}"), count=3)

    single, pairs, sizes = shares_of(draw)
    assert set(sizes) == {3}
    assert within(single, np.full(8, 3 / 8))
    assert within(pairs[np.triu_indices(8, 1)], np.full(28, 3 / 8 * 2 / 7))


def test_a_systematic_draw_keeps_to_its_probabilities_and_size():
    chances = np.array([1.0, 0.9, 0.5, 0.25, 0.2, 0.1, 0.05, 0.0])

    def draw(seed):
        keys = draw_keys(NAMES, salt=f"{seed}")
        start = int(draw_keys(["start"], salt=f"{seed}")[0]) / 2**64
        return systematic_draw(chances, keys=keys, start=start)

    single, _, sizes = shares_of(draw)
    assert set(sizes) == {3}
    assert within(single, chances)


def test_a_systematic_draw_by_hand():
    # On the line: .5 ends at .5, .7 at 1.2, .8 at 2; the points are .4 and 1.4.
    drawn = systematic_draw(
        np.array([0.8, 0.5, 0.7]), keys=np.array([9, 1, 5], dtype=np.uint64), start=0.4
    )
    assert drawn.tolist() == [True, True, False]


@given(bounds=st.lists(st.tuples(WEIGHT, SHARE, BOUND), min_size=1, max_size=12), share=SHARE)
def test_filled_shares_are_proportional_between_their_bounds(bounds, share):
    weights, parts, high = map(np.array, zip(*bounds, strict=True))
    low = parts * high
    total = round(low.sum() + share * (high - low).sum())
    assume(low.sum() <= total <= high.sum())
    shares = filled(weights, total=total, low=low, high=high)
    assert shares.sum() == pytest.approx(total, rel=1e-9)
    assert (shares >= low).all()
    assert (shares <= high).all()
    # A second way to the same: find t by bisection.
    top = float((high / weights).max())

    def excess(t):
        return float(np.clip(t * weights, low, high).sum()) - total

    if excess(0.0) < -1e-6 and excess(top) > 1e-6:
        t = brentq(excess, 0.0, top, xtol=1e-15, rtol=1e-14)
        assert np.clip(t * weights, low, high) == pytest.approx(shares, rel=1e-6, abs=1e-6)


def test_what_can_not_be_filled_is_refused():
    one = np.ones(2)
    with pytest.raises(ValueError, match=r"must lie in \[2, 4\], got 5"):
        filled(one, total=5, low=one, high=2 * one)
    with pytest.raises(ValueError, match="got 1"):
        filled(one, total=1, low=one, high=2 * one)
    with pytest.raises(ValueError, match="above 0"):
        filled(np.array([1.0, 0.0]), total=1, low=0 * one, high=one)


def test_probabilities_by_hand():
    # floor .2, N = 4, sum u = 1: weights .8 u + .05 = .77, .05 + .08 = .13, .05, .05 of total 2.
    # Twice .77 is above 1: it is certain, and 1 is left for .13 + .05 + .05 = .23.
    found = uncertainty_probabilities(np.array([0.9, 0.1, 0.0, 0.0]), total=2, floor=0.2)
    assert found == pytest.approx([1, 13 / 23, 5 / 23, 5 / 23])


@given(
    uncertainty=st.lists(st.floats(0, 0.5), max_size=30),
    share=st.floats(0, 1),
    floor=st.floats(0.01, 1),
)
def test_probabilities_sum_to_the_size_and_grow_with_uncertainty(uncertainty, share, floor):
    u = np.array(uncertainty, dtype=float)
    total = round(share * len(u))
    chances = uncertainty_probabilities(u, total=total, floor=floor)
    assert chances.sum() == pytest.approx(total, abs=1e-9)
    assert ((chances >= 0) & (chances <= 1)).all()
    assert (np.diff(chances[np.argsort(u)]) >= -1e-12).all()
    if total:
        assert (chances >= min(1.0, floor * total / len(u)) - 1e-9).all()


def test_a_classifier_that_is_sure_of_everything_gives_an_even_draw():
    assert uncertainty_probabilities(np.zeros(4), total=1, floor=0.2).tolist() == [0.25] * 4


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    share=st.floats(0, 1),
    minimum=st.integers(1, 5),
    equal=st.booleans(),
)
def test_an_allocation_sums_up_within_its_bounds(sizes, share, minimum, equal):
    sizes = np.array(sizes)
    least = np.minimum(minimum, sizes)
    total = int(least.sum() + np.floor(share * (sizes - least).sum()))
    weights = np.ones(len(sizes)) if equal else sizes.astype(float)
    counts = allocation(sizes, total=total, weights=weights, minimum=minimum)
    assert counts.sum() == total
    assert (counts >= least).all()
    assert (counts <= sizes).all()
    # Among strata that no bound holds, a larger weight never gets less, but for rounding.
    free = (counts > least) & (counts < sizes)
    ordered = counts[free][np.argsort(weights[free])]
    assert (np.diff(ordered) >= -1).all()


@pytest.mark.parametrize(
    ("sizes", "total", "minimum", "equal", "expected"),
    [
        ([100, 200, 700], 10, 1, False, [1, 2, 7]),
        ([100, 200, 700], 9, 1, True, [3, 3, 3]),
        ([1, 200, 700], 9, 2, True, [1, 4, 4]),
        ([1, 1, 98], 10, 2, False, [1, 1, 8]),
        ([5, 5], 10, 9, False, [5, 5]),
        ([3, 3, 3], 4, 1, False, [2, 1, 1]),
    ],
)
def test_allocations_by_hand(sizes, total, minimum, equal, expected):
    sizes = np.array(sizes)
    weights = np.ones(len(sizes)) if equal else sizes.astype(float)
    assert allocation(sizes, total=total, weights=weights, minimum=minimum).tolist() == expected
