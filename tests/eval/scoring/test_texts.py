"""Text vectors: each distinct window once, short ones kept, the same bytes in any company."""

from copy import deepcopy
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from nsgauge.errors import SettingsError
from nsgauge.eval.scoring import texts
from nsgauge.eval.scoring.engine import Engine
from nsgauge.eval.scoring.memory import SHORT_TOKENS, Budget
from nsgauge.eval.scoring.placement import fix_shapes, loosen, placed
from nsgauge.eval.scoring.texts import TextVectors
from nsgauge.eval.scoring.vector_store import VectorStore
from nsgauge.eval.scoring.watch import Watch
from nsgauge.models.prediction import RowBatch, cell_logits, read_windows
from nsgauge.models.towers.fixed import FixedTower
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.models.towers.transformer import TransformerShape
from nsgauge.protocol import CELLS
from nsgauge.records import TRIPLES_SCHEMA

SHORT = ["No.", "I can't help with that.", "It is a knife."]
LONG = ["a red berry on a bush beside a path. " * count for count in (8, 9, 20)]


@pytest.fixture
def read_counts(monkeypatch) -> list[int]:
    """How many windows each forward read."""
    counts: list[int] = []

    def counted(network, *, packed):
        counts.append(len(packed.lengths))
        return read_windows(network, packed=packed)

    monkeypatch.setattr(texts, "read_windows", counted)
    return counts


@pytest.fixture
def vectors_on(bundle):
    def made(*, folder=None, tokens=1024, network=None, budget=None) -> TextVectors:
        return TextVectors(
            network or bundle.network,
            budget=budget or Budget(tokens),
            prompts=VectorStore(folder, key="k"),
            answers=VectorStore(None, key="k"),
            watch=Watch(),
        )

    return made


def rows_of(bundle, *, prompts: list[str], responses: list[str]):
    return bundle.reader.columns(prompts, responses=responses, captions=[None] * len(prompts))


def read(vectors: TextVectors, rows, chosen: list[int] | None = None) -> torch.Tensor:
    """Every window of the chosen rows, in order."""
    own = np.arange(len(rows)) if chosen is None else np.array(chosen)
    found = vectors.of(rows, keys=rows.windows.keys(), chosen=own)
    return found.vectors[found.places[found.places >= 0]]


def test_every_window_gets_the_vector_that_the_tower_gives_it_alone(bundle, vectors_on):
    rows = rows_of(bundle, prompts=["Why?"] * 6, responses=[*SHORT, *LONG])
    with torch.inference_mode():
        alone = torch.cat(
            [
                read_windows(bundle.network, packed=rows.windows.pack(np.array([place])))
                for place in range(len(rows.windows))
            ]
        )
    for tokens in (1, 200, 10_000):
        torch.testing.assert_close(read(vectors_on(tokens=tokens), rows), alone, rtol=0, atol=1e-5)


def test_the_company_a_short_window_is_read_in_changes_no_byte_of_its_vector(bundle, vectors_on):
    rows = rows_of(bundle, prompts=["Why?", "Is it?", "Why?"], responses=SHORT)
    together = read(vectors_on(), rows)
    assert bool((rows.windows.lengths <= SHORT_TOKENS).all())
    for row in range(3):
        own = slice(int(rows.bounds[row]), int(rows.bounds[row + 1]))
        assert torch.equal(read(vectors_on(), rows, chosen=[row]), together[own])


def test_short_windows_are_read_once_and_prompts_in_the_next_run_not_at_all(
    bundle, vectors_on, read_counts, tmp_path
):
    rows = rows_of(bundle, prompts=["Why?"] * 3, responses=SHORT)
    first = vectors_on(folder=tmp_path)
    expected = read(first, rows)
    read_counts.clear()
    assert torch.equal(read(first, rows), expected)
    assert read_counts == []
    first.flush()
    again = vectors_on(folder=tmp_path)
    other = rows_of(bundle, prompts=["Why?"], responses=["Why not?"])
    read(again, other)
    assert len(read_counts) == 1


def test_a_long_response_that_repeats_is_read_once(bundle, vectors_on, read_counts):
    rows = rows_of(bundle, prompts=["Why?"] * 5, responses=[LONG[2]] * 5)
    found = read(vectors_on(), rows)
    long = rows.windows.lengths > SHORT_TOKENS
    distinct = len({rows.windows.keys()[place] for place in np.flatnonzero(long).tolist()})
    assert long.sum() > distinct > 0
    assert read_counts[-1] == distinct
    each = len(found) // 5
    assert torch.equal(found[:each], found[each : 2 * each])


