"""Points and variances beside those of other people's code."""

import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.stats.weightstats import DescrStatsW

from nsgauge.eval.rates import SimpleRandom, Unequal, estimate_rates
from nsgauge.eval.rates.designs import draw_of
from nsgauge.eval.rates.greg import greg_cells
from nsgauge.eval.rates.one_hop import Sample, one_hop
from nsgauge.protocol import Rate, rate_weights

UNSAFE = rate_weights(Rate.UNSAFE)


def estimated(judged, **options):
    return estimate_rates(judged, **options)


@pytest.fixture
def leaning(draw_world):
    """A pool, which rows were judged, and with what probability."""
    generator = np.random.default_rng(7)
    world = draw_world(generator, items=1500, unsafe=0.3)
    unsafe = world.probabilities @ UNSAFE
    probability = np.clip(0.05 + 0.4 * np.sqrt(unsafe * (1 - unsafe)), 0, 1)
    return world, generator.random(1500) < probability, probability


def test_weighted_shares_are_those_of_statsmodels(leaning):
    world, known, probability = leaning
    judged = np.where(known[:, None], world.cells, np.nan)
    table = estimated(judged, scores=None, design=Unequal(probability=probability))
    # A row that stands for others counts once itself, and as they would.
    odds = (1 - probability[known]) / probability[known]
    rest = DescrStatsW(world.cells[known] @ UNSAFE, weights=odds).mean
    total = (world.cells[known] @ UNSAFE).sum() + (~known).sum() * rest
    assert table.rates[Rate.UNSAFE].value == pytest.approx(total / 1500, abs=1e-6)


def test_regression_points_are_those_of_statsmodels_wls(leaning):
    world, known, probability = leaning
    draw = draw_of(Unequal(probability=probability), judged=known)
    signals = world.probabilities
    shares = greg_cells(
        world.cells[known], signals=signals[known], rest=signals[~known].sum(axis=0), draw=draw
    )
    inner = sm.add_constant(signals[:, :3])
    fits = [
        sm.WLS(column, inner[known], weights=draw.stands_for).fit()
        for column in world.cells[known].T
    ]
    rest = np.array([fit.predict(inner[~known]).sum() for fit in fits])
    assert shares == pytest.approx((world.cells[known].sum(axis=0) + rest) / 1500, abs=1e-6)


def test_clustered_variances_are_those_of_statsmodels():
    generator = np.random.default_rng(2)
    items = np.repeat(np.arange(4000), 4)
    shares = generator.beta(1, 2, 4000)[items]
    positive = (generator.random(16_000) < shares).astype(float)
    known = items < 2000
    draw = draw_of(SimpleRandom(items=items), judged=known)
    nothing = np.zeros(16_000)
    sample = Sample(
        positive=positive[known], judged=nothing[known], unjudged=nothing[~known], draw=draw
    )
    fit = sm.OLS(positive[known], np.ones(8000)).fit(
        cov_type="cluster", cov_kwds={"groups": items[known], "use_correction": False}
    )
    # Half the items are left, of which half the variance is that of the pool.
    expected = float(fit.cov_params()[0, 0]) * (1 - 2000 / 4000)
    assert one_hop(sample).variance == pytest.approx(expected, rel=5e-3)


def test_the_point_of_one_axis_is_that_of_ppi_python(draw_world):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ppi_py = pytest.importorskip("ppi_py", reason="ppi-python is a test oracle, not needed")
    world = draw_world(np.random.default_rng(3), items=900, unsafe=0.4)
    unsafe, shares = world.cells @ UNSAFE, world.probabilities @ UNSAFE
    slope = np.polyfit(shares[:150], unsafe[:150], 1)[0]
    theirs = ppi_py.ppi_mean_pointestimate(unsafe[:150], shares[:150], shares[150:], lam=slope)
    nothing = np.zeros(900)
    signals = np.stack([1 - shares, shares, nothing, nothing], axis=1)
    labels = np.stack([1 - unsafe, unsafe, nothing, nothing], axis=1)
    known = np.arange(900) < 150
    judged = np.where(known[:, None], labels, np.nan)
    ours = estimated(judged, scores=signals, design=SimpleRandom()).rates[Rate.UNSAFE].value
    rest = (900 * ours - unsafe[:150].sum()) / 750
    assert rest == pytest.approx(float(np.squeeze(theirs)), abs=1e-6)
