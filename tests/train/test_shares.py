"""Fitted shares against the shares that made the truth, and against a grid of all others."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from scipy.special import log_softmax, softmax

from nsgauge.protocol import (
    CELLS,
    OBSERVATIONS,
    RATE_CELLS,
    Rate,
    Safety,
    observation_cells,
)
from nsgauge.train import shares as fitting
from nsgauge.train.loss import row_losses
from nsgauge.train.shares import LEAST, ROWS_NEEDED, Told

CLASSES = len(CELLS)


def fit_shares(voices: np.ndarray, *, truth: np.ndarray, given) -> tuple[float, ...]:
    """Of rows whose classes are all named."""
    masses = np.zeros((len(truth), len(OBSERVATIONS)))
    masses[:, :CLASSES] = truth
    return fitting.fit_shares(
        voices, named=truth, masses=masses, is_open=observation_cells(), given=given
    )


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


def partly_told(rows: int, *, seed: int = 0) -> Told:
    """A third of the rows name classes, a third name cells or an axis, a third one axis alone."""
    generator = np.random.default_rng(seed)
    named = generator.dirichlet(np.ones(CLASSES), size=rows)
    masses = generator.dirichlet(np.ones(len(OBSERVATIONS)), size=rows)
    kind = np.arange(rows) % 3
    named[kind > 0] = 0
    masses[kind == 2, :CLASSES] = 0
    masses /= masses.sum(axis=1, keepdims=True)
    return Told(named=named, masses=masses, is_open=observation_cells())


def test_the_loss_is_that_of_the_training():
    told, logs = partly_told(60), drawn(60, voices=1)[0]
    expected = row_losses(
        torch.from_numpy(logs),
        log_cells=torch.from_numpy(logs),
        masses=torch.from_numpy(told.masses),
        shares=torch.from_numpy(told.named),
    )
    assert told.loss(logs)[0] == pytest.approx(float(expected.sum()))


def test_the_loss_has_the_slope_that_it_says():
    told = partly_told(6)

    def lost(flat: np.ndarray) -> float:
        return told.loss(log_softmax(flat.reshape(6, CLASSES), axis=1))[0]

    def slope(flat: np.ndarray) -> np.ndarray:
        return told.loss(log_softmax(flat.reshape(6, CLASSES), axis=1))[1].ravel()

    start = np.random.default_rng(1).normal(size=6 * CLASSES)
    assert check_grad(lost, slope, start) < 1e-5


def test_what_the_teacher_left_open_moves_no_share():
    """A teacher of safety alone: a voice may say of grounding what it likes."""
    rows = 2_000
    generator = np.random.default_rng(4)
    unsafe = np.array([cell in RATE_CELLS[Rate.UNSAFE] for cell in CELLS])
    truth = generator.random(rows) < 0.4
    says = np.array([said for said, _ in OBSERVATIONS])
    masses = np.zeros((rows, len(OBSERVATIONS)))
    alone = [grounding is None for _, grounding in OBSERVATIONS]
    for row, positive in enumerate(truth):
        wanted = Safety.UNSAFE if positive else Safety.SAFE
        masses[row, np.flatnonzero((says == wanted) & alone)] = 1

    def voice(skill: float, *, loose: float) -> np.ndarray:
        logit = skill * (2 * truth - 1) + generator.normal(size=rows)
        free = loose * generator.normal(size=rows)
        within = log_softmax(np.stack([free, -free], axis=1), axis=1)
        said = np.empty((rows, CLASSES))
        said[:, ~unsafe] = -np.logaddexp(0, logit)[:, None] + within
        said[:, unsafe] = -np.logaddexp(0, -logit)[:, None] + within
        return said

    def shares(loose: float) -> tuple[float, ...]:
        generator.bit_generator.state = np.random.default_rng(5).bit_generator.state
        voices = np.stack([voice(1.0, loose=loose), voice(0.5, loose=0.0)])
        return fitting.fit_shares(
            voices,
            named=np.zeros((rows, CLASSES)),
            masses=masses,
            is_open=observation_cells(),
            given=(0.5, 0.5),
        )

    tight, loose = shares(0.0), shares(3.0)
    assert tight[0] > 0.6
    assert loose == pytest.approx(tight, abs=0.02)
