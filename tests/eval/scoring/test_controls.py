"""Control runs: what is taken away is gone, and nothing else is changed."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.data.tables import read_triples
from nsgauge.eval.scoring import texts
from nsgauge.eval.scoring.controls import control_scores, drawn
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.eval.scoring.shards import read_controls, read_scores
from nsgauge.models.prediction import read_windows
from nsgauge.records import TRIPLES_SCHEMA, Triple

FAULTY = ("damaged", "missing")
UNJUDGED = {"no-answer", "empty-and-missing", "no-image"}
NAMES = ["shuffled_images", "blank_images", "prompt_response", "response_only"]


def named(ids: Sequence[str]) -> pa.Table:
    triples = [Triple(triple_id=name, prompt="p", response="r") for name in ids]
    columns = {name: [getattr(t, name) for t in triples] for name in TRIPLES_SCHEMA.names}
    return pa.table(columns, schema=TRIPLES_SCHEMA)


@given(st.lists(st.text("abcd", min_size=1), unique=True), st.integers(0, 9), st.randoms())
def test_the_draw_depends_on_ids_and_seed_alone(ids, limit, random):
    found = drawn(named(ids), limit=limit, seed=3)
    shuffled = [*ids]
    random.shuffle(shuffled)
    assert drawn(named(shuffled), limit=limit, seed=3).equals(found)
    assert found.num_rows == min(limit, len(ids))
    # Drawing shard by shard gives the same: what fell out once can't come back.
    half = len(ids) // 2
    first = drawn(named(shuffled[:half]), limit=limit, seed=3)
    both = pa.concat_tables([first, named(shuffled[half:])])
    assert drawn(both, limit=limit, seed=3).equals(found)


def test_another_seed_draws_other_rows():
    ids = [f"t{number}" for number in range(100)]
    one, two = (drawn(named(ids), limit=10, seed=seed) for seed in (0, 1))
    assert set(one["triple_id"].to_pylist()) != set(two["triple_id"].to_pylist())


@pytest.fixture(scope="module")
def table(world):
    triples = read_triples(world)
    answered = pc.equal(triples["response_state"], "answered")
    faulty = pc.is_in(triples["triple_id"], value_set=pa.array(FAULTY))
    return triples.filter(pc.and_not(answered, faulty))


@pytest.fixture(scope="module")
def rows(engine, table):
    looked = engine.look(table)
    assert set((looked.pictures < 0).tolist()) == {True, False}
    return looked


@pytest.fixture(scope="module")
def controls(engine, rows):
    found = dict(control_scores(engine, rows=rows, seed=1))
    assert list(found) == NAMES
    return found


def unsafe(table: pa.Table) -> np.ndarray:
    return np.array(table["unsafe"].to_pylist(), dtype=float)


def changed(table: pa.Table, **columns: str | None) -> pa.Table:
    """The triples with a column set to one value."""
    for name, value in columns.items():
        place = table.schema.get_field_index(name)
        new = pa.array([value] * table.num_rows, pa.string())
        table = table.set_column(place, table.schema.field(place), new)
    return table


def test_shuffled_images_gives_every_picture_another_and_all_are_used(engine, rows, monkeypatch):
    shown = []
    decide = engine.decide

    def recorded(rows, *, chosen, told, seen):
        shown.append(seen.slots)
        return decide(rows, chosen=chosen, told=told, seen=seen)

    monkeypatch.setattr(engine, "decide", recorded)
    seen, _ = engine.see(rows, block=np.arange(len(rows)))
    dict(control_scores(engine, rows=rows, seed=1))
    own, other = seen.slots.tolist(), shown[0].tolist()
    assert all((a < 0) == (b < 0) for a, b in zip(own, other, strict=True))
    exchanged = {a: b for a, b in zip(own, other, strict=True) if a >= 0}
    assert len(exchanged) > 3
    assert all(a != b for a, b in exchanged.items())
    assert sorted(exchanged.values()) == sorted(exchanged)
    # One picture's rows get one picture: as many different pairs as pictures.
    assert len(set(zip(own, other, strict=True)) - {(-1, -1)}) == len(exchanged)


def test_exchanging_pictures_leaves_rows_without_one_alone(engine, rows, controls):
    scores = engine.score(rows)
    bare = rows.pictures < 0
    for name in ("shuffled_images", "blank_images"):
        found = controls[name]
        np.testing.assert_allclose(unsafe(found)[bare], unsafe(scores)[bare], atol=1e-6)
        assert np.abs(unsafe(found)[~bare] - unsafe(scores)[~bare]).max() > 1e-4
        assert found["image_state"].equals(scores["image_state"])


def test_a_picture_alone_is_its_own_shuffle(engine, rows, table):
    alone = engine.look(table.slice(int(np.flatnonzero(rows.pictures >= 0)[0]), 1))
    shuffled = dict(control_scores(engine, rows=alone, seed=1))["shuffled_images"]
    np.testing.assert_allclose(unsafe(shuffled), unsafe(engine.score(alone)), atol=1e-6)


def test_response_only_reads_neither_prompt_nor_picture(engine, table, controls):
    expected = controls["response_only"]
    for other in (changed(table, prompt="Something else entirely?"), changed(table, image=None)):
        found = dict(control_scores(engine, rows=engine.look(other), seed=1))["response_only"]
        np.testing.assert_allclose(unsafe(found), unsafe(expected), atol=1e-6)
        assert set(found["image_state"].to_pylist()) == {"absent"}


def test_prompt_response_reads_the_prompt_but_no_picture(engine, table, controls):
    expected = controls["prompt_response"]
    assert set(expected["image_state"].to_pylist()) == {"absent"}
    asked = engine.look(changed(table, prompt="Why?"))
    other = dict(control_scores(engine, rows=asked, seed=1))["prompt_response"]
    assert np.abs(unsafe(other) - unsafe(expected)).max() > 1e-4
    without = engine.score_table(changed(table, image=None, caption=None))
    np.testing.assert_allclose(unsafe(without), unsafe(expected), atol=1e-6)


def test_the_runs_read_a_text_once(engine, rows, monkeypatch):
    read = []

    def counted(network, *, packed):
        read.append(len(packed.lengths))
        return read_windows(network, packed=packed)

    monkeypatch.setattr(texts, "read_windows", counted)
    engine.score(rows)
    once = sum(read)
    read.clear()
    dict(control_scores(engine, rows=rows, seed=1))
    # The same windows as the scores themselves: short ones are kept, longer ones read once.
    assert sum(read) <= once


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
