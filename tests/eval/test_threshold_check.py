"""Verdicts at a threshold: shares by hand, intervals and false alarms by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nsgauge.eval.intervals import Bounded
from nsgauge.eval.threshold_check import (
    Promise,
    Standing,
    effective_rows,
    holm,
    promise_p_value,
    standing_of,
    verdict_shares,
)


def measured(verdict, **options):
    return verdict_shares(verdict, **options)


def sides(hits, false_calls, misses, rest):
    """Verdicts and answers with these counts."""
    verdict = np.repeat([True, True, False, False], [hits, false_calls, misses, rest])
    positive = np.repeat([True, False, True, False], [hits, false_calls, misses, rest])
    return verdict, positive


def test_shares_by_hand():
    verdict, positive = sides(6, 2, 3, 9)
    found = measured(verdict, positive=positive)
    assert (found.rows, found.items, found.positives, found.called, found.hits) == (20, 20, 9, 8, 6)
    assert found.precision.value == pytest.approx(6 / 8)
    assert found.recall.value == pytest.approx(6 / 9)
    assert found.difference.value == pytest.approx(-1 / 20)


def test_the_difference_has_agresti_and_mins_interval():
    verdict, positive = sides(20, 14, 6, 60)
    found = measured(verdict, positive=positive).difference
    # Half a row more in each cell: b = 14.5, c = 6.5, n = 102.
    centre = 8 / 102
    error = np.sqrt((21 - 8**2 / 102) / 102**2)
    quantile = (found.high - found.low) / 2 / error
    assert (found.high + found.low) / 2 == pytest.approx(centre)
    assert quantile == pytest.approx(1.98, abs=0.02)


def test_shares_of_nothing_are_none():
    nobody = measured(*[np.zeros(0, bool)], positive=np.zeros(0, bool))
    assert (nobody.precision, nobody.recall, nobody.difference) == (None, None, None)
    quiet = measured(np.zeros(5, bool), positive=np.zeros(5, bool))
    assert (quiet.precision, quiet.recall) == (None, None)
    assert quiet.difference.low < 0 < quiet.difference.high
    one = measured(np.array([True]), positive=np.array([False]))
    assert one.difference == (1, None, None)
    for promise in Promise:
        empty = np.zeros(0, bool)
        assert promise_p_value(empty, positive=empty, promise=promise, wanted=0.9) is None


@given(counts=st.tuples(*[st.integers(0, 12)] * 4).filter(lambda counts: sum(counts) > 1))
def test_changing_sides_turns_the_difference_round_and_repeats_change_nothing(counts):
    verdict, positive = sides(*counts)
    found = measured(verdict, positive=positive)
    turned = measured(positive, positive=verdict)
    assert turned.difference.value == pytest.approx(-found.difference.value)
    assert turned.difference.low == pytest.approx(-found.difference.high)
    assert turned.precision == found.recall
    items = np.repeat(np.arange(len(verdict)), 3)
    thrice = measured(np.repeat(verdict, 3), positive=np.repeat(positive, 3), clusters=items)
    assert thrice.difference == pytest.approx(found.difference)
    low, value, high = found.difference.low, found.difference.value, found.difference.high
    assert -1 <= low <= value <= high <= 1
    assert low < high


@pytest.mark.parametrize(("items", "answers", "off"), [(60, 1, 0.05), (40, 5, 0.1), (200, 1, 0.2)])
def test_intervals_hold_the_true_difference_and_alarms_are_rare(items, answers, off):
    held, alarms, runs = 0, 0, 500
    ids = np.repeat(np.arange(items), answers)
    for seed in range(runs):
        generator = np.random.default_rng(seed)
        shared, own = generator.random(items)[ids], generator.random(len(ids))
        draw = np.where(generator.random(len(ids)) < 0.4, shared, own)
        verdict = (draw < off) | (draw > 0.8)
        positive = ((draw >= off) & (draw < 2 * off)) | (draw > 0.8)
        found = measured(verdict, positive=positive, clusters=ids).difference
        held += found.low <= 0 <= found.high
        p_value = promise_p_value(
            verdict, positive=positive, promise=Promise.RATE, wanted=0.0, clusters=ids
        )
        alarms += p_value is not None and p_value < 0.05
    assert held / runs > 0.925
    assert alarms == runs - held


def test_a_shortfall_is_tested_by_the_binomial():
    verdict, positive = sides(30, 20, 10, 40)
    precision = promise_p_value(verdict, positive=positive, promise=Promise.PRECISION, wanted=0.9)
    recall = promise_p_value(verdict, positive=positive, promise=Promise.RECALL, wanted=0.9)
    assert precision == pytest.approx(stats.binom.cdf(30, 50, 0.9))
    assert recall == pytest.approx(stats.binom.cdf(30, 40, 0.9))
    perfect = promise_p_value(verdict, positive=verdict, promise=Promise.PRECISION, wanted=1.0)
    broken = promise_p_value(verdict, positive=positive, promise=Promise.PRECISION, wanted=1.0)
    assert (perfect, broken) == (1, 0)


def test_effective_rows_lie_between_items_and_rows():
    items = np.repeat(np.arange(40), 5)
    generator = np.random.default_rng(0)
    alone = generator.random(200) < 0.4
    together = np.repeat(generator.random(40) < 0.4, 5)
    scarce = np.arange(200) < 3
    assert effective_rows(alone.astype(float), codes=items) > 120
    assert effective_rows(together.astype(float), codes=items) == pytest.approx(40, rel=0.1)
    assert effective_rows(scarce.astype(float), codes=items) == 40
    assert effective_rows(alone.astype(float), codes=np.arange(200)) == 200


@given(st.lists(st.integers(1, 400).map(lambda step: step / 400), max_size=8))
def test_holm_rejects_step_by_step(p_values):
    adjusted = holm(p_values)
    assert len(adjusted) == len(p_values)
    for level in (0.01, 0.051, 0.2, 0.6):
        rejected = set()
        # The smallest against level / m, the next against level / (m - 1), until one stands.
        for place, at in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[at] * (len(p_values) - place) >= level:
                break
            rejected.add(int(at))
        assert rejected == {at for at, value in enumerate(adjusted) if value < level}


@pytest.mark.parametrize(
    ("ends", "promise", "wanted", "adjusted", "standing"),
    [
        ((-0.05, 0.08), Promise.RATE, 0.0, 0.5, Standing.HOLDS),
        ((-0.05, 0.12), Promise.RATE, 0.0, 0.5, Standing.TOO_FEW),
        ((-0.12, 0.05), Promise.RATE, 0.0, 0.5, Standing.TOO_FEW),
        ((0.01, 0.05), Promise.RATE, 0.0, 0.01, Standing.FAILS),
        ((0.82, 0.99), Promise.PRECISION, 0.9, 1.0, Standing.HOLDS),
        ((0.70, 0.95), Promise.RECALL, 0.9, 0.3, Standing.TOO_FEW),
        ((0.50, 0.70), Promise.PRECISION, 0.9, 0.001, Standing.FAILS),
        ((None, None), Promise.RATE, 0.0, None, Standing.TOO_FEW),
    ],
)
def test_the_standing_follows_the_interval_and_the_test(ends, promise, wanted, adjusted, standing):
    share = Bounded(0.0, *ends)
    assert standing_of(share, promise=promise, wanted=wanted, adjusted=adjusted) is standing
    assert standing_of(None, promise=promise, wanted=wanted, adjusted=None) is Standing.TOO_FEW
