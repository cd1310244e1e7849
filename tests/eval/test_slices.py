"""Slices: by hand, by simulation, and against other implementations."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from nsgauge.eval.slices import adjust, range_p_value, slice_calibration


def calibrated(draw, *, rows, lean=0.0):
    probability = draw.beta(1, 4, rows)
    return probability, draw.random(rows) < np.clip(probability + lean, 0, 1)


def test_a_slice_counts_as_one_does_by_hand():
    probability = np.array([0.1, 0.4, 0.4, 0.9])
    positive = np.array([False, True, False, True])
    found = slice_calibration(probability, positive=positive, clusters=np.array([0, 0, 1, 1]))
    assert (found.rows, found.items) == (4, 2)
    assert found.difference.value == pytest.approx(0.45 - 0.5)
    # Running sums of probability less label: 0, .1, then -.1 after both rows of .4, then -.2.
    variance = 0.09 + 0.24 + 0.24 + 0.09
    assert found.ecce == pytest.approx(0.3 / variance**0.5)
    assert found.p_value is None
    assert found.detectable is None


def test_the_false_discovery_rate_is_that_of_statsmodels():
    draw = np.random.default_rng(3)
    slices = []
    for size in (10, 200, 300, 400, 500):
        probability, positive = calibrated(draw, rows=size, lean=0.05)
        slices.append(slice_calibration(probability, positive=positive))
    found = adjust(slices)
    tested = [entry for entry in found if entry.p_value is not None]
    assert len(tested) == 4
    for plain, adjusted in (("p_value", "adjusted"), ("ecce_p_value", "ecce_adjusted")):
        wanted = multipletests([getattr(entry, plain) for entry in tested], method="fdr_bh")[1]
        assert [getattr(entry, adjusted) for entry in tested] == pytest.approx(wanted, abs=1e-12)
    assert found[0].adjusted is None


def test_the_range_of_a_random_walk_has_the_stated_tail():
    steps = np.random.default_rng(0).standard_normal((2000, 2000)).astype(np.float32)
    walk = steps.cumsum(axis=1) / 2000**0.5
    spans = np.maximum(walk.max(axis=1), 0) - np.minimum(walk.min(axis=1), 0)
    for span in (1.0, 1.6, 2.24, 3.0):
        assert (spans > span).mean() == pytest.approx(range_p_value(span), abs=0.03)
    assert range_p_value(0.1) == 1.0


@pytest.mark.parametrize("per_item", [1, 4])
def test_calibrated_slices_are_seldom_called_off(per_item):
    draw, found = np.random.default_rng(5), []
    for _ in range(300):
        items = np.repeat(np.arange(60), per_item)
        probability = np.repeat(draw.beta(1, 4, 60), per_item)
        positive = np.repeat(draw.random(60) < probability[::per_item], per_item)
        found.append(slice_calibration(probability, positive=positive, clusters=items))
    for name in ("p_value", "ecce_p_value"):
        assert np.mean([getattr(entry, name) < 0.05 for entry in found]) <= 0.09, name


def test_a_difference_of_the_detectable_size_is_seen_in_four_cases_of_five():
    draw = np.random.default_rng(7)
    probability, positive = calibrated(draw, rows=500)
    lean = slice_calibration(probability, positive=positive).detectable
    assert lean is not None
    seen = []
    for _ in range(300):
        probability, positive = calibrated(draw, rows=500, lean=lean)
        entry = slice_calibration(probability, positive=positive)
        seen.append(entry.p_value is not None and entry.p_value < 0.05)
    assert np.mean(seen) == pytest.approx(0.8, abs=0.1)


def test_errors_that_cancel_are_seen_by_the_range_alone():
    probability = np.repeat([0.2, 0.8], 300)
    positive = np.resize([True, False], 600)
    found = slice_calibration(probability, positive=positive)
    assert found.p_value == pytest.approx(1.0)
    assert found.ecce_p_value is not None
    assert found.ecce_p_value < 1e-6


def test_a_slice_without_positives_is_never_exact():
    found = slice_calibration(np.full(100, 0.01), positive=np.zeros(100, dtype=bool))
    assert found.difference.low is not None
    assert found.difference.low < 0 < found.difference.value
    assert found.p_value is not None
    assert found.p_value > 0.2
    certain = slice_calibration(np.zeros(100), positive=np.zeros(100, dtype=bool))
    assert (certain.p_value, certain.ecce) == (None, None)


def test_empty_slices_and_logits_are_refused():
    with pytest.raises(ValueError, match="needs a row"):
        slice_calibration(np.zeros(0), positive=np.zeros(0, dtype=bool))
    with pytest.raises(ValueError, match="logits"):
        slice_calibration(np.array([2.5]), positive=np.array([True]))
