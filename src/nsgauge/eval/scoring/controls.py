"""Control runs: some rows scored again with the picture exchanged, blanked or taken away."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pyarrow as pa

from nsgauge.eval.scoring.engine import Engine, Seen
from nsgauge.eval.scoring.rows import Rows, read_texts
from nsgauge.protocol import CELLS

NAMES = ("shuffled_images", "blank_images", "prompt_response", "response_only")
"""`shuffled_images` gives every picture's rows another picture of the same rows; `blank_images`
shows mid-grey; `prompt_response` and `response_only` show none."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Rows as a control run has them, and what it shows."""

    rows: Rows
    seen: Seen


def drawn(triples: pa.Table, *, limit: int, seed: int) -> pa.Table:
    """Draw the triples to score again; the draw depends on nothing but ids and seed.

    Args:
        triples: Candidates, with TRIPLES_SCHEMA.
        limit: Most wanted: those with the smallest keyed digests.
        seed: Of the key.
    """
    ids = triples["triple_id"].to_pylist()
    keys = [sha256(f"{seed}:{triple_id}".encode()).digest() for triple_id in ids]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return triples.take(pa.array(order[:limit], pa.int64()))


def control_scores(engine: Engine, *, rows: Rows, seed: int) -> Iterator[tuple[str, pa.Table]]:
    """What each control run says of the rows, by name, in the order of `NAMES`.

    Windows that several runs have in common are read once.
    """
    whole = np.arange(len(rows))
    seen, rows = engine.see(rows, block=whole)
    runs = _runs(engine, rows=rows, seen=seen, seed=seed)
    cells = {name: np.full((len(rows), len(CELLS)), np.nan) for name in NAMES}
    with engine.watch.during("computing"):
        for block in engine.blocks(rows):
            told = None
            for name, run in runs.items():
                told = engine.read(run.rows, chosen=block, known=told)
                cells[name][block] = engine.decide(run.rows, chosen=block, told=told, seen=run.seen)
    for name, run in runs.items():
        yield name, engine.table(run.rows, cells=cells[name])


def _runs(engine: Engine, *, rows: Rows, seen: Seen, seed: int) -> dict[str, _Run]:
    count = len(np.unique(seen.slots[seen.slots >= 0]))
    other = np.append(_derangement(count, generator=np.random.default_rng(seed)), -1)
    exchanged = Seen(vectors=seen.vectors, slots=other[seen.slots])
    bare = rows.without_pictures()
    prompted = _read_again(engine, rows=bare, prompts=True)
    unprompted = _read_again(engine, rows=bare, prompts=False)
    runs = (
        _Run(rows, exchanged),
        _Run(rows, engine.blank(rows)),
        _Run(prompted, engine.unseen(bare)),
        _Run(unprompted, engine.unseen(bare)),
    )
    return dict(zip(NAMES, runs, strict=True))


def _read_again(engine: Engine, *, rows: Rows, prompts: bool) -> Rows:
    """The rows without captions, for there is no picture that one stands in for."""
    table = rows.table
    if not prompts:
        place = table.schema.get_field_index("prompt")
        nothing = pa.array([""] * len(rows), pa.string())
        table = table.set_column(place, table.schema.field(place), nothing)
    texts = read_texts(table, bundle=engine.bundle, image_states=rows.image_states)
    return rows.with_texts(texts)


def _derangement(count: int, *, generator: np.random.Generator) -> np.ndarray:
    """A random cycle through 0..count-1: nothing keeps its place, unless it is alone."""
    cycle = generator.permutation(count)
    other = np.empty(count, dtype=np.int64)
    other[cycle] = np.roll(cycle, -1)
    return other
