import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.eval.clusters import scarcest


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 9))
def test_equal_clusters_are_counted_whole_whatever_their_weights_round_to(seed, clusters, size):
    # A bound at five clusters must not fall to a last digit that the order of the rows decides.
    generator = np.random.default_rng(seed)
    codes = np.repeat(np.arange(2 * clusters), size)
    weights = np.tile(generator.uniform(0.1, 9, size), 2 * clusters)
    positive = (codes < clusters).astype(float)
    order = generator.permutation(len(codes))
    assert scarcest(positive[order], codes=codes[order], weights=weights[order]) == clusters


def test_unequal_clusters_count_as_fewer():
    # Kish: (1 + 3)^2 / (1 + 9) positive clusters, against two equal ones without a positive.
    found = scarcest(np.r_[1.0, 1, 0, 0], codes=np.arange(4), weights=np.r_[1.0, 3, 2, 2])
    assert found == pytest.approx(1.6)


def test_without_weights_clusters_are_counted():
    codes = np.array([0, 0, 1, 1, 2, 2])
    assert scarcest(np.array([1.0, 0, 1, 0, 0, 0]), codes=codes) == 2
    assert scarcest(np.array([1.0, 1, 1, 1, 0, 0]), codes=codes) == 1
