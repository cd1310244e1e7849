import dataclasses

import numpy as np
import pytest

from nsgauge.eval.rates import RateStatus
from nsgauge.eval.report.contents import build_report
from nsgauge.eval.report.drawings import report_figures
from nsgauge.eval.report.headline import Basis, headline_table
from nsgauge.eval.report.inputs import join_rows
from nsgauge.eval.report.page import render_page
from nsgauge.eval.report.page_words import page_words
from nsgauge.protocol import RATES, Rate


def headline_of(world, reference="human"):
    return headline_from(world.inputs(), reference=reference)


def headline_from(inputs, *, reference="human"):
    rows = joined(inputs)
    judge = rows.judge(reference) if reference else None
    found = headline_table(rows, scores=rows.scores, reference=judge)
    assert found is not None
    return found


def joined(inputs):
    return join_rows(inputs)


def test_a_census_shows_the_judge_and_the_classifier_with_their_difference(world):
    for item, (code, unsafe) in enumerate([("gs", 0.2), ("gu", 0.6), ("gs", 0.1), ("uu", 0.7)]):
        triple_id = world.triple("alpha", f"{item}")
        world.cell(triple_id, "human", code)
        world.score(triple_id, [1 - unsafe, unsafe, 0.0, 0.0])
    (row,) = headline_of(world).rows
    assert row.basis is Basis.CENSUS
    assert row.judge[Rate.UNSAFE].value == pytest.approx(0.5)
    assert row.naive[Rate.UNSAFE] == pytest.approx(0.4, abs=1e-6)
    gap = row.difference[Rate.UNSAFE]
    assert gap.value == pytest.approx(-0.1, abs=1e-6)
    # The probabilities' own spread, which is wider here than that of four rows and two.
    spread = (0.2 * 0.8 + 0.6 * 0.4 + 0.1 * 0.9 + 0.7 * 0.3) ** 0.5 / 4
    assert (gap.high - gap.low) / 2 == pytest.approx(2.570582 * spread, rel=1e-4)
    assert row.best is row.judge


@pytest.mark.parametrize(
    ("chance", "uneven", "weighted", "status"),
    [
        (0.5, False, False, RateStatus.JUDGED),
        (0.8, True, True, RateStatus.JUDGED),
        (None, True, False, RateStatus.INSUFFICIENT),
    ],
)
def test_corrected_rates_are_weighted_by_how_the_rows_were_drawn(
    simulated, chance, uneven, weighted, status
):
    world = simulated(200, judged_share=0.5, seen_share=0.0)
    for number, verdict in enumerate(world.verdicts):
        verdict["inclusion_probability"] = chance if number % 3 == 0 else 0.5
    found = headline_of(world)
    for row in found.rows:
        assert row.basis is Basis.CORRECTED
        assert (row.uneven_draw, row.weighted) == (uneven, weighted)
        assert {estimate.status for estimate in row.classifier.values()} == {status}
        assert (row.classifier[Rate.UNSAFE].low is None) is (status is RateStatus.INSUFFICIENT)
    assert found.checked_groups == (0 if status is RateStatus.INSUFFICIENT else 2)
    said = " ".join(page_words(build_report(world.inputs())).findings)
    assert ("drawn with unequal probabilities" in said) is uneven
    assert ("Rates are weighted for that" in said) is weighted


def test_rows_that_came_to_be_judged_nobody_knows_how_give_no_interval(simulated):
    world = simulated(200, judged_share=0.5, seen_share=0.0)
    for verdict in world.verdicts:
        verdict["inclusion_probability"] = None
    for row in headline_of(world).rows:
        for estimate in row.classifier.values():
            assert estimate.status is RateStatus.INSUFFICIENT
            assert (estimate.low, estimate.high_super) == (None, None)
            assert estimate.value is not None


def test_probabilities_of_another_pool_give_no_interval(simulated):
    world = simulated(200, judged_share=0.5, seen_share=0.0)
    for verdict in world.verdicts:
        verdict["inclusion_probability"] = 0.1
    estimate = headline_of(world).rows[-1].classifier[Rate.UNSAFE]
    assert estimate.low is None
    assert "of a pool of about" in estimate.note


