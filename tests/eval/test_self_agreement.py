from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import fleiss_kappa

from nsgauge.eval.chance import gwet_ac1
from nsgauge.eval.self_agreement import self_agreement


def measured(votes, **options) -> Any:
    return self_agreement(votes, **options)


def test_flips_are_the_pairs_that_differ_averaged_over_triples():
    # Three votes 2:1 differ in 2 of 3 pairs, two votes 1:1 in all; a single vote tells nothing.
    found = measured(np.array([[2, 1], [1, 1], [4, 0], [0, 2], [1, 0], [0, 0]]))
    assert (found.triples, found.votes) == (4, 11)
    assert found.flip_rate.value == pytest.approx((2 / 3 + 1) / 4)
    share = (1 / 3 + 1 / 2 + 0 + 1) / 4
    differ = 2 * share * (1 - share)
    agreed = 1 - found.flip_rate.value
    assert found.kappa.value == pytest.approx((agreed - (1 - differ)) / differ)
    assert found.ac1.value == pytest.approx((agreed - differ) / (1 - differ))
    assert found.flip_rate.low < found.flip_rate.value < found.flip_rate.high


@given(rows=st.lists(st.integers(0, 3), min_size=2, max_size=40))
def test_kappa_is_that_of_statsmodels(rows):
    positives = np.array(rows)
    votes = np.stack([3 - positives, positives], axis=1)
    found = measured(votes)
    if positives.sum() in (0, 3 * len(rows)):
        assert found.kappa is None
    else:
        assert found.kappa.value == pytest.approx(fleiss_kappa(votes, method="fleiss"))


def test_with_two_votes_ac1_is_that_of_two_raters():
    draw = np.random.default_rng(0)
    first = draw.integers(2, size=80)
    second = np.where(draw.random(80) < 0.8, first, draw.integers(2, size=80))
    items = np.repeat(np.arange(40), 2)
    positives = first + second
    found = measured(np.stack([2 - positives, positives], axis=1), clusters=items)
    pair = gwet_ac1(first, predicted=second, categories=2, codes=items)
    assert found.ac1 == pytest.approx(pair)


@given(rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_swapping_the_classes_changes_nothing(rows):
    votes = np.array(rows)
    one, other = measured(votes), measured(votes[:, ::-1])
    if one is None:
        assert other is None
        return
    for measure in ("flip_rate", "kappa", "ac1"):
        ours, theirs = getattr(one, measure), getattr(other, measure)
        assert (ours is None) == (theirs is None)
        for end, same in zip(ours or (), theirs or (), strict=True):
            assert end is None if same is None else end == pytest.approx(same, abs=1e-9)
    low, high = one.flip_rate.low, one.flip_rate.high
    assert low is None or 0 <= low <= one.flip_rate.value <= high <= 1


def test_intervals_cover_the_truth_and_allow_for_items():
    draw = np.random.default_rng(1)
    covered = {"flip_rate": 0, "kappa": 0, "ac1": 0}
    chances = draw.beta(0.3, 0.7, size=200_000)
    flips, mean = float((2 * chances * (1 - chances)).mean()), float(chances.mean())
    differ = 2 * mean * (1 - mean)
    truth = {"flip_rate": flips, "kappa": 1 - flips / differ, "ac1": 1 - flips / (1 - differ)}
    for _ in range(300):
        # 60 items; the three triples of an item share its chance of a positive vote.
        items = np.repeat(np.arange(60), 3)
        chance = draw.choice(chances, size=60)[items]
        positives = draw.binomial(3, chance)
        found = measured(np.stack([3 - positives, positives], axis=1), clusters=items)
        for measure, value in truth.items():
            low, high = getattr(found, measure)[1:]
            covered[measure] += low <= value <= high
    assert all(count >= 0.92 * 300 for count in covered.values()), covered


def test_a_judge_that_never_wavers_still_has_an_interval():
    found = measured(np.array([[2, 0]] * 10 + [[0, 2]] * 10))
    assert found.flip_rate.value == 0
    assert 0.1 < found.flip_rate.high < 0.2
    assert found.kappa.value == found.ac1.value == 1
    assert found.kappa.low < 0.9


def test_one_vote_each_is_no_measured():
    assert measured(np.array([[1, 0], [0, 1], [0, 0]])) is None


def test_one_item_gives_values_without_intervals():
    found = measured(np.array([[2, 0], [1, 1]]), clusters=np.array([7, 7]))
    assert found.flip_rate == (0.5, None, None)
    assert found.ac1[1:] == (None, None)
