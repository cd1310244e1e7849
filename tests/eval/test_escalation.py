"""Risk against coverage: areas by hand and by brute force, and what must not change them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.errors import StatisticsError
from nsgauge.eval.escalation import risk_coverage, verdict_confidence

verdicts = st.lists(
    st.tuples(st.integers(0, 8).map(lambda step: step / 8), st.booleans()), min_size=1, max_size=25
)


def curve(confidence, wrong, **options):
    return risk_coverage(confidence, wrong=wrong, **({"seed": 0} | options))


def measured(rows, **options):
    confidence = np.array([row[0] for row in rows])
    return curve(confidence, np.array([row[1] for row in rows]), **options)


def brute_area(confidence, wrong):
    """The area by going through the rows one by one, ties averaged over many random orders."""
    generator = np.random.default_rng(0)
    areas = []
    for _ in range(400):
        order = np.lexsort((generator.random(len(wrong)), -confidence))
        areas.append(np.mean(np.cumsum(wrong[order]) / np.arange(1, len(wrong) + 1)))
    return np.mean(areas), np.std(areas) / 20


def test_the_area_of_four_rows_by_hand():
    found = measured([(0.9, False), (0.8, True), (0.7, False), (0.6, True)])
    # Risks of the 1, 2, 3 and 4 surest rows: 0, 1/2, 1/3, 1/2. In the best order: 0, 0, 1/3, 1/2.
    assert found.aurc.value == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.excess.value == pytest.approx((1 / 2) / 4)
    assert found.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert found.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert found.confidence.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert found.error_rate == 0.5


@given(rows=verdicts)
def test_the_area_is_the_mean_over_all_orders_of_equal_rows(rows):
    found = measured(rows)
    confidence, wrong = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    expected, error = brute_area(confidence, wrong)
    assert found.aurc.value == pytest.approx(expected, abs=6 * error + 1e-9)


@given(rows=verdicts, seed=st.integers(0, 5))
def test_order_doesnt_matter_and_the_excess_is_never_negative(rows, seed):
    found = measured(rows)
    shuffled = measured([rows[at] for at in np.random.default_rng(seed).permutation(len(rows))])
    assert shuffled.aurc == found.aurc
    assert shuffled.risk.tolist() == pytest.approx(found.risk.tolist())
    assert 0 <= found.excess.value <= found.aurc.value + 1e-12
    assert found.coverage[-1] == 1
    assert found.risk[-1] == pytest.approx(found.error_rate)


@given(rows=verdicts)
def test_a_perfect_order_has_no_excess(rows):
    found = measured([(0.0 if wrong else 1.0, wrong) for _, wrong in rows])
    assert found.excess.value == pytest.approx(0, abs=1e-12)


def test_a_constant_confidence_has_the_error_rate_as_its_area():
    found = measured([(0.7, at % 4 == 0) for at in range(40)], resamples=200)
    assert found.aurc.value == pytest.approx(0.25)
    assert len(found.coverage) == 1
    assert found.aurc.low is not None
    assert found.aurc.low < 0.25 < found.aurc.high


def test_many_rows_in_the_best_order_have_the_area_of_the_limit():
    # For many rows in perfect order the area tends to r + (1 - r) ln(1 - r), of Geifman et al.
    found = measured([(1 - at / 20_000, at >= 16_000) for at in range(20_000)], resamples=20)
    assert found.aurc.value == pytest.approx(0.2 + 0.8 * np.log(0.8), abs=1e-4)
    assert len(found.coverage) <= 200


def test_scarce_errors_have_no_interval():
    assert measured([(0.9, False)]).aurc == (0, None, None)
    few = measured([(at / 40, at < 4) for at in range(40)])
    enough = measured([(at / 40, at < 5) for at in range(40)])
    assert few.aurc.low is None
    assert enough.aurc.low is not None
    # Five wrong rows of one item are one draw.
    items = np.concatenate([np.zeros(5), np.arange(1, 36)])
    assert measured([(at / 40, at < 5) for at in range(40)], clusters=items).aurc.low is None


def test_intervals_hold_the_true_area_as_often_as_they_say():
    held, runs = 0, 120
    truth = curve(**world(200_000, seed=999), resamples=20).aurc.value
    for seed in range(runs):
        found = curve(**world(300, seed=seed), seed=seed, resamples=200).aurc
        held += found.low <= truth <= found.high
    assert held / runs > 0.88


def test_rows_of_an_item_drawn_together_widen_the_interval():
    confidence, wrong = world(150, seed=3).values()
    alone = curve(confidence, wrong).aurc
    six = curve(np.repeat(confidence, 6), np.repeat(wrong, 6)).aurc
    together = curve(
        np.repeat(confidence, 6), np.repeat(wrong, 6), clusters=np.repeat(np.arange(150), 6)
    ).aurc
    assert six.high - six.low < 0.6 * (alone.high - alone.low)
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.25)


def world(rows, *, seed):
    """Confidences, and errors that fall as often as they say."""
    generator = np.random.default_rng(seed)
    confidence = 0.5 + generator.beta(2, 1, size=rows) / 2
    return {"confidence": confidence, "wrong": generator.random(rows) > confidence}


def test_confidence_is_the_probability_of_the_verdict_itself():
    probability = np.array([0.9, 0.3, 0.3, 0.0])
    verdict = np.array([True, True, False, False])
    found = verdict_confidence(probability, verdict=verdict)
    assert found.tolist() == pytest.approx([0.9, 0.3, 0.7, 1.0])
    swapped = verdict_confidence(1 - probability, verdict=~verdict)
    assert swapped.tolist() == pytest.approx(found.tolist())
    with pytest.raises(ValueError, match="logits"):
        verdict_confidence(np.array([1.5]), verdict=np.array([True]))


def test_no_rows_and_too_few_resamples_are_refused():
    with pytest.raises(StatisticsError, match="risk is undefined"):
        risk_coverage(np.zeros(0), wrong=np.zeros(0, bool), seed=0)
    with pytest.raises(ValueError, match="at least 20"):
        measured([(0.5, True)], resamples=5)
