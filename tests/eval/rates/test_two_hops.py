import numpy as np
import pytest
import statsmodels.api as sm

from nsgauge.eval.rates import RateStatus, SimpleRandom, Stratified, Unequal, estimate_rates
from nsgauge.protocol import CELLS, RATES, Rate, rate_weights

UNSAFE = rate_weights(Rate.UNSAFE)


def estimated(judged, **options):
    return estimate_rates(judged, **options)


@pytest.fixture
def relayed(draw_world):
    """A pool whose judge slips; the first rows are judged, and the first of these labelled."""

    def build(seed, *, rows=1200, judged=500, human=100, slips=0.1):
        generator = np.random.default_rng(seed)
        world = draw_world(generator, items=rows, unsafe=0.3)
        said = world.cells.copy()
        slipped = generator.random(rows) < slips
        said[slipped] = np.eye(4)[generator.integers(0, 4, slipped.sum())]
        rank = np.arange(rows)[:, None]
        judge = np.where(rank < judged, said, np.nan)
        people = np.where(rank < human, world.cells, np.nan)
        return people, judge, world.probabilities, world.cells

    return build


def test_the_interval_is_the_one_of_the_formulas(relayed):
    people, judge, scores, _ = relayed(1)
    found = estimated(judge, scores=scores, design=SimpleRandom(), human=people)
    unsafe = found.rates[Rate.UNSAFE]
    f, j, h = scores @ UNSAFE, judge[:500] @ UNSAFE, people[:100] @ UNSAFE
    first = sm.OLS(j, sm.add_constant(f[:500])).fit().params
    at = np.array([1, f.mean(), first @ [1, f.mean()]])
    design = np.vstack([np.column_stack([np.ones(100), f[:100], j[:100]]), at, at])
    answers = np.append(h, [1, 0])
    extra = 1 - sm.OLS(h, design[:100]).fit().rsquared
    second = sm.WLS(answers, design, weights=[1.0] * 100 + [extra] * 2).fit().params
    centre = second @ at
    rest = answers - design @ second
    lines = np.column_stack([np.ones(102), design[:, 1]])
    whole = answers - lines @ (second[:2] + second[2] * first)
    judged = (1 - 500 / 1200) * (whole @ whole / 100) / 500
    asked = (1 - 100 / 500) * (rest @ rest / 99) / 102
    half = 1.98421695 * np.sqrt(judged + asked)
    assert (unsafe.low, unsafe.high) == pytest.approx((centre - half, centre + half), abs=1e-6)
    shares = (judged / (judged + asked), asked / (judged + asked))
    assert unsafe.hop_shares == pytest.approx(shares, abs=1e-6)
    assert (unsafe.judged, unsafe.human, unsafe.rows) == (500, 100, 1200)


def test_people_who_agree_with_the_judge_leave_the_judges_word(relayed):
    _, judge, scores, _ = relayed(2, judged=1200, slips=0)
    people = np.where(np.arange(1200)[:, None] < 100, judge, np.nan)
    table = estimated(judge, scores=scores, design=SimpleRandom(), human=people)
    assert list(table.cells.values()) == pytest.approx(judge.mean(axis=0), abs=1e-9)
    unsafe = table.rates[Rate.UNSAFE]
    assert unsafe.hop_shares == pytest.approx((0, 1))
    assert unsafe.labels_saved > 0.85


def test_people_who_labelled_all_that_was_judged_leave_one_hop(relayed):
    people, judge, scores, _ = relayed(3, human=500)
    both = estimated(judge, scores=scores, design=SimpleRandom(), human=people)
    alone = estimated(people, scores=scores, design=SimpleRandom())
    for rate in RATES:
        assert both.rates[rate].hop_shares == pytest.approx((1, 0))
        assert both.rates[rate].value == pytest.approx(alone.rates[rate].value, abs=0.01)
        width = both.rates[rate].high - both.rates[rate].low
        assert width == pytest.approx(alone.rates[rate].high - alone.rates[rate].low, rel=0.05)


def test_people_who_labelled_everything_are_a_census(relayed):
    people, judge, scores, cells = relayed(4, rows=90, judged=90, human=90)
    table = estimated(judge, scores=scores, design=SimpleRandom(), human=people)
    for rate in RATES:
        found = table.rates[rate]
        assert found.status is RateStatus.CENSUS
        assert found.low == found.high == pytest.approx((cells @ rate_weights(rate)).mean())


def test_two_hops_save_more_than_either(relayed):
    people, judge, scores, cells = relayed(5, judged=1200)
    unsafe = {
        name: estimated(judge, scores=given, design=SimpleRandom(), human=asked).rates
        for name, given, asked in (("judge", None, people), ("both", scores, people))
    }
    alone = estimated(people, scores=scores, design=SimpleRandom()).rates[Rate.UNSAFE]
    both = unsafe["both"][Rate.UNSAFE]
    assert both.labels_saved > unsafe["judge"][Rate.UNSAFE].labels_saved > alone.labels_saved > 0.2
    assert both.low <= (cells @ UNSAFE).mean() <= both.high


@pytest.mark.parametrize("judged", [500, 1200])
def test_a_judge_of_one_axis_helps_on_that_axis(relayed, judged):
    people, judge, _, _ = relayed(6, judged=judged)
    folded = np.column_stack([1 - judge @ UNSAFE, judge @ UNSAFE, *[0 * judge[:, 0]] * 2])
    found = estimated(folded, scores=None, design=SimpleRandom(), human=people).rates
    assert found[Rate.UNSAFE].labels_saved > 0.3
    assert found[Rate.NOT_GROUNDED].labels_saved < 0.2
    assert found[Rate.NOT_GROUNDED].low < 0.3 < found[Rate.NOT_GROUNDED].high


def test_any_first_draw_keeps_the_promises(relayed):
    people, judge, scores, cells = relayed(7)
    truth = (cells @ UNSAFE).mean()
    rows = np.arange(1200)
    for design in (
        Stratified(strata=rows % 2),
        Unequal(probability=np.full(1200, 500 / 1200)),
        SimpleRandom(items=rows // 4),
    ):
        table = estimated(judge, scores=scores, design=design, human=people)
        assert abs(sum(table.cells[cell] for cell in CELLS) - 1) <= 1e-12
        found = table.rates[Rate.UNSAFE]
        assert found.low < truth < found.high
        assert sum(found.hop_shares) == pytest.approx(1)
        assert found.low_joint < found.low < found.value < found.high < found.high_joint


def test_what_is_no_chain_is_refused(relayed):
    people, judge, scores, cells = relayed(8, rows=60, judged=30, human=10)
    options = {"scores": scores, "design": SimpleRandom()}
    with pytest.raises(ValueError, match="row 30: people labelled it and the judge didn't"):
        estimated(judge, human=np.where(np.arange(60)[:, None] < 40, cells, np.nan), **options)
    with pytest.raises(ValueError, match="no row has people's label"):
        estimated(judge, human=np.full_like(people, np.nan), **options)
    with pytest.raises(ValueError, match="50 rows of people's labels, 60 judged"):
        estimated(judge, human=people[:50], **options)
    few = estimated(judge, human=people, **options).rates[Rate.UNSAFE]
    assert few.status is RateStatus.INSUFFICIENT
