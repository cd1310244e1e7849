"""The roads to the rates of MSTS, on a small made-up pool."""

import numpy as np
import pytest

from benchmarks import msts_rates
from benchmarks.msts_rates import Pool, table


def lines_of(pool, **options):
    return {(line["road"], line["rate"]): line for line in table(pool, **options)}


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr(msts_rates, "LABELS", 60)
    monkeypatch.setattr(msts_rates, "JUDGED", 120)
    generator = np.random.default_rng(1)
    unsafe = (generator.random(300) < 0.3).astype(float)
    not_grounded = (generator.random(300) < 0.2) * (1 - unsafe)
    slipped = np.abs(unsafe - (generator.random(300) < 0.1))
    guess = np.clip(0.2 + 0.5 * unsafe + generator.normal(0, 0.1, 300), 0, 1)
    return Pool(
        people=msts_rates._cells(unsafe, not_grounded),
        judge=msts_rates._cells(slipped, np.zeros(300)),
        scores=msts_rates._cells(guess, np.zeros(300)),
        items=np.arange(300) // 3,
    )


@pytest.mark.parametrize("by_item", [False, True])
def test_every_road_has_a_line_for_every_rate_that_it_speaks_of(pool, by_item):
    lines = lines_of(pool, repetitions=4, by_item=by_item)
    roads = ("people_only", "classifier", "judge", "both", "both_1000")
    rates = ("unsafe", "not_grounded", "unsafe_grounded")
    checked = {(road, rate) for road in roads for rate in rates}
    assert set(lines) == checked | {("naive", "unsafe"), ("judge_only", "unsafe")}
    assert lines["both", "unsafe"]["width"] < lines["people_only", "unsafe"]["width"]
    assert lines["both_1000", "unsafe"]["first_hop_share"] > 0
    assert lines["both", "unsafe"]["first_hop_share"] == 0
    assert lines["both", "unsafe"]["labels"] == pytest.approx(60, abs=3)
    assert all(line["narrowest"] > 0 for key, line in lines.items() if key in checked)