def test_a_memory_that_runs_out_halves_the_forwards_and_changes_no_vector(
    bundle, vectors_on, monkeypatch
):
    rows = rows_of(bundle, prompts=["Why?"] * 3, responses=LONG)
    expected = read(vectors_on(), rows)

    def cramped(network, *, packed):
        if len(packed.lengths) > 2 and max(packed.lengths) > SHORT_TOKENS:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return read_windows(network, packed=packed)

    monkeypatch.setattr(texts, "read_windows", cramped)
    torch.testing.assert_close(read(vectors_on(), rows), expected, rtol=0, atol=1e-5)


def test_the_engine_decides_as_the_network_does_on_whole_rows(bundle, engine: Engine):
    prompts, responses = ["Why?", "Is it?", "", "Why?"], [SHORT[0], LONG[2], LONG[0], SHORT[0]]
    columns: dict[str, list[Any]] = {
        name: [""] * 4 if TRIPLES_SCHEMA.field(name).type == pa.string() else [0] * 4
        for name in TRIPLES_SCHEMA.names
    }
    columns |= {"prompt": prompts, "response": responses, "response_state": ["answered"] * 4}
    columns |= dict.fromkeys(("image", "caption", "language", "extras"), [None] * 4)
    scores = engine.score_table(pa.table(columns, schema=TRIPLES_SCHEMA))
    rows = bundle.reader.read(prompts, responses=responses, captions=[None] * 4)
    batch = RowBatch(texts=rows, image_slots=[-1] * 4, image_features=None)
    logits = cell_logits(bundle.network, rows=batch, tokens_per_batch=10_000)
    wanted = bundle.manifest.calibrator.probabilities(logits)
    found = np.stack([scores[cell].to_numpy() for cell in CELLS], axis=1)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_towers_that_read_in_fixed_shapes_read_as_before(bundle, vectors_on, monkeypatch):
    rows = rows_of(bundle, prompts=["Why?", "Is it?"] * 3, responses=[*SHORT, *LONG])
    wanted = read(vectors_on(), rows)
    network, budget = deepcopy(bundle.network), Budget(600, short_tokens=128)
    longest = network.text_tower.shape.context
    for _ in range(2):
        # The second time, what the first left is not wrapped again.
        fix_shapes(network, texts=budget, exchanges=budget, compiled=None)
        assert not isinstance(network.text_tower.tower, FixedTower)
    shapes = set()
    plain = network.text_tower.tower
    between = plain.read

    def watched(ids, **given):
        shapes.add((len(ids), len(given["layout"].bounds) - 1))
        return between(ids, **given)

    monkeypatch.setattr(plain, "read", watched)
    found = read(vectors_on(network=network, budget=budget), rows)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    # Of tokens 128, or so often twice that as is needed; of sequences by 8, or 48, and the filling.
    room = {tokens: -(-tokens // longest) for tokens in (128, 256, 512, 1024)}
    assert (128, 16 + room[128]) in shapes
    assert shapes <= {(128, 16 + room[128])} | {(t, t // 48 + more) for t, more in room.items()}
    assert len(shapes) > 1
    loosen(network)
    assert network.text_tower is plain


def test_compiling_is_for_cuda_in_half_precision(bundle):
    for precision in ("auto", "fp32"):
        with pytest.raises(SettingsError, match="--compile is for CUDA in bf16"):
            placed(bundle.network, budgets=[Budget(9)] * 2, precision=precision, compiled=True)


def test_a_tower_that_takes_no_offsets_is_left_alone_and_never_compiled(bundle):
    network = deepcopy(bundle.network)
    shape = TransformerShape(width=8, layers=1, heads=2, hidden=8, distance_buckets=4)
    mpnet = TextTower(
        TextShape(
            transformer=shape,
            vocabulary=9,
            context=8,
            pooling="mean",
            embedding_norm=True,
            projection=None,
        )
    )
    for precision in ("auto", "bf16"):
        with pytest.raises(SettingsError, match="--compile is for CUDA in bf16"):
            placed(bundle.network, budgets=[Budget(9)] * 2, precision=precision, compiled=True)
    network.text_tower = mpnet
    budgets = {"texts": Budget(9), "exchanges": Budget(9)}
    fix_shapes(network, **budgets, compiled=None)
    assert network.text_tower is mpnet
    with pytest.raises(SettingsError, match=r"MPNet.*leave --compile out"):
        fix_shapes(network, **budgets, compiled={})
