"""Control runs: what is taken away is gone, and nothing else is changed."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.data.tables import read_triples, triples_of
from nsgauge.eval.scoring.controls import control_runs, control_triples
from nsgauge.eval.scoring.engine import Engine, Row
from nsgauge.eval.scoring.pictures import Pictures
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.eval.scoring.shards import read_controls, read_scores
from nsgauge.records import Triple

FAULTY = ("damaged", "missing")
UNJUDGED = {"no-answer", "empty-and-missing", "no-image"}
NAMES = ["shuffled_images", "blank_images", "prompt_response", "response_only"]


def named(ids: Sequence[str]) -> list[Triple]:
    return [Triple(triple_id=name, prompt="p", response="r") for name in ids]


@given(st.lists(st.text("abcd", min_size=1), unique=True), st.integers(0, 9), st.randoms())
def test_the_draw_depends_on_ids_and_seed_alone(ids, limit, random):
    drawn = control_triples(named(ids), limit=limit, seed=3)
    shuffled = named(ids)
    random.shuffle(shuffled)
    assert control_triples(shuffled, limit=limit, seed=3) == drawn
    assert len(drawn) == min(limit, len(ids))
    # Drawing shard by shard gives the same: what fell out once can't come back.
    half = len(ids) // 2
    first = control_triples(shuffled[:half], limit=limit, seed=3)
    assert control_triples([*first, *shuffled[half:]], limit=limit, seed=3) == drawn


def test_another_seed_draws_other_rows():
    ids = [f"t{number}" for number in range(100)]
    one, two = (control_triples(named(ids), limit=10, seed=seed) for seed in (0, 1))
    assert {triple.triple_id for triple in one} != {triple.triple_id for triple in two}


@pytest.fixture(scope="module")
def engine(bundle, world, warm_cache):
    pictures = Pictures(world, side=bundle.towers.image_side_px, resize=bundle.towers.resize)
    return Engine(bundle, pictures=pictures, cache=warm_cache, device="cpu")


@pytest.fixture(scope="module")
def rows(engine, world):
    triples = triples_of(read_triples(world))
    kept = [t for t in triples if t.triple_id not in FAULTY]
    looked = engine.look([t for t in kept if t.response_state == "answered"])
    assert {row.digest is None for row in looked} == {True, False}
    return looked


def unsafe(table: pa.Table) -> np.ndarray:
    return np.array(table["unsafe"].to_pylist(), dtype=float)


def test_shuffled_images_gives_every_picture_another_and_all_are_used(engine, rows, monkeypatch):
    seen: list[list[int]] = []
    score_with = engine.score_with

    def recorded(rows, *, vectors, slots):
        seen.append(slots)
        return score_with(rows, vectors=vectors, slots=slots)

    monkeypatch.setattr(engine, "score_with", recorded)
    _, own = engine.vectors(rows)
    control_runs(engine, rows=rows, seed=1)["shuffled_images"]()
    (other,) = seen
    assert all((a < 0) == (b < 0) for a, b in zip(own, other, strict=True))
    exchanged = {a: b for a, b in zip(own, other, strict=True) if a >= 0}
    assert len(exchanged) > 3
    assert all(a != b for a, b in exchanged.items())
    assert sorted(exchanged.values()) == sorted(exchanged)
    # One picture's rows get one picture: as many different pairs as pictures.
    assert len(set(zip(own, other, strict=True)) - {(-1, -1)}) == len(exchanged)


def test_exchanging_pictures_leaves_rows_without_one_alone(engine, rows):
    plain = unsafe(engine.score(rows))
    runs = control_runs(engine, rows=rows, seed=1)
    bare = np.array([row.digest is None for row in rows])
    for name in ("shuffled_images", "blank_images"):
        table = runs[name]()
        np.testing.assert_allclose(unsafe(table)[bare], plain[bare], atol=1e-6)
        assert np.abs(unsafe(table)[~bare] - plain[~bare]).max() > 1e-4
        assert table["image_state"].to_pylist() == [str(row.image_state) for row in rows]


def test_a_picture_alone_is_its_own_shuffle(engine, rows):
    alone = [row for row in rows if row.digest is not None][:1]
    shuffled = control_runs(engine, rows=alone, seed=1)["shuffled_images"]()
    np.testing.assert_allclose(unsafe(shuffled), unsafe(engine.score(alone)), atol=1e-6)


def with_prompts(rows: Sequence[Row], prompt: str) -> list[Row]:
    return [replace(row, triple=replace(row.triple, prompt=prompt)) for row in rows]


def test_response_only_reads_neither_prompt_nor_picture(engine, rows):
    expected = control_runs(engine, rows=rows, seed=1)["response_only"]()
    blind = [replace(row, triple=replace(row.triple, image=None)) for row in rows]
    for other in (with_prompts(rows, "Something else entirely?"), blind):
        assert control_runs(engine, rows=other, seed=1)["response_only"]().equals(expected)
    assert set(expected["image_state"].to_pylist()) == {"absent"}


def test_prompt_response_reads_the_prompt_but_no_picture(engine, rows):
    expected = control_runs(engine, rows=rows, seed=1)["prompt_response"]()
    assert set(expected["image_state"].to_pylist()) == {"absent"}
    other = control_runs(engine, rows=with_prompts(rows, "Why?"), seed=1)["prompt_response"]()
    assert np.abs(unsafe(other) - unsafe(expected)).max() > 1e-4
    without = engine.look([replace(row.triple, image=None) for row in rows])
    np.testing.assert_allclose(unsafe(engine.score(without)), unsafe(expected), atol=1e-6)


def test_controls_are_of_judged_unseen_scored_rows_alone(run, tmp_path):
    run(tmp_path / "out", settings=ScoringSettings(controls_rows=1000, rows_per_shard=7))
    controls = read_controls(tmp_path / "out")
    assert list(controls) == NAMES
    scores = {row["triple_id"]: row for row in read_scores(tmp_path / "out").to_pylist()}
    # The rows made for these tests were never judged.
    judged = {name for name in scores if "-" in name and name not in UNJUDGED}
    fit = {
        name for name, row in scores.items() if row["status"] == "scored" and not row["item_seen"]
    }
    assert judged - fit, "some judged rows must be unfit, or nothing is shown"
    for table in controls.values():
        assert set(table["triple_id"].to_pylist()) == fit & judged
