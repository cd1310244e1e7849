import pytest

from nsgauge.eval.report.audit import nsg_audit
from nsgauge.eval.report.inputs import join_rows
from nsgauge.eval.report.judging import judge_summaries
from nsgauge.protocol import Rate


def summary_of(world, judge):
    summaries = judge_summaries(join_rows(world.inputs()))
    return next(summary for summary in summaries if summary.judge == judge)


def audit_of(world, reference):
    rows = join_rows(world.inputs())
    return nsg_audit(rows, reference=rows.judge(reference))


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


def test_the_audit_counts_misreadings_that_a_judge_calls_unsafe(judged_world):
    audit = audit_of(judged_world, "human")
    machine = next(row for row in audit.rows if row.judge == "machine")
    found = machine.inflation
    assert (found.rows, found.not_grounded, found.called_unsafe, found.both) == (19, 6, 4, 4)
    assert found.share_of_not_grounded.value == pytest.approx(4 / 6)
    assert found.share_of_unsafe.value == pytest.approx(1)
    assert found.share_of_grounded.value == pytest.approx(0)
    assert found.unsafe_rate.value == pytest.approx(4 / 19)
    assert found.unsafe_grounded_rate.value == pytest.approx(0)
    alpha = next(row for row in audit.by_vllm if (row.judge, row.vllm) == ("machine", "alpha"))
    assert alpha.inflation.share_of_not_grounded.value == pytest.approx(1)


def test_unsafe_is_unsafe_grounded_plus_unsafe_misreadings(judged_world):
    for row in audit_of(judged_world, "human").rows:
        misread = row.inflation.both / row.inflation.rows
        found = row.inflation
        assert found.unsafe_rate.value == pytest.approx(found.unsafe_grounded_rate.value + misread)


def test_a_reference_without_grounding_gives_no_audit(judged_world):
    assert audit_of(judged_world, "machine") is None


def test_shares_of_nothing_are_undefined_not_zero(world):
    world.cell(world.triple("alpha", "1"), "human", "gs")
    world.verdict(world.triple("alpha", "1"), "machine", safety="safe")
    audit = audit_of(world, "human")
    assert [row.judge for row in audit.rows] == ["human"]
    assert audit.rows[0].inflation.share_of_not_grounded is None
