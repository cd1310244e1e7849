"""Calibration recovers what a simulation put in; thresholds equal a search over all cuts."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import f1_score, precision_score

from nsgauge.train.calibrate import ROWS_NEEDED, choose_threshold, fit_calibrator
from nsgauge.train.recipe import ThresholdTarget


def drawn(rows: int, *, scale: float, shift: np.ndarray, seed: int):
    """Logits, and labels drawn from softmax(scale * logits + shift)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (rows, 4)).astype(np.float32)
    cells = softmax(scale * logits.astype(np.float64) + shift, axis=1)
    labels = np.array([generator.choice(4, p=row) for row in cells])
    return logits, np.eye(8)[labels]


def test_an_overconfident_network_is_cooled_to_the_true_temperature():
    logits, masses = drawn(6000, scale=0.4, shift=np.zeros(4), seed=0)
    fit = fit_calibrator(logits, masses=masses, generator=np.random.default_rng(0))
    assert fit.calibrator.scale == pytest.approx(0.4, abs=0.03)
    assert fit.losses["temperature"] < fit.losses["identity"]


def test_a_shifted_network_gets_its_shift_back():
    shift = np.array([1.0, -1.0, 0.5, -0.5])
    logits, masses = drawn(6000, scale=1.0, shift=shift, seed=1)
    fit = fit_calibrator(logits, masses=masses, generator=np.random.default_rng(0))
    assert fit.calibrator.method == "bias_corrected"
    found = np.array(fit.calibrator.shift)
    np.testing.assert_allclose(found - found.mean(), shift - shift.mean(), atol=0.12)


def test_a_calibrated_network_is_left_nearly_alone():
    logits, masses = drawn(4000, scale=1.0, shift=np.zeros(4), seed=2)
    fit = fit_calibrator(logits, masses=masses, generator=np.random.default_rng(0))
    assert fit.calibrator.scale == pytest.approx(1.0, abs=0.06)


def test_too_few_rows_calibrate_nothing():
    logits, masses = drawn(ROWS_NEEDED - 1, scale=0.2, shift=np.zeros(4), seed=3)
    fit = fit_calibrator(logits, masses=masses, generator=np.random.default_rng(0))
    assert fit.calibrator.method == "identity"
    assert fit.losses == {}


labelled = st.lists(
    st.tuples(st.integers(0, 20).map(lambda step: step / 20), st.booleans()),
    min_size=2,
    max_size=40,
)


@given(rows=labelled)
def test_the_f1_threshold_is_the_best_of_all_cuts(rows):
    probability = np.array([row[0] for row in rows])
    positive = np.array([row[1] for row in rows])
    assume(positive.any() and not positive.all())
    chosen = choose_threshold(probability, positive=positive, target=ThresholdTarget())
    best = max(f1_score(positive, probability >= cut) for cut in np.unique(probability))
    assert f1_score(positive, probability >= chosen) == pytest.approx(best)


@given(rows=labelled, wanted=st.sampled_from([0.5, 0.8, 1.0]))
def test_the_precision_threshold_holds_its_precision_and_finds_the_most(rows, wanted):
    probability = np.array([row[0] for row in rows])
    positive = np.array([row[1] for row in rows])
    assume(positive.any() and not positive.all())
    target = ThresholdTarget(target="precision", precision=wanted)
    chosen = choose_threshold(probability, positive=positive, target=target)
    called = probability >= chosen
    reached = [
        int((probability >= cut).sum())
        for cut in np.unique(probability)
        if precision_score(positive, probability >= cut) >= wanted
    ]
    if reached:
        assert precision_score(positive, called) >= wanted
        assert called.sum() == max(reached)
    else:
        assert chosen == 1.0


@given(rows=labelled)
def test_the_equal_rates_threshold_calls_as_many_as_the_teacher_as_nearly_as_ties_allow(rows):
    probability = np.array([row[0] for row in rows])
    positive = np.array([row[1] for row in rows])
    assume(positive.any() and not positive.all())
    target = ThresholdTarget(target="equal_rates")
    chosen = choose_threshold(probability, positive=positive, target=target)
    off = abs(int((probability >= chosen).sum()) - int(positive.sum()))
    cuts = np.unique(probability)
    assert off == min(abs(int((probability >= cut).sum()) - int(positive.sum())) for cut in cuts)


def test_one_class_alone_leaves_the_threshold_at_one_half():
    target = ThresholdTarget()
    rows = np.array([0.1, 0.9])
    assert choose_threshold(rows, positive=np.array([True, True]), target=target) == 0.5
