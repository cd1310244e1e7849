import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from nsgauge.eval.intervals import (
    bounded_rate,
    clopper_pearson,
    normal_quantile,
    t_quantile,
    wilson,
)

Z = normal_quantile(0.95)


def test_wilson_gives_newcombes_example():
    assert wilson(81, rows=263, quantile=Z) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@given(st.integers(1, 3000), st.data())
def test_both_intervals_agree_with_statsmodels(rows, data):
    positives = data.draw(st.integers(0, rows))
    theirs = proportion_confint(positives, rows, method="wilson")
    assert wilson(positives, rows=rows, quantile=Z) == pytest.approx(theirs, abs=1e-9)
    exact = proportion_confint(positives, rows, method="beta")
    ours = clopper_pearson(positives, rows=rows, confidence=0.95)
    assert ours == pytest.approx(exact, abs=1e-9)


@given(st.floats(0.5, 500), st.floats(0, 1))
def test_both_intervals_hold_the_share_and_reflect(rows, share):
    positives = share * rows
    for low, high in (
        wilson(positives, rows=rows, quantile=Z),
        clopper_pearson(positives, rows=rows, confidence=0.95),
    ):
        assert 0 <= low <= positives / rows + 1e-12
        assert positives / rows - 1e-12 <= high <= 1
        assert low < high
    mirrored = wilson(rows - positives, rows=rows, quantile=Z)
    low, high = wilson(positives, rows=rows, quantile=Z)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=1e-9)


def test_quantiles_are_the_ones_of_the_textbook():
    assert normal_quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert t_quantile(0.95, freedom=9) == pytest.approx(2.262157, abs=1e-6)


def test_missing_answers_move_a_rate_between_its_bounds():
    assert bounded_rate(3, answered=8, asked=10) == (0.3, 0.5)
    assert bounded_rate(0, answered=0, asked=4) == (0.0, 1.0)


@pytest.mark.parametrize(("positives", "answered", "asked"), [(3, 2, 4), (1, 5, 4), (0, 0, 0)])
def test_counts_that_do_not_nest_are_refused(positives, answered, asked):
    with pytest.raises(ValueError, match="positives <= answered <= asked"):
        bounded_rate(positives, answered=answered, asked=asked)


def test_impossible_counts_and_levels_are_refused():
    with pytest.raises(ValueError, match="got 5 of 4"):
        wilson(5, rows=4, quantile=Z)
    with pytest.raises(ValueError, match="got 0 of 0"):
        clopper_pearson(0, rows=0, confidence=0.95)
    with pytest.raises(ValueError, match="95% is"):
        normal_quantile(95.0)
