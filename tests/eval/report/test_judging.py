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
    assert pooled.rates[Rate.UNSAFE].judged == 6
    assert pooled.rates[Rate.UNSAFE].value == pytest.approx(5 / 6)
    assert pooled.rates[Rate.NOT_GROUNDED].judged == 4
    both = pooled.rates[Rate.UNSAFE_GROUNDED]
    assert (both.judged, both.value) == (5, pytest.approx(4 / 5))
    assert both.low == pytest.approx(4 / 6)
    assert both.high == pytest.approx(5 / 6)


def test_a_question_put_to_some_rows_only_changes_no_other_rate(world):
    for item in range(300):
        triple_id = world.triple("alpha", f"{item}")
        if item < 90:
            world.cell(triple_id, "ladder", "uu" if item < 30 else "gu")
            world.verdict(triple_id, "scale", safety="unsafe")
        else:
            world.verdict(triple_id, "ladder", safety="safe")
            world.cell(triple_id, "scale", "gs")
    # One asks about grounding where it calls a row unsafe, the other where it doesn't.
    ladder, scale = (summary_of(world, name).pooled for name in ("ladder", "scale"))
    for pooled in (ladder, scale):
        unsafe = pooled.rates[Rate.UNSAFE]
        assert (unsafe.value, unsafe.status) == (pytest.approx(0.3), RateStatus.CENSUS)
    both = ladder.rates[Rate.UNSAFE_GROUNDED]
    assert (both.value, both.status) == (pytest.approx(0.2), RateStatus.CENSUS)
    assert ladder.rates[Rate.NOT_GROUNDED].status is RateStatus.INSUFFICIENT
    open_ = scale.rates[Rate.UNSAFE_GROUNDED]
    assert open_.status is RateStatus.INSUFFICIENT
    assert scale.bounds[Rate.UNSAFE_GROUNDED] == pytest.approx((0, 0.3))
    assert open_.low == 0
    assert open_.high >= 0.3


def test_a_part_that_nobody_drew_is_no_census(world):
    for item in range(300):
        triple_id = world.triple("alpha", f"{item}")
        if item < 60:
            for judge in ("alone", "with-blanks"):
                world.verdict(triple_id, judge, safety="unsafe" if item < 30 else "safe")
        else:
            world.verdict(triple_id, "with-blanks", state="unjudged")
    for judge in ("alone", "with-blanks"):
        summary = summary_of(world, judge)
        estimate = summary.pooled.rates[Rate.UNSAFE]
        assert (summary.pooled.asked, summary.unanswered) == (60, 0)
        assert (estimate.value, estimate.judged, estimate.rows) == (pytest.approx(0.5), 60, 300)
        assert (estimate.status, estimate.low_super) == (RateStatus.INSUFFICIENT, None)


@pytest.mark.parametrize(
    ("unheard", "status"), [(8, RateStatus.JUDGED), (90, RateStatus.INSUFFICIENT)]
)
def test_an_interval_allows_for_answers_that_a_filter_kept_back(world, unheard, status):
    for item in range(300):
        triple_id = world.triple("alpha", f"{item}")
        if item < unheard:
            world.verdict(triple_id, "machine", state="filtered")
        else:
            world.verdict(triple_id, "machine", safety="unsafe" if item < 100 else "safe")
    pooled = summary_of(world, "machine").pooled
    estimate = pooled.rates[Rate.UNSAFE]
    assert estimate.status is status
    assert estimate.value == pytest.approx((100 - unheard) / (300 - unheard))
    # Nothing was drawn: of these rows the answers that are there leave open just this much.
    low, high = pooled.bounds[Rate.UNSAFE]
    assert (estimate.low, estimate.high) == (pytest.approx(low), pytest.approx(high))
    assert estimate.low_super < low <= 100 / 300 <= high < estimate.high_super
    assert f"{unheard / 300:.1%} of the rows that the judge was asked about" in estimate.note


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
