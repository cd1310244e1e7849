"""Guaranteed thresholds: the sequence of tests by hand, and the guarantee by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nsgauge.eval.guarantee import binomial_tail, guaranteed_threshold


def plainly(confidence, wrong, limit, failure=0.05):
    """The same search row by row, with scipy's binomial; how many rows it keeps."""
    order = np.argsort(-confidence, kind="stable")
    ranked, errors = confidence[order], np.cumsum(wrong[order])
    cuts = [k for k in range(1, len(ranked) + 1) if k == len(ranked) or ranked[k] < ranked[k - 1]]

    def first(spare):
        return next((k for k in cuts if stats.binom.cdf(spare, k, limit) <= failure), None)

    start = first(3)
    if start is None or start > len(ranked) / 2:
        start = first(0)
    kept = 0
    for k in cuts if start else []:
        if k < start:
            continue
        if stats.binom.cdf(errors[k - 1], k, limit) > failure:
            break
        kept = k
    return kept


@given(
    rows=st.integers(0, 120),
    steps=st.sampled_from([3, 20, 10_000]),
    rate=st.sampled_from([0.0, 0.03, 0.15]),
    limit=st.sampled_from([0.05, 0.1, 0.3]),
    seed=st.integers(0, 1000),
)
def test_the_search_equals_one_that_goes_row_by_row(rows, steps, rate, limit, seed):
    generator = np.random.default_rng(seed)
    confidence = generator.integers(0, steps, size=rows) / steps
    wrong = generator.random(rows) < 2 * rate * (1 - confidence)
    found = guaranteed_threshold(confidence, wrong=wrong, risk_limit=limit)
    assert found.kept == plainly(confidence, wrong, limit)
    assert found.rows == found.kept + found.escalated == rows
    if found.kept:
        assert (confidence >= found.confidence).sum() == found.kept
        assert wrong[confidence >= found.confidence].sum() == found.errors
        assert found.errors / found.kept <= limit
    else:
        assert found.confidence is None


def test_fifty_nine_rows_without_an_error_prove_five_percent_and_fifty_eight_do_not():
    # 0.95^58 = 0.0510, 0.95^59 = 0.0485.
    for rows, kept in ((58, 0), (59, 59)):
        confidence = np.linspace(1, 0.5, rows)
        found = guaranteed_threshold(confidence, wrong=np.zeros(rows, bool), risk_limit=0.05)
        assert found.kept == kept


def test_equal_confidences_are_kept_together_or_not_at_all():
    confidence = np.full(200, 0.8)
    wrong = np.arange(200) < 4
    kept = guaranteed_threshold(confidence, wrong=wrong, risk_limit=0.05)
    assert (kept.kept, kept.confidence) == (200, 0.8)
    none = guaranteed_threshold(confidence, wrong=np.arange(200) < 12, risk_limit=0.05)
    assert (none.kept, none.confidence) == (0, None)


def test_rows_of_one_item_prove_no_more_than_the_item():
    confidence = np.repeat(np.linspace(1, 0.5, 58), 6)
    wrong = np.zeros(58 * 6, bool)
    items = np.repeat(np.arange(58), 6)
    assert guaranteed_threshold(confidence, wrong=wrong, risk_limit=0.05).kept == 58 * 6
    clustered = guaranteed_threshold(confidence, wrong=wrong, risk_limit=0.05, clusters=items)
    assert clustered.kept == 0


@pytest.mark.parametrize(("items", "answers", "within"), [(400, 1, 0.0), (120, 5, 0.4)])
@pytest.mark.parametrize("shape", ["flat", "sure but wrong", "falling"])
def test_the_limit_is_broken_in_at_most_the_stated_share_of_runs(items, answers, within, shape):
    """Errors of rows with confidence u fall with a known probability, so the true risk is known."""
    limit, failure, runs = 0.1, 0.05, 500
    risk = {
        "flat": lambda u: np.full_like(u, limit + 0.001),
        "sure but wrong": lambda u: np.where(u > 0.8, limit + 0.02, 0.02),
        "falling": lambda u: 0.5 * (1 - u),
    }[shape]
    grid = risk(np.linspace(1, 0, 5001))
    true_risk = np.cumsum(grid) / np.arange(1, 5002)
    broken = 0
    ids = np.repeat(np.arange(items), answers)
    for seed in range(runs):
        generator = np.random.default_rng(seed)
        u = generator.random(len(ids))
        shared = np.sqrt(within) * generator.normal(size=items)[ids]
        own = np.sqrt(1 - within) * generator.normal(size=len(ids))
        wrong = stats.norm.cdf(shared + own) < risk(u)
        found = guaranteed_threshold(
            u, wrong=wrong, risk_limit=limit, failure=failure, clusters=ids
        )
        if found.confidence is not None:
            broken += true_risk[int((1 - found.confidence) * 5000)] > limit
    # Three standard errors of the simulation above the promise.
    assert broken / runs <= failure + 3 * np.sqrt(failure * (1 - failure) / runs)


def test_a_good_classifier_keeps_most_of_what_it_could():
    kept = []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        u = generator.random(1000)
        wrong = generator.random(1000) < 0.4 * (1 - u) ** 3
        kept.append(guaranteed_threshold(u, wrong=wrong, risk_limit=0.05).kept / 1000)
    # The true risk of keeping a share c is 0.1 c^3, which reaches the limit at c = 0.794.
    assert np.mean(kept) > 0.65


@given(rows=st.integers(1, 60), errors=st.integers(0, 60), share=st.sampled_from([0.05, 0.5, 0.9]))
def test_the_tail_is_the_binomials(rows, errors, share):
    found = binomial_tail(np.array([float(rows)]), errors=np.array([float(errors)]), share=share)
    assert found[0] == pytest.approx(stats.binom.cdf(errors, rows, share), abs=1e-12)


@pytest.mark.parametrize(("limit", "failure"), [(0.0, 0.05), (1.0, 0.05), (0.05, 0.0), (0.05, 1.0)])
def test_limits_that_mean_nothing_are_refused(limit, failure):
    with pytest.raises(ValueError, match="wanted risk_limit and failure"):
        guaranteed_threshold(
            np.array([0.5]), wrong=np.array([False]), risk_limit=limit, failure=failure
        )