def test_a_partly_judged_pool_is_corrected_towards_the_judge(simulated):
    world = simulated(400, judged_share=0.4, seen_share=0.0, seed=3)
    # The judge is drawn from the cells, then the scores are spoilt: only the judge knows.
    spoilt = [dict(row) for row in world.scores]
    for row in spoilt:
        row["grounded_safe"], row["grounded_unsafe"] = row["grounded_unsafe"], row["grounded_safe"]
    honest = np.array([[row["grounded_unsafe"], row["ungrounded_unsafe"]] for row in world.scores])
    truth = honest.sum(axis=1).mean()
    world.scores = spoilt
    total = headline_of(world).rows[-1]
    assert total.basis is Basis.CORRECTED
    assert abs(total.naive[Rate.UNSAFE] - truth) > 0.2
    estimate = total.classifier[Rate.UNSAFE]
    assert abs(estimate.value - truth) < 0.04
    assert estimate.low_super <= truth <= estimate.high_super
    assert estimate.judged + total.unjudged == estimate.rows


def test_estimates_of_the_three_rates_stay_additive(simulated):
    for row in headline_of(simulated(150, judged_share=0.6)).rows:
        estimates = {rate: row.classifier[rate].value for rate in RATES}
        assert estimates[Rate.UNSAFE] >= estimates[Rate.UNSAFE_GROUNDED] - 1e-12
        assert row.naive[Rate.UNSAFE] >= row.naive[Rate.UNSAFE_GROUNDED]


def test_without_any_verdict_the_classifier_speaks_unchecked(simulated):
    world = simulated(30, judged_share=0.0)
    headline = headline_of(world, reference=None)
    assert headline.reference is None
    assert {row.basis for row in headline.rows} == {Basis.UNCHECKED}
    assert all(row.classifier[Rate.UNSAFE].low is None for row in headline.rows)


def test_a_group_whose_rows_were_all_seen_says_nothing(simulated):
    world = simulated(10, seen_share=1.0)
    assert {row.basis for row in headline_of(world).rows} == {Basis.NO_UNSEEN}
    assert all(not row.classifier and not row.naive for row in headline_of(world).rows)


def test_a_judge_of_safety_alone_corrects_the_unsafe_rate_alone(simulated):
    world = simulated(200, judged_share=0.5, seen_share=0.0, seed=5)
    full = headline_of(world).rows[-1].classifier[Rate.UNSAFE]
    for verdict in world.verdicts:
        verdict["grounding"] = None
    headline = headline_of(world)
    assert headline.rates == (Rate.UNSAFE,)
    folded = headline.rows[-1].classifier[Rate.UNSAFE]
    assert (folded.low, folded.high) == pytest.approx((full.low, full.high), abs=0.01)
    assert folded.value == pytest.approx(full.value, abs=0.02)


def test_unscored_rows_are_counted_apart(simulated):
    world = simulated(20, seen_share=0.0)
    world.score(world.triple("alpha", "broken"), None)
    assert [row.unscored for row in headline_of(world).rows] == [1, 0, 1]


def test_the_order_of_rows_does_not_matter(simulated):
    world = simulated(80, judged_share=0.5)
    inputs = world.inputs()
    order = np.random.default_rng(1).permutation(inputs.scores.num_rows)
    shuffled = dataclasses.replace(inputs, scores=inputs.scores.take(order))
    assert headline_from(inputs) == headline_from(shuffled)


@pytest.mark.parametrize("judged", [False, True])
def test_rates_that_the_classifier_never_learned_are_not_told(simulated, judged):
    inputs = simulated(40).inputs(bundle={"unlearned": ["not_grounded"]})
    if not judged:
        inputs = dataclasses.replace(inputs, verdicts=inputs.verdicts.slice(0, 0))
    report = build_report(inputs)
    assert report.headline is not None
    assert report.headline.rates == (Rate.UNSAFE,)
    for row in report.headline.rows:
        assert set(row.best) == set(row.naive) == {Rate.UNSAFE}
    render_page(report, figures=report_figures(report))
    other = dataclasses.replace(inputs, bundle={"unlearned": ["unsafe", "not_grounded"]})
    assert build_report(other).headline is None
