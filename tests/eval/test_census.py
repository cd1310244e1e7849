import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from nsgauge.eval.census import census_rates
from nsgauge.eval.rates import RateStatus
from nsgauge.protocol import Rate


def judge_rates(cells, *, clusters=None):
    return census_rates(cells, naive=None, clusters=clusters, confidence=0.95)


def judge_axis_rate(positive, *, rate=Rate.UNSAFE, clusters=None):
    """Of a judge of one axis: the other at its first value."""
    cells = np.zeros((len(positive), 4))
    cells[:, 2 if rate is Rate.NOT_GROUNDED else 1] = positive
    cells[:, 0] = 1 - cells.sum(axis=1)
    return judge_rates(cells, clusters=clusters).rates[rate]


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_a_judge_of_one_axis_gets_wilsons_interval_for_items_like_these(labels):
    positive = np.array(labels)
    found = judge_axis_rate(positive, rate=Rate.NOT_GROUNDED)
    expected = proportion_confint(positive.sum(), positive.size, method="wilson")
    assert (found.low_super, found.high_super) == pytest.approx(expected, abs=1e-9)
    assert found.value == found.low == found.high == positive.mean()
    assert found.positives == positive.sum()
    assert found.rate is Rate.NOT_GROUNDED
    assert found.status is RateStatus.CENSUS


def test_the_rates_of_a_judge_are_its_shares_of_cells():
    table = judge_rates(np.eye(4)[[0, 0, 1, 2, 3, 3, 3, 0]])
    values = [table.rates[rate].value for rate in Rate]
    assert values == [4 / 8, 4 / 8, 1 / 8]
    assert [table.rates[rate].positives for rate in Rate] == [4, 4, 1]


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.integers(2, 6))
def test_answers_that_repeat_an_item_add_no_knowledge(labels, repeats):
    positive = np.repeat(np.array(labels), repeats)
    items = np.repeat(np.arange(len(labels)), repeats)
    found = judge_axis_rate(positive, clusters=items)
    alone = judge_axis_rate(np.array(labels))
    assert found.low_super is not None
    assert alone.low_super is not None
    assert found.high_super is not None
    assert alone.high_super is not None
    # Wider than one row an item, by Student's t, and by no more than a few items' worth.
    assert found.high_super - found.low_super >= (alone.high_super - alone.low_super) * 0.97
    assert found.low_super <= positive.mean() <= found.high_super


def test_the_interval_allows_for_clusters_in_any_order():
    generator = np.random.default_rng(0)
    items = np.repeat(np.arange(40), 5)
    positive = generator.random(40)[items] < generator.random(200)
    order = generator.permutation(200)
    straight = judge_axis_rate(positive, clusters=items)
    shuffled = judge_axis_rate(positive[order], clusters=items.astype(str)[order])
    assert straight.low_super == pytest.approx(shuffled.low_super)
    assert straight.high_super == pytest.approx(shuffled.high_super)


def test_all_rows_of_one_item_say_nothing_about_other_items():
    found = judge_axis_rate(np.array([True, False, True]), clusters=np.array(["a", "a", "a"]))
    assert found.value == pytest.approx(2 / 3)
    assert found.low_super is None
    assert "one item" in found.note


def test_no_answer_at_all_is_undefined():
    assert judge_axis_rate(np.empty(0, dtype=bool)).value is None


def test_vote_shares_are_taken():
    assert judge_axis_rate(np.array([0.2, 0.4, 0.6])).value == pytest.approx(0.4)
