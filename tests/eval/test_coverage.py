"""A miniature of benchmarks/coverage.py: a few hard cells of its grid, seeded."""

import numpy as np
import pytest

from nsgauge.eval.intervals import normal_quantile, wilson
from nsgauge.eval.rates import PoolClusters, RateEstimate, estimate_rates, judge_rates
from nsgauge.protocol import Rate

WORLDS = 150
WANTED = 0.93
# Two standard errors of a coverage that is exactly as wanted.
SLACK = 2 * (WANTED * (1 - WANTED) / WORLDS) ** 0.5


def ends(found: RateEstimate) -> tuple[float, float, float, float]:
    assert found.low is not None
    assert found.high is not None
    assert found.low_super is not None
    assert found.high_super is not None
    return found.low, found.high, found.low_super, found.high_super


@pytest.mark.parametrize(
    ("rows", "judged", "unsafe"),
    [(167, 50, 0.1), (167, 150, 0.1), (2240, 50, 0.97), (2240, 300, 0.5)],
)
def test_both_estimands_are_covered_without_waste(rows, judged, unsafe, draw_world):
    generator = np.random.default_rng([rows, judged])
    hits, widths = np.zeros((WORLDS, 2)), np.zeros((WORLDS, 2))
    for world in range(WORLDS):
        cells, probabilities, _ = draw_world(generator, items=rows, unsafe=unsafe)
        found = estimate_rates(
            cells[:judged],
            judged_probabilities=probabilities[:judged],
            unjudged_probabilities=probabilities[judged:],
        ).rates[Rate.UNSAFE]
        truth = cells[:, [1, 3]].sum() / rows
        low, high, low_super, high_super = ends(found)
        hits[world] = low - 1e-9 <= truth <= high + 1e-9, low_super <= unsafe <= high_super
        plain = wilson(float(found.positives), rows=judged, quantile=normal_quantile(0.95))
        widths[world] = high_super - low_super, plain.high - plain.low
    assert (hits.mean(axis=0) >= WANTED - SLACK).all(), hits.mean(axis=0)
    ours, judge_alone = widths.mean(axis=0)
    assert ours <= 1.1 * judge_alone


@pytest.mark.parametrize("within", [0.0, 0.4])
def test_repeated_items_are_covered(within, draw_world):
    generator = np.random.default_rng(11)
    hits = np.zeros((WORLDS, 3))
    for world in range(WORLDS):
        pool = draw_world(generator, items=200, unsafe=0.2, answers=5, within=within)
        judged = pool.items < 60
        found = estimate_rates(
            pool.cells[judged],
            judged_probabilities=pool.probabilities[judged],
            unjudged_probabilities=pool.probabilities[~judged],
            clusters=PoolClusters(judged=pool.items[judged], unjudged=pool.items[~judged]),
        ).rates[Rate.UNSAFE]
        alone = judge_rates(pool.cells[judged], clusters=pool.items[judged]).rates[Rate.UNSAFE]
        truth = pool.cells[:, [1, 3]].sum() / len(judged)
        low, high, low_super, high_super = ends(found)
        _, _, low_alone, high_alone = ends(alone)
        hits[world] = (
            low <= truth <= high,
            low_super <= 0.2 <= high_super,
            low_alone <= 0.2 <= high_alone,
        )
    assert (hits.mean(axis=0) >= WANTED - SLACK).all(), hits.mean(axis=0)
