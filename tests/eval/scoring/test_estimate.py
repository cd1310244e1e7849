"""What a run will take: rows, pictures and tokens are the data's, seconds those of the clock."""

import pytest

from nsgauge.data.tables import read_triples
from nsgauge.errors import ScoringError
from nsgauge.eval.scoring.engine import Engine
from nsgauge.eval.scoring.estimate import estimate
from nsgauge.eval.scoring.pictures import Pictures


@pytest.fixture
def engine_of(bundle):
    def made(data):
        towers = bundle.towers
        pictures = Pictures(data, side=towers.image_side_px, resize=towers.resize)
        return Engine(bundle, pictures=pictures, cache=None, device="cpu")

    return made


def test_an_estimate_counts_all_rows_and_pictures_and_adds_up(engine_of, sample):
    found = estimate(engine_of(sample), data=sample, rows=16)
    triples = read_triples(sample)
    assert found.rows == triples.num_rows
    assert found.pictures == len(set(triples["image"].to_pylist()))
    assert 0 < found.seconds_low <= found.seconds <= found.seconds_high
    # A prompt and a response a row, of a few words each.
    assert 5 * found.rows < found.tokens < 200 * found.rows
    assert f"{found.rows:,} rows" in found.lines()[0]


def test_fewer_rows_than_places_to_look_at_are_enough(engine_of, world):
    assert estimate(engine_of(world), data=world, rows=1).rows == read_triples(world).num_rows


def test_an_empty_data_folder_is_refused(engine_of, world, monkeypatch):
    monkeypatch.setattr("nsgauge.eval.scoring.estimate.count_triples", lambda _: 0)
    with pytest.raises(ScoringError, match="no rows to score"):
        estimate(engine_of(world), data=world)
