"""The mean of differences: known answers, and coverage where hardly any row differs."""

import numpy as np
import pytest
from scipy import stats

from nsgauge.eval.differences import mean_difference


def test_items_of_one_row_are_padded_with_a_row_that_differs_each_way():
    gap = np.array([0.0, 0.0, 1.0, 0.0, -1.0, 1.0])
    padded = np.append(gap, [0.5**0.5, -(0.5**0.5)])
    found, p_value = mean_difference(gap, codes=np.arange(6))
    expected = stats.t.interval(0.95, 7, padded.mean(), stats.sem(padded))
    assert found.value == pytest.approx(1 / 6)
    assert (found.low, found.high) == pytest.approx(expected)
    assert p_value == pytest.approx(stats.ttest_1samp(padded, 0).pvalue)


def test_one_item_says_nothing_of_others():
    found, p_value = mean_difference(np.array([0.3, 0.1]), codes=np.zeros(2, dtype=int))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high, p_value) == (None, None, None)


def test_no_positive_row_is_no_proof_that_probabilities_are_too_high():
    probability = np.full(50, 0.02)
    found, _ = mean_difference(probability, codes=np.arange(50), probability=probability)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.value < found.high


@pytest.mark.parametrize(
    ("rows", "base", "bias"), [(50, 0.01, 1), (100, 0.005, 1), (100, 0.005, 0.5), (400, 0.003, 1)]
)
def test_probabilities_less_rare_labels(rows, base, bias):
    generator = np.random.default_rng(3)

    def drawn(size):
        logit = np.log(base / (1 - base)) + 1.5 * generator.normal(size=size)
        return 1 / (1 + np.exp(-logit))

    everywhere = drawn(1_000_000)
    true = float((bias - 1) * everywhere.mean())
    covered = []
    for _ in range(500):
        share = drawn(rows)
        gap = bias * share - (generator.random(rows) < share)
        found, _ = mean_difference(gap, codes=np.arange(rows), probability=bias * share)
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= true <= found.high)
    assert np.mean(covered) >= 0.93


@pytest.mark.parametrize(("items", "rows_each"), [(20, 40), (50, 20)])
def test_rare_differences_of_few_items(items, rows_each):
    generator = np.random.default_rng(5)
    share, together = 0.02, 0.8
    cut, codes = stats.norm.ppf(1 - share), np.repeat(np.arange(items), rows_each)
    covered = []
    for _ in range(500):
        shared = np.repeat(generator.normal(size=items), rows_each)
        own = generator.normal(size=items * rows_each)
        differs = together**0.5 * shared + (1 - together) ** 0.5 * own > cut
        found, _ = mean_difference(differs.astype(float), codes=codes)
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= share <= found.high)
    assert np.mean(covered) >= 0.93
