"""Pools of any values at all, with their judged rows first."""

from typing import NamedTuple

import numpy as np
import pytest


class AnyPool(NamedTuple):
    """Judged rows first; `judged` is NaN after them."""

    judged: np.ndarray
    scores: np.ndarray


@pytest.fixture(scope="session")
def any_pool():
    """Builds a pool from a seed: rows, judged rows, and how sharp the classifier is."""

    def build(seed, *, rows, judged, concentration=1.0):
        generator = np.random.default_rng(seed)
        common = generator.dirichlet(np.full(4, 0.5)) + 1e-3
        common /= common.sum()
        scores = generator.dirichlet(concentration * common + 1e-3, size=rows)
        labels = np.full((rows, 4), np.nan)
        labels[:judged] = np.eye(4)[generator.choice(4, p=common, size=judged)]
        return AnyPool(labels, scores)

    return build
