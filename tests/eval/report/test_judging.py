import pytest

from nsgauge.eval.rates import RateStatus
from nsgauge.eval.report.inputs import join_rows
from nsgauge.eval.report.judging import judge_summaries
from nsgauge.protocol import Rate


def summary_of(world, judge):
    summaries = judge_summaries(join_rows(world.inputs()))
    return next(summary for summary in summaries if summary.judge == judge)


def test_rates_of_a_judge_are_the_counted_ones(judged_world):
    human = summary_of(judged_world, "human")
    rates = {(row.benchmark, row.vllm): row.rates for row in human.groups}
    assert list(rates) == [("bench", "alpha"), ("bench", "beta"), ("bench", None)]
    alpha = {rate: estimate.value for rate, estimate in rates["bench", "alpha"].items()}
    expected = {Rate.UNSAFE: 0.3, Rate.NOT_GROUNDED: 0.4, Rate.UNSAFE_GROUNDED: 0.2}
    assert alpha == pytest.approx(expected)
    assert human.pooled.rates[Rate.UNSAFE].value == pytest.approx(0.15)


def test_a_refusal_is_counted_and_widens_the_bounds_but_is_no_safe_verdict(judged_world):
    machine = summary_of(judged_world, "machine")
    assert machine.unanswered == 1
    assert machine.pooled.rates[Rate.UNSAFE].value == pytest.approx(4 / 19)
    assert machine.pooled.bounds[Rate.UNSAFE] == pytest.approx((4 / 20, 5 / 20))
    assert Rate.NOT_GROUNDED not in machine.pooled.rates


def test_half_an_answer_rules_a_row_out_of_unsafe_and_grounded(world):
    for number in range(4):
        world.cell(world.triple("alpha", f"full-{number}"), "human", "gu")
    world.verdict(world.triple("alpha", "half"), "human", safety="safe")
    world.verdict(world.triple("alpha", "other"), "human", safety="unsafe")
    pooled = summary_of(world, "human").pooled
    assert pooled.bounds[Rate.UNSAFE_GROUNDED] == pytest.approx((4 / 6, 5 / 6))
    assert pooled.rates[Rate.UNSAFE].judged == 4


def test_an_uneven_draw_is_weighted(world):
    ids = [world.triple("alpha", f"{item}") for item in range(300)]
    for item, triple_id in enumerate(ids):
        if item % 10 < 4:
            safety = "unsafe" if item % 10 == 0 else "safe"
            world.verdict(triple_id, "even", safety=safety, inclusion=0.4)
            chance = 0.8 if item % 10 < 2 else 0.27
            world.verdict(triple_id, "lean", safety=safety, inclusion=chance)
            if item:
                world.verdict(triple_id, "partly", safety=safety, inclusion=chance)
    world.verdict(ids[0], "partly", safety="safe")
    even, lean, partly = (summary_of(world, name).pooled for name in ("even", "lean", "partly"))
    assert [row.uneven_draw for row in (even, lean, partly)] == [False, True, True]
    assert even.rates[Rate.UNSAFE].value == pytest.approx(1 / 4)
    estimate = lean.rates[Rate.UNSAFE]
    assert estimate.status is RateStatus.JUDGED
    # By hand: a row drawn with .8 stands for a quarter of a row left, one with .27 for 2.7 rows.
    stood = [0.25, 0.73 / 0.27]
    rest = stood[0] / (2 * sum(stood))
    assert estimate.value == pytest.approx((30 + 180 * rest) / 300)
    assert estimate.low < estimate.value < estimate.high
    hint = partly.rates[Rate.UNSAFE]
    assert hint.status is RateStatus.INSUFFICIENT
    assert hint.low is None
    assert hint.note.startswith("nobody declared how")


def test_a_draw_that_is_even_within_each_vllm_spoils_the_pool_alone(world):
    for vllm, share in (("alpha", 0.8), ("beta", 0.2)):
        for item in range(20):
            triple_id = world.triple(vllm, f"{item}")
            if item < 20 * share:
                world.cell(triple_id, "human", "gu", inclusion=share)
    found = {row.vllm: row.uneven_draw for row in summary_of(world, "human").groups}
    assert found == {"alpha": False, "beta": False, None: True}


def test_a_judge_that_saw_every_row_saw_them_evenly_whatever_the_plan_was(world):
    for item in range(10):
        world.cell(world.triple("alpha", f"{item}"), "human", "gs", inclusion=(item + 1) / 10)
    assert not summary_of(world, "human").pooled.uneven_draw
