"""A classifier that learned from drawn rows, and rates that are checked with the rest of them."""

import numpy as np
import pytest

from nsgauge.eval.rates import RateStatus
from nsgauge.eval.report.headline import headline_table
from nsgauge.eval.report.inclusion import over_rounds
from nsgauge.eval.report.inputs import join_rows
from nsgauge.protocol import Rate

TEST_SHARE = 0.25


def pooled_unsafe(world):
    rows = join_rows(world.inputs())
    assert rows.scores is not None
    table = headline_table(rows, scores=rows.scores, reference=rows.judge("human"))
    assert table is not None
    return table.rows[-1].best[Rate.UNSAFE]


def learned_world(world, *, items, rows_each, chance, whole, generator):
    """Rows of a known rate, some judged; the classifier saw the items of most judged ones.

    Args:
        world: To fill.
        items: How many.
        rows_each: Rows an item.
        chance: By item, with what probability each of its rows, or it as a whole, is judged.
        whole: Whether items are drawn, not rows.
        generator: Of everything.
    """
    truth = []
    for item in range(items):
        risk = generator.beta(0.8, 2.5)
        taken = generator.random() < chance[item]
        rows = [taken if whole else generator.random() < chance[item] for _ in range(rows_each)]
        seen = any(rows) and generator.random() > TEST_SHARE
        for judged in rows:
            triple_id = world.triple("alpha", f"{item}")
            unsafe = bool(generator.random() < risk)
            if judged:
                said = "unsafe" if unsafe else "safe"
                world.verdict(triple_id, "human", safety=said, inclusion=float(chance[item]))
            world.score(triple_id, [1 - 0.7 * risk, 0.7 * risk, 0, 0], item_seen=seen)
            if not seen:
                truth.append(unsafe)
    return float(np.mean(truth))


@pytest.mark.parametrize(
    ("rows_each", "uneven", "whole"),
    [(1, False, False), (1, True, False), (3, True, False), (3, True, True)],
)
def test_the_rates_of_unseen_rows_hold(world, rows_each, uneven, whole):
    covered, errors = [], []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        for rows in (world.triples, world.verdicts, world.scores):
            rows.clear()
        items = 1500 if rows_each == 1 else 1000
        chance = np.full(items, 0.3)
        if uneven:
            chance = np.where(np.arange(items) % 2 == 0, 0.15, 0.5)
        true = learned_world(
            world, items=items, rows_each=rows_each, chance=chance, whole=whole, generator=generator
        )
        estimate = pooled_unsafe(world)
        assert estimate.status is RateStatus.JUDGED
        covered.append(estimate.low <= true <= estimate.high)
        errors.append(estimate.value - true)
    assert np.mean(covered) >= 0.85
    assert abs(np.mean(errors)) < 3 * np.std(errors) / len(errors) ** 0.5


def test_where_no_drawn_item_was_seen_the_draw_stays_as_it_is(world):
    for item in range(300):
        triple_id = world.triple("alpha", f"{item}")
        if item % 3 == 0:
            world.verdict(triple_id, "human", safety="safe", inclusion=1 / 3)
        world.score(triple_id, [0.7, 0.3, 0, 0], item_seen=False)
    estimate = pooled_unsafe(world)
    assert (estimate.status, estimate.judged, estimate.rows) == (RateStatus.JUDGED, 100, 300)


@pytest.mark.parametrize("uneven", [False, True])
def test_two_rounds_of_a_plan_are_certified_together(world, uneven):
    covered, errors, widths = [], [], []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        for rows in (world.triples, world.verdicts, world.scores):
            rows.clear()
        risk = generator.beta(0.8, 2.5, size=1200)
        unsafe = generator.random(1200) < risk
        later = np.where(risk > 0.2, 0.5, 0.1) if uneven else np.full(1200, 0.2)
        for item in range(1200):
            triple_id = world.triple("alpha", f"{item}")
            said = "unsafe" if unsafe[item] else "safe"
            if generator.random() < 0.1:
                world.verdict(triple_id, "human", safety=said, inclusion=0.1, round=1)
            elif generator.random() < later[item]:
                world.verdict(triple_id, "human", safety=said, inclusion=later[item], round=2)
            world.score(triple_id, [1 - risk[item] / 2, risk[item] / 2, 0, 0])
        estimate = pooled_unsafe(world)
        assert estimate.status is RateStatus.JUDGED
        assert estimate.low is not None
        assert estimate.high is not None
        covered.append(estimate.low <= unsafe.mean() <= estimate.high)
        errors.append(estimate.value - unsafe.mean())
        widths.append(estimate.high - estimate.low)
    assert np.mean(covered) >= 0.85
    assert abs(np.mean(errors)) < 3 * np.std(errors) / len(errors) ** 0.5
    assert np.mean(widths) < 0.12


def test_one_round_is_as_it_was_drawn():
    drawn = np.array([0.2, np.nan, 0.7])
    np.testing.assert_array_equal(over_rounds(drawn, round_=np.array([1, 1, 1])), drawn)
    rounds = over_rounds(np.array([0.2, np.nan, 0.25]), round_=np.array([1, 1, 2]))
    np.testing.assert_allclose(rounds, [0.4, np.nan, 0.4])
