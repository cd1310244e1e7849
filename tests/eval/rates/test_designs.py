import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsgauge.eval.rates import (
    RateStatus,
    SimpleRandom,
    Stratified,
    Undeclared,
    Unequal,
    estimate_rates,
)
from nsgauge.protocol import CELLS, RATES, Rate, rate_weights

ENDS = ("low", "high", "low_super", "high_super", "low_joint", "high_joint")


def estimated(judged, **options):
    return estimate_rates(judged, **options)


def numbers(table):
    return [getattr(table.rates[rate], name) for rate in RATES for name in ("value", *ENDS)]


def flat(rows):
    return np.full((rows, 4), 0.25)


def only(cells, known):
    return np.where(known[:, None], cells, np.nan)


@st.composite
def designs(draw, rows, judged):
    """A design under which the first rows may have been judged."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    items = draw(st.sampled_from([None, np.arange(rows) // 3, generator.integers(0, 9, rows)]))
    kind = draw(st.sampled_from(["simple", "strata", "unequal"]))
    if kind == "simple":
        return SimpleRandom(items=items)
    if kind == "unequal":
        share = np.clip(judged / rows * generator.uniform(0.9, 1.1, rows), 0.01, 1)
        return Unequal(probability=share, items=items)
    # Every stratum starts and ends with the same rows, so that each has judged ones.
    strata = np.concatenate([np.arange(judged) % 3, generator.integers(0, 3, rows - judged)])
    return Stratified(strata=strata.astype(str), items=items)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(10, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_every_design_keeps_the_promises(any_pool, data, judged, unjudged, seed):
    rows = judged + unjudged
    pool = any_pool(seed, rows=rows, judged=judged)
    design = data.draw(designs(rows, judged))
    table = estimated(pool.judged, scores=pool.scores, design=design)
    shares = np.array([table.cells[cell] for cell in CELLS])
    assert abs(shares.sum() - 1) <= 1e-12
    for rate in RATES:
        found = table.rates[rate]
        if found.low is None:
            assert found.status is RateStatus.INSUFFICIENT
            continue
        assert 0 <= found.low_joint <= found.low <= found.value <= found.high <= found.high_joint
        assert found.high_joint <= 1
        assert found.low_super_joint <= found.low_super <= found.value <= found.high_super
        assert found.low < found.high
        assert found.value == pytest.approx(float(shares @ rate_weights(rate)), abs=1e-12)
        assert 0 <= found.labels_saved < 1
    order = np.random.default_rng(seed).permutation(rows)
    moved = {
        name: getattr(design, name)[order]
        for name in ("items", "strata", "probability")
        if getattr(design, name, None) is not None
    }
    shuffled = estimated(
        pool.judged[order], scores=pool.scores[order], design=type(design)(**moved)
    )
    assert [v is None for v in numbers(shuffled)] == [v is None for v in numbers(table)]
    for ours, theirs in zip(numbers(shuffled), numbers(table), strict=True):
        assert ours is None or ours == pytest.approx(theirs, abs=1e-6)


def test_one_stratum_and_equal_probabilities_are_a_simple_draw(any_pool):
    pool = any_pool(4, rows=300, judged=80)
    plain = estimated(pool.judged, scores=pool.scores, design=SimpleRandom())
    for design in (
        Stratified(strata=np.zeros(300, dtype=int)),
        Unequal(probability=np.full(300, 80 / 300)),
    ):
        same = estimated(pool.judged, scores=pool.scores, design=design)
        assert numbers(same) == pytest.approx(numbers(plain), abs=1e-9)


def test_strata_are_weighed_by_their_size():
    # 10 of 100 rows and 40 of 60, of which 2 and 30 are unsafe: .2 and .75.
    strata = np.repeat(["a", "b"], [100, 60])
    known = np.r_[np.arange(100) < 10, np.arange(60) < 40]
    unsafe = np.r_[np.arange(100) < 2, np.arange(60) < 30].astype(int)
    judged = only(np.eye(4)[unsafe], known)
    found = estimated(judged, scores=None, design=Stratified(strata=strata))
    unsafe_rate = found.rates[Rate.UNSAFE]
    assert unsafe_rate.value == pytest.approx((100 * 0.2 + 60 * 0.75) / 160)
    assert unsafe_rate.judge_only == unsafe_rate.value
    assert unsafe_rate.naive is None


def test_the_stratified_variance_is_the_textbooks():
    generator = np.random.default_rng(3)
    sizes, drawn, shares = (6000, 3000, 1000), (900, 600, 500), (0.1, 0.4, 0.8)
    strata = np.repeat(np.arange(3), sizes)
    rank = np.concatenate([np.arange(size) for size in sizes])
    known = rank < np.repeat(drawn, sizes)
    unsafe = (generator.random(10_000) < np.repeat(shares, sizes)).astype(int)
    judged = only(np.eye(4)[unsafe], known)
    found = estimated(judged, scores=None, design=Stratified(strata=strata)).rates[Rate.UNSAFE]
    # Cochran 1977, equation 5.13.
    variance = sum(
        (size / 10_000) ** 2
        * (1 - count / size)
        * unsafe[known & (strata == k)].var(ddof=1)
        / count
        for k, (size, count) in enumerate(zip(sizes, drawn, strict=True))
    )
    assert found.high - found.low == pytest.approx(2 * 1.9612 * variance**0.5, rel=0.01)


def test_a_stratum_that_was_judged_whole_leaves_no_doubt():
    # Half the pool is known; the other half was judged in 30 of 100 rows.
    known = np.r_[np.full(100, True), np.arange(100) < 30]
    unsafe = np.r_[np.arange(100) % 2, np.arange(100) % 3 == 0].astype(int)
    judged = only(np.eye(4)[unsafe], known)
    both = estimated(
        judged, scores=None, design=Stratified(strata=np.repeat(["known", "drawn"], 100))
    ).rates[Rate.UNSAFE]
    alone = estimated(judged[100:], scores=None, design=SimpleRandom()).rates[Rate.UNSAFE]
    assert both.value == pytest.approx((0.5 + alone.value) / 2)
    assert both.high - both.low == pytest.approx((alone.high - alone.low) / 2, rel=0.05)


def test_unequal_probabilities_undo_a_draw_that_leans():
    generator = np.random.default_rng(8)
    truths, plain, weighted = [], [], []
    for _ in range(60):
        unsafe = generator.random(800) < 0.2
        chance = np.where(unsafe, 0.5, 0.15)
        known = generator.random(800) < chance
        judged = only(np.eye(4)[unsafe.astype(int)], known)
        table = estimated(judged, scores=None, design=Unequal(probability=chance))
        truths.append(unsafe.mean())
        plain.append(unsafe[known].mean())
        weighted.append(table.rates[Rate.UNSAFE].value)
    assert np.mean(plain) - np.mean(truths) > 0.2
    assert abs(np.mean(weighted) - np.mean(truths)) < 0.01


def test_a_row_that_was_certain_to_be_judged_speaks_for_itself_alone():
    probability = np.r_[np.ones(50), np.full(950, 0.2)]
    known = np.r_[np.full(50, True), np.arange(950) % 5 == 0]
    unsafe = np.r_[np.ones(50), np.zeros(950)].astype(int)
    judged = only(np.eye(4)[unsafe], known)
    table = estimated(judged, scores=None, design=Unequal(probability=probability))
    assert table.rates[Rate.UNSAFE].value == pytest.approx(0.05)


def test_nobody_knows_how_gives_a_point_and_no_interval(any_pool):
    pool = any_pool(1, rows=400, judged=200)
    table = estimated(pool.judged, scores=pool.scores, design=Undeclared())
    for found in table.rates.values():
        assert found.status is RateStatus.INSUFFICIENT
        assert found.value is not None
        assert found.low is found.high is found.low_super is found.effective is None
        assert "nobody declared" in found.note


@pytest.mark.parametrize(
    ("design", "said"),
    [
        (Stratified(strata=np.repeat(["a", "b"], [300, 100])), "no row of stratum b was judged"),
        (Unequal(probability=np.full(400, 0.05)), "of a pool of about 4000 rows, this one has 400"),
        (Unequal(probability=np.ones(400)), "certain to be judged, yet 200 rows were not"),
    ],
)
def test_a_design_that_cannot_be_is_refused_an_interval(any_pool, design, said):
    pool = any_pool(2, rows=400, judged=200)
    for found in estimated(pool.judged, scores=pool.scores, design=design).rates.values():
        assert found.status is RateStatus.INSUFFICIENT
        assert found.low is None
        assert said in found.note


def test_a_design_of_other_rows_is_an_error(any_pool):
    pool = any_pool(3, rows=9, judged=4)
    for design, said in (
        (Unequal(probability=np.full(8, 0.5)), "8 probabilities of 9 rows"),
        (Unequal(probability=np.full(9, np.nan)), "row 0: judged with probability nan"),
        (Unequal(probability=np.array([0.5, 1.5, *[0.5] * 7])), "row 1: judged with .* 1.5"),
        (Stratified(strata=np.zeros(8)), "one cluster for each of 9 rows"),
    ):
        with pytest.raises(ValueError, match=said):
            estimated(pool.judged, scores=pool.scores, design=design)


def test_labels_in_part_are_an_error(any_pool):
    pool = any_pool(3, rows=9, judged=4)
    pool.judged[2, 1] = np.nan
    with pytest.raises(ValueError, match="judged: row 2 has a label in some cells"):
        estimated(pool.judged, scores=pool.scores, design=SimpleRandom())
    with pytest.raises(ValueError, match="9 rows of labels, but scores of 8"):
        estimated(np.full((9, 4), np.nan), scores=flat(8), design=SimpleRandom())
    with pytest.raises(ValueError, match="nothing is known"):
        estimated(np.full((9, 4), np.nan), scores=None, design=SimpleRandom())
