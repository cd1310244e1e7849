"""What a plan promises, beside what its draws give."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from nsgauge.data.plan_file import Design
from nsgauge.errors import SettingsError
from nsgauge.eval.plan import draw_plan
from nsgauge.eval.plan_draw import inclusion
from nsgauge.eval.plan_forecast import forecast, further_forecasts, size_for
from nsgauge.eval.plan_settings import PlanSettings
from nsgauge.eval.plan_units import units_of
from nsgauge.eval.rates import SimpleRandom, Unequal, estimate_rates
from nsgauge.protocol import CELLS, RATES, Rate
from nsgauge.records import SCORES_SCHEMA, TRIPLES_SCHEMA, VERDICTS_SCHEMA

NO_VERDICTS = VERDICTS_SCHEMA.empty_table()


def triples_table(rows, *, answers=1):
    fixed = {"benchmark": "b", "prompt": "p", "response": "r", "response_state": "answered"}
    return pa.Table.from_pylist(
        [
            {
                "triple_id": f"t{row:05}",
                "item_id": f"i{row // answers:05}",
                "vllm": f"v{row % answers}",
                "sample": 0,
                **fixed,
            }
            for row in range(rows)
        ],
        schema=TRIPLES_SCHEMA,
    )


def scores_table(cells, *, seen=()):
    fixed = {"status": "scored", "image_state": "image", "text_windows": 1, "truncated": False}
    return pa.Table.from_pylist(
        [
            {
                "triple_id": f"t{row:05}",
                "item_seen": row in seen,
                "vllm_seen": False,
                "unsafe": values[1] + values[3],
                "not_grounded": values[2] + values[3],
                **dict(zip(map(str, CELLS), values, strict=True)),
                **fixed,
            }
            for row, values in enumerate(np.asarray(cells).tolist())
        ],
        schema=SCORES_SCHEMA,
    )


def units(cells, *, answers=1, **options):
    settings = PlanSettings(**{"size": 1} | options)
    scores = None if cells is None else scores_table(cells)
    rows = triples_table(400 if cells is None else len(cells), answers=answers)
    return units_of(rows, scores=scores, settings=settings), settings


def unsafe_of(judged, **options):
    return estimate_rates(judged, **options).rates[Rate.UNSAFE]


def halves(rows):
    return np.tile([0.25, 0.25, 0.25, 0.25], (rows, 1))


def test_a_uniform_draw_is_forecast_by_the_textbook():
    found = forecast(*units(halves(400))[:1], size=100, settings=units(halves(400))[1])
    # Sampling 100 of 400 rows whose probability is a half, and the estimator's two extra rows.
    variance = 0.75 * 0.25 / 100 + 0.75 / 100**2
    width = 2 * stats.t.ppf(0.975, 101) * variance**0.5
    assert (found.units, found.triples) == (100, 100)
    assert found.widths[Rate.UNSAFE] == pytest.approx(width)
    assert found.widths[Rate.UNSAFE_GROUNDED] < width


def test_rare_things_are_forecast_by_exact_limits():
    rare = np.tile([0.98, 0.02, 0.0, 0.0], (1000, 1))
    pool, settings = units(rare)
    low, high = proportion_confint(2, 100, method="beta")
    found = forecast(pool, size=100, settings=settings).widths
    assert found[Rate.UNSAFE] == pytest.approx(high - low)


def test_without_scores_the_worst_is_expected():
    of_scored, settings = units(halves(400))
    of_unscored, _ = units(None)
    worst = forecast(of_unscored, size=50, settings=settings).widths
    assert worst[Rate.UNSAFE] == forecast(of_scored, size=50, settings=settings).widths[Rate.UNSAFE]
    assert len(set(worst.values())) == 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"design": "stratified", "allocation": "neyman", "score_bins": 4, "axis": "unsafe"},
        {"design": "uncertainty", "axis": "unsafe"},
    ],
    ids=["uniform", "neyman", "uncertainty"],
)
def test_the_intervals_are_about_as_wide_as_forecast(options, draw_world):
    generator = np.random.default_rng(3)
    world = draw_world(generator, items=1200, unsafe=0.4)
    triples, scores = triples_table(1200), scores_table(world.probabilities)
    widths, expected = [], 0.0
    for seed in range(8):
        settings = PlanSettings(size=200, seed=seed, **options)
        plan = draw_plan(triples, verdicts=NO_VERDICTS, scores=scores, settings=settings)
        at = [int(name[1:]) for name in plan.rows["triple_id"].to_pylist()]
        judged, chance = np.full((1200, 4), np.nan), np.full(1200, np.nan)
        judged[at], chance[at] = world.cells[at], plan.rows["inclusion_probability"].to_numpy()
        even = settings.design is Design.UNIFORM
        design = SimpleRandom() if even else Unequal(probability=chance)
        unsafe = unsafe_of(judged, scores=world.probabilities, design=design)
        widths.append(unsafe.high - unsafe.low)
        expected = plan.forecasts[0].widths[Rate.UNSAFE]
    assert np.mean(widths) == pytest.approx(expected, rel=0.12)


@pytest.mark.parametrize("design", ["uniform", "stratified", "uncertainty"])
def test_the_size_for_a_width_is_the_smallest_that_reaches_it(design):
    cells = np.random.default_rng(1).dirichlet([1, 0.3, 0.5, 0.2], size=500)
    pool, settings = units(cells, design=design)
    size = size_for(pool, width=0.1, settings=settings)
    reached = forecast(pool, size=size, settings=settings).widths
    missed = forecast(pool, size=size - 1, settings=settings).widths
    assert max(reached.values()) <= 0.1 < max(missed.values())
    one = PlanSettings(size=1, design=design, axis="unsafe")
    assert size_for(pool, width=0.1, settings=one) <= size
    assert size_for(pool, width=1e-6, settings=settings) == 500


def test_each_further_hundred_triples_narrows_and_all_of_them_know():
    pool, settings = units(halves(800), answers=4, by_item=True)
    found = further_forecasts(pool, size=50, settings=settings)
    assert [each.units for each in found] == [50, 75, 100, 125, 150]
    assert [each.triples for each in found] == [200, 300, 400, 500, 600]
    widths = [each.widths[Rate.NOT_GROUNDED] for each in found]
    assert widths == sorted(widths, reverse=True)
    (whole,) = further_forecasts(pool, size=200, settings=settings)
    assert set(whole.widths.values()) == {0.0}
    assert further_forecasts(pool, size=0, settings=settings) == ()


def test_neyman_draws_where_the_classifier_is_unsure():
    sure, unsure = [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]
    cells = np.array([sure] * 200 + [unsure] * 200)
    options = {"design": "stratified", "score_bins": 2, "axis": "unsafe", "minimum": 1}
    pool, settings = units(cells, allocation="neyman", floor=0.2, **options)
    chances = inclusion(pool, size=100, settings=settings)
    # A fifth is spread by size, 10 and 10; the rest goes to the unsure.
    assert chances[0] == pytest.approx(10 / 200)
    assert chances[-1] == pytest.approx(90 / 200)
    flat, settings = units(np.array([sure] * 40), allocation="neyman", **options)
    assert inclusion(flat, size=10, settings=settings) == pytest.approx(np.full(40, 0.25))


def test_items_that_the_bundle_has_seen_are_left_out_unless_wanted():
    scores = scores_table(halves(20), seen=range(5))
    options = {"verdicts": NO_VERDICTS, "scores": scores}
    plan = draw_plan(triples_table(20), settings=PlanSettings(size=99), **options)
    assert (plan.seen, plan.population) == (5, 15)
    assert plan.rows["triple_id"].to_pylist()[0] == "t00005"
    wanted = PlanSettings(size=99, include_seen=True)
    plan = draw_plan(triples_table(20), settings=wanted, **options)
    assert (plan.seen, plan.population) == (0, 20)


def test_a_width_draws_as_many_as_it_takes():
    options = {"verdicts": NO_VERDICTS, "scores": scores_table(halves(600))}
    settings = PlanSettings(width=0.15)
    plan = draw_plan(triples_table(600), settings=settings, **options)
    assert max(plan.forecasts[0].widths[rate] for rate in RATES) <= 0.15
    assert plan.units == plan.forecasts[0].units


@pytest.mark.parametrize("given", [{}, {"size": 3, "width": 0.1}, {"width": 0.0}])
def test_a_size_or_a_width_is_wanted(given):
    with pytest.raises(SettingsError, match="width"):
        PlanSettings.from_mapping(given, source="options")
