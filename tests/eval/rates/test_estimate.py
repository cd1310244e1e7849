import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nsgauge.eval.intervals import clopper_pearson
from nsgauge.eval.rates import (
    RateEstimate,
    RateStatus,
    RateTable,
    SimpleRandom,
    estimate_rates,
)
from nsgauge.protocol import CELLS, RATES, Rate, rate_weights

SWAP_SAFETY = [1, 0, 3, 2]


@st.composite
def pools(draw, least_judged: int = 1, least_unjudged: int = 1) -> tuple[np.ndarray, ...]:
    """Judge's cells, the classifier's on the same rows, and on the rest: any values at all."""
    judged = draw(st.integers(least_judged, 60))
    unjudged = draw(st.integers(least_unjudged, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    concentration = draw(st.sampled_from([0.02, 0.3, 1.0, 20.0]))
    common = generator.dirichlet(np.full(4, 0.5) + 1e-3)
    probabilities = generator.dirichlet(concentration * common + 1e-3, size=judged + unjudged)
    probabilities = draw(st.sampled_from([probabilities, np.full_like(probabilities, 0.25)]))
    labels = np.eye(4)[generator.choice(4, p=common, size=judged)]
    if draw(st.booleans()):
        labels = (labels + np.eye(4)[generator.choice(4, p=common, size=judged)]) / 2
    return labels, probabilities[:judged], probabilities[judged:]


def estimate(pool: Sequence[np.ndarray], *, items=None, **options) -> RateTable:
    """The pool with its judged rows first."""
    labels, judged, unjudged = pool
    cells = np.concatenate([labels, np.full((len(unjudged), 4), np.nan)])
    scores = np.concatenate([judged, unjudged])
    design = SimpleRandom(items=items)
    return estimate_rates(cells, scores=scores, design=design, **options)


def ends(estimate: RateEstimate) -> list[float]:
    found = (estimate.low, estimate.high, estimate.low_super, estimate.high_super)
    assert None not in found
    return [float(end) for end in found if end is not None]


@settings(max_examples=30, deadline=None)
@given(pools(least_judged=2))
def test_the_cells_sum_to_one_and_every_rate_is_a_sum_of_cells_inside_its_intervals(pool):
    table = estimate(pool)
    shares = np.array([table.cells[cell] for cell in CELLS])
    assert shares.sum() == pytest.approx(1, abs=1e-12)
    assert (shares >= 0).all()
    known = pool[0].mean(axis=0) * len(pool[0])
    total = len(pool[0]) + len(pool[2])
    assert (shares * total >= known - 1e-9).all()
    for rate in RATES:
        found = table.rates[rate]
        low, high, low_super, high_super = ends(found)
        assert found.value == pytest.approx(shares @ rate_weights(rate), abs=1e-12)
        assert found.value is not None
        assert 0 <= low <= found.value <= high <= 1
        assert 0 <= low_super <= found.value <= high_super <= 1
        assert low < high
        assert low_super < high_super


@settings(max_examples=30, deadline=None)
@given(pools(least_judged=2))
def test_swapping_safe_and_unsafe_reflects_the_unsafe_rate(pool):
    straight = estimate(pool).rates[Rate.UNSAFE]
    swapped = estimate([part[:, SWAP_SAFETY] for part in pool]).rates[Rate.UNSAFE]
    low, high, low_super, high_super = ends(straight)
    mirrored = [1 - high, 1 - low, 1 - high_super, 1 - low_super]
    assert ends(swapped) == pytest.approx(mirrored, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(pools(least_judged=2), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(pool, random):
    judged = random.sample(range(len(pool[0])), len(pool[0]))
    unjudged = random.sample(range(len(pool[2])), len(pool[2]))
    straight, shuffled = (
        estimate(pool),
        estimate([pool[0][judged], pool[1][judged], pool[2][unjudged]]),
    )
    for rate in RATES:
        assert ends(shuffled.rates[rate]) == pytest.approx(ends(straight.rates[rate]), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(pools(least_judged=2))
def test_items_of_one_row_each_change_nothing(pool):
    ids = np.arange(len(pool[0]) + len(pool[2]))
    assert estimate(pool, items=ids) == estimate(pool)


def test_a_census_is_the_judges_rate_with_no_width(draw_world):
    world = draw_world(np.random.default_rng(1), items=80, unsafe=0.2)
    table = estimate([world.cells, world.probabilities, world.probabilities[:0]])
    judge = estimate_rates(world.cells, scores=None, design=SimpleRandom())
    for rate in RATES:
        found = table.rates[rate]
        share = float((world.cells @ rate_weights(rate)).mean())
        assert (found.low, found.value, found.high) == (share, share, share)
        assert found.status is RateStatus.CENSUS
        assert ends(found) == ends(judge.rates[rate])
        assert found.naive == pytest.approx((world.probabilities @ rate_weights(rate)).mean())


def test_a_classifier_that_is_the_judge_gives_the_pool_mean(draw_world):
    world = draw_world(np.random.default_rng(2), items=300, unsafe=0.4)
    table = estimate([world.cells[:100], world.cells[:100], world.cells[100:]])
    assert list(table.cells.values()) == pytest.approx(world.cells.mean(axis=0), abs=1e-9)
    unsafe = table.rates[Rate.UNSAFE]
    assert unsafe.correlation == pytest.approx(1)
    assert unsafe.effective is not None
    # The two extra rows leave a doubt.
    assert 285 < unsafe.effective < 300


def test_the_point_ignores_an_affine_change_of_the_classifier(draw_world):
    world = draw_world(np.random.default_rng(3), items=400, unsafe=0.3)
    duller = 0.25 + 0.4 * (world.probabilities - 0.25)
    first = estimate([world.cells[:120], world.probabilities[:120], world.probabilities[120:]])
    second = estimate([world.cells[:120], duller[:120], duller[120:]])
    assert list(first.cells.values()) == pytest.approx(list(second.cells.values()), abs=1e-9)


def test_the_point_is_the_textbook_regression_estimator(draw_world):
    world = draw_world(np.random.default_rng(4), items=900, unsafe=0.4)
    cells, probabilities = world.cells[:150], world.probabilities
    design = np.column_stack([np.ones(900), probabilities[:, :3]])
    slopes = np.linalg.inv(design[:150].T @ design[:150]) @ design[:150].T @ cells
    found = estimate([cells, probabilities[:150], probabilities[150:]])
    assert list(found.cells.values()) == pytest.approx(design.mean(axis=0) @ slopes, abs=1e-9)


def test_an_uninformative_classifier_leaves_the_judges_share_and_agresti_coulls_interval():
    labels = np.eye(4)[[1] * 30 + [0] * 70]
    flat = np.full((2000, 4), 0.25)
    found = estimate([labels, flat[:100], flat[100:]]).rates[Rate.UNSAFE]
    assert found.value == pytest.approx(0.3)
    assert found.correlation is None
    share = 31 / 102
    variance = share * (1 - share) * 102 / 101 / 102
    centre = (30 + 1900 * share) / 2000
    half = stats.t.ppf(0.975, 101) * np.sqrt((0.95**2) * variance * (1 + 100 / 1900))
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-9)


def test_no_positive_among_fifty_is_no_certainty(draw_world):
    world = draw_world(np.random.default_rng(5), items=1000, unsafe=0.02)
    labels = np.eye(4)[np.zeros(50, dtype=int)]
    found = estimate([labels, world.probabilities[:50], world.probabilities[50:]])
    unsafe = found.rates[Rate.UNSAFE]
    exact = clopper_pearson(0, rows=50, confidence=0.95)
    assert unsafe.value == 0
    assert unsafe.low == 0
    assert unsafe.high is not None
    assert unsafe.high >= exact.high


@pytest.mark.parametrize(
    ("judged", "status"),
    [
        (0, RateStatus.TRANSPORTED),
        (1, RateStatus.INSUFFICIENT),
        (49, RateStatus.INSUFFICIENT),
        (50, RateStatus.JUDGED),
        (120, RateStatus.CENSUS),
    ],
)
def test_the_status_says_what_the_labels_carry(judged, status, draw_world):
    world = draw_world(np.random.default_rng(6), items=120, unsafe=0.4)
    parts = world.cells[:judged], world.probabilities[:judged], world.probabilities[judged:]
    table = estimate(parts)
    for rate in RATES:
        found = table.rates[rate]
        assert found.status is status
        assert found.judged == judged
        assert found.rows == 120
        assert found.note
        assert (found.low is None) == (judged < 2)


def test_without_labels_the_classifiers_word_stands_alone(draw_world):
    world = draw_world(np.random.default_rng(7), items=50, unsafe=0.4)
    found = estimate([world.cells[:0], world.probabilities[:0], world.probabilities]).rates[
        Rate.NOT_GROUNDED
    ]
    assert (
        found.value == found.naive == pytest.approx(world.probabilities[:, 2:].sum(axis=1).mean())
    )
    assert found.naive_bias == 0
    assert "not checked" in found.note


def test_no_rows_is_undefined_and_not_zero():
    nothing = np.empty((0, 4))
    alone = estimate_rates(nothing, scores=None, design=SimpleRandom())
    for table in (estimate([nothing] * 3), alone):
        assert table.cells == {}
        assert [table.rates[rate].value for rate in RATES] == [None, None, None]


def test_one_judged_item_gives_a_point_and_no_interval(draw_world):
    world = draw_world(np.random.default_rng(8), items=20, unsafe=0.5, answers=5)
    table = estimate(
        [world.cells[:5], world.probabilities[:5], world.probabilities[5:]], items=world.items
    )
    assert table.rates[Rate.UNSAFE].low is None
    assert table.rates[Rate.UNSAFE].status is RateStatus.INSUFFICIENT


def test_labels_that_repeat_inside_items_widen_the_interval_to_that_of_the_items():
    generator = np.random.default_rng(9)
    once = np.eye(4)[generator.choice(4, size=60)]
    flat = np.full((600 * 5, 4), 0.25)
    ids = np.repeat(np.arange(600), 5)
    repeated = estimate([np.repeat(once, 5, axis=0), flat[:300], flat[300:]], items=ids)
    single = estimate([once, flat[:60], flat[60:600]])
    for rate in RATES:
        assert ends(repeated.rates[rate]) == pytest.approx(ends(single.rates[rate]), abs=0.01)


@settings(max_examples=30, deadline=None)
@given(pools(least_judged=8), st.integers(1, 7))
def test_clusters_never_break_the_promises(pool, size):
    ids = np.arange(len(pool[0]) + len(pool[2])) // size
    for found in estimate(pool, items=ids).rates.values():
        low, high, low_super, high_super = ends(found)
        assert found.value is not None
        assert 0 <= low <= found.value <= high <= 1
        assert 0 <= low_super <= found.value <= high_super <= 1
        assert low < high


def test_single_precision_cells_still_sum_to_one(draw_world):
    world = draw_world(np.random.default_rng(10), items=200, unsafe=0.3)
    rough = world.probabilities.astype(np.float32)
    table = estimate([world.cells[:90], rough[:90], rough[90:]])
    assert sum(table.cells.values()) == pytest.approx(1, abs=1e-12)


def test_the_estimators_need_no_torch():
    found = (
        "import sys, nsgauge.eval.rates; print('torch' in sys.modules, 'pyarrow' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", found], capture_output=True, check=True, text=True)
    assert told.stdout.split() == ["False", "False"]


def test_what_is_not_a_pool_is_refused():
    cells = np.full((4, 4), 0.25)
    with pytest.raises(ValueError, match="sum to one"):
        estimate([cells * 0.9, cells, cells])
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        estimate([cells, cells * np.array([-8, 8, 2, 2]), cells])
    with pytest.raises(ValueError, match="95% is"):
        estimate([cells, cells, cells], confidence=95.0)
    with pytest.raises(ValueError, match="one cluster for each of 8 rows"):
        estimate([cells, cells, cells], items=np.arange(3))
