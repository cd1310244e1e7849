"""Worlds with known rates, shared by the tests of the estimators."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats


class World(NamedTuple):
    """A pool: the judge's cells, calibrated probabilities of an AUROC of .9, and the item ids."""

    cells: np.ndarray
    probabilities: np.ndarray
    items: np.ndarray


DrawWorld = Callable[..., World]


@pytest.fixture(scope="session")
def draw_world() -> DrawWorld:
    return _draw_world


def _draw_world(
    generator: np.random.Generator,
    *,
    items: int,
    unsafe: float,
    not_grounded: float = 0.3,
    answers: int = 1,
    within: float = 0.0,
) -> World:
    """Items with `answers` rows each; `within` is the correlation of labels inside an item."""
    ids = np.repeat(np.arange(items), answers)
    first, ours = _axis(generator, rate=unsafe, ids=ids, within=within)
    second, theirs = _axis(generator, rate=not_grounded, ids=ids, within=within)
    products = [(1 - ours) * (1 - theirs), ours * (1 - theirs), (1 - ours) * theirs, ours * theirs]
    return World(np.eye(4)[first + 2 * second], np.stack(products, axis=1), ids)


def _axis(
    generator: np.random.Generator, *, rate: float, ids: np.ndarray, within: float
) -> tuple[np.ndarray, np.ndarray]:
    shares = np.full(ids.max() + 1, rate)
    if within:
        weight = (1 - within) / within
        shares = generator.beta(rate * weight, (1 - rate) * weight, size=len(shares))
    positive = (generator.random(len(ids)) < shares[ids]).astype(np.int64)
    distance = np.sqrt(2) * stats.norm.ppf(0.9)
    signal = generator.normal((positive - 0.5) * distance)
    return positive, 1 / (1 + np.exp(-(np.log(rate / (1 - rate)) + distance * signal)))
