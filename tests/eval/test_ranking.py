import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nsgauge.eval.ranking import rank_agreement, rank_agreement_of_rows

RATES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=12)


@given(RATES)
def test_tau_and_rho_are_scipys_with_ties(pairs):
    ours, theirs = np.array(pairs).T / 6
    names = [f"vllm-{i}" for i in range(len(pairs))]
    found = rank_agreement(
        dict(zip(names, ours.tolist(), strict=True)),
        predicted=dict(zip(names, theirs.tolist(), strict=True)),
    )
    if len(set(ours)) == 1 or len(set(theirs)) == 1:
        assert (found.kendall, found.spearman) == (None, None)
        return
    assert found.kendall == pytest.approx(stats.kendalltau(ours, theirs).statistic, abs=1e-12)
    assert found.spearman == pytest.approx(stats.spearmanr(ours, theirs).statistic, abs=1e-12)


def test_only_vllms_that_both_rate_are_compared():
    found = rank_agreement({"a": 0.1, "b": 0.2, "c": 0.3}, predicted={"b": 0.2, "c": 0.3, "d": 0.4})
    assert (found.vllms, found.kendall, found.spearman) == (2, None, None)


def test_the_rates_of_rows_are_ranked_and_items_drawn_again():
    generator = np.random.default_rng(0)
    items, vllms = np.divmod(np.arange(200 * 6), 6)
    truth = generator.random(1200) < np.linspace(0.1, 0.6, 6)[vllms]
    noisy = np.where(generator.random(1200) < 0.85, truth, ~truth)
    found, again = (
        rank_agreement_of_rows(
            truth / 1.0, predicted=noisy / 1.0, vllms=vllms, items=items, seed=1, resamples=300
        )
        for _ in range(2)
    )
    ours = [float(truth[vllms == vllm].mean()) for vllm in range(6)]
    theirs = [float(noisy[vllms == vllm].mean()) for vllm in range(6)]
    assert found.vllms == 6
    assert found.kendall == pytest.approx(stats.kendalltau(ours, theirs).statistic)
    assert found.spearman == pytest.approx(stats.spearmanr(ours, theirs).statistic)
    assert found.kendall is not None
    assert found.kendall_low is not None
    assert found.kendall_high is not None
    assert -1 <= found.kendall_low <= found.kendall <= found.kendall_high <= 1
    assert found.kendall_high - found.kendall_low > 0.05
    assert found == again


def test_a_source_against_itself_is_in_perfect_order_in_every_draw():
    generator = np.random.default_rng(2)
    items, vllms = np.divmod(np.arange(100 * 4), 4)
    share = generator.random(400)
    found = rank_agreement_of_rows(
        share, predicted=share, vllms=vllms, items=items, seed=3, resamples=100
    )
    assert (found.kendall, found.kendall_low) == pytest.approx((1, 1))


def test_two_vllms_have_no_order_to_agree_on():
    share, vllms = np.array([0.1, 0.9, 0.4, 0.6]), np.array(["a", "b", "a", "b"])
    items = np.array([0, 0, 1, 1])
    found = rank_agreement_of_rows(share, predicted=share, vllms=vllms, items=items, seed=0)
    assert (found.vllms, found.kendall) == (2, None)
