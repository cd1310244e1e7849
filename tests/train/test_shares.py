"""Fitted shares against the shares that made the truth, and against a grid of all others."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from nsgauge.train.shares import LEAST, ROWS_NEEDED, fit_shares

CLASSES = 4


def drawn(rows: int, *, voices: int, seed: int = 0) -> np.ndarray:
    """Log-probabilities of independent voices."""
    said = np.random.default_rng(seed).normal(size=(voices, rows, CLASSES)) * 1.5
    return log_softmax(said, axis=2)


def pooled(voices: np.ndarray, weights) -> np.ndarray:
    return softmax(np.tensordot(weights, voices, axes=1), axis=1)


def test_the_shares_that_made_the_labels_are_found():
    voices = drawn(20_000, voices=3)
    shares = (0.6, 0.1, 0.3)
    generator = np.random.default_rng(1)
    # Twice the weights: the sum is for the calibrator to find.
    labels = [generator.choice(CLASSES, p=row) for row in pooled(voices, np.multiply(2, shares))]
    found = fit_shares(voices, truth=np.eye(CLASSES)[labels], given=(0.4, 0.3, 0.3))
    np.testing.assert_allclose(found, shares, atol=0.02)


def test_no_other_shares_lose_less_at_any_scale():
    voices = drawn(300, voices=3)
    truth = np.random.default_rng(2).dirichlet(np.ones(CLASSES), size=300)
    truth += 2 * pooled(voices, (0.2, 0.7, 0.1))
    truth /= truth.sum(axis=1, keepdims=True)

    def loss(shares) -> float:
        scales = np.linspace(0.05, 3, 60)
        return min(
            -float((truth * np.log(pooled(voices, np.multiply(scale, shares)))).sum())
            for scale in scales
        )

    found = fit_shares(voices, truth=truth, given=(0.4, 0.3, 0.3))
    grid = np.linspace(LEAST, 1, 21)
    others = [(a, b, 1 - a - b) for a, b in itertools.product(grid, grid) if 1 - a - b >= LEAST]
    assert len(others) > 150
    # Scales lie on a grid too, which costs the found ones a little.
    assert loss(found) <= min(map(loss, others)) + 0.02


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
def test_a_voice_that_contradicts_keeps_the_least_at_any_scale(scale):
    voices = drawn(5_000, voices=2)
    generator = np.random.default_rng(3)
    made = pooled(voices, (scale, -0.3 * scale))
    labels = [generator.choice(CLASSES, p=row) for row in made]
    found = fit_shares(voices, truth=np.eye(CLASSES)[labels], given=(0.5, 0.5))
    assert found == pytest.approx((1 - LEAST, LEAST), abs=1e-4)


def test_few_rows_leave_the_given_shares():
    voices = drawn(ROWS_NEEDED - 1, voices=2)
    truth = np.full((ROWS_NEEDED - 1, CLASSES), 1 / CLASSES)
    assert fit_shares(voices, truth=truth, given=(0.7, 0.3)) == (0.7, 0.3)


@given(seed=st.integers(0, 2**32 - 1), voices=st.integers(2, 4), sure=st.floats(0, 200))
@settings(max_examples=30, deadline=None)
def test_shares_are_shares_whatever_is_said(seed, voices, sure):
    """Also of voices that contradict the truth, or are surer than a float can tell."""
    generator = np.random.default_rng(seed)
    said = log_softmax(generator.normal(size=(voices, ROWS_NEEDED, CLASSES)) * sure, axis=2)
    truth = np.eye(CLASSES)[generator.integers(CLASSES, size=ROWS_NEEDED)]
    found = fit_shares(said.astype(np.float32), truth=truth, given=(1 / voices,) * voices)
    assert sum(found) == pytest.approx(1)
    assert min(found) >= LEAST - 1e-12
