"""Control runs: some rows scored again with the picture exchanged, blanked or taken away."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pyarrow as pa

from nsgauge.eval.scoring.engine import Engine, Row
from nsgauge.records import ImageState, Triple


def control_triples(triples: Sequence[Triple], *, limit: int, seed: int) -> list[Triple]:
    """Draw the triples to score again; the draw depends on nothing but ids and seed.

    Args:
        triples: Candidates.
        limit: Most wanted: those with the smallest keyed digests.
        seed: Of the key.
    """

    def key(triple: Triple) -> bytes:
        return sha256(f"{seed}:{triple.triple_id}".encode()).digest()

    return sorted(triples, key=key)[:limit]


def control_runs(
    engine: Engine, *, rows: Sequence[Row], seed: int
) -> dict[str, Callable[[], pa.Table]]:
    """The runs by name, in the order they are shown; each gives scores of all the rows.

    `shuffled_images` gives every picture's rows another picture of the same rows;
    `blank_images` shows mid-grey; `prompt_response` and `response_only` show none.
    """
    without = [replace(row, image_state=ImageState.ABSENT, digest=None) for row in rows]
    bare = [replace(row, triple=replace(row.triple, prompt="")) for row in without]

    def shuffled() -> pa.Table:
        vectors, slots = engine.vectors(rows)
        count = 0 if vectors is None else len(vectors)
        other = _derangement(count, generator=np.random.default_rng(seed))
        exchanged = [-1 if slot < 0 else int(other[slot]) for slot in slots]
        return engine.score_with(rows, vectors=vectors, slots=exchanged)

    def blank() -> pa.Table:
        slots = [-1 if row.digest is None else 0 for row in rows]
        return engine.score_with(rows, vectors=engine.blank(), slots=slots)

    return {
        "shuffled_images": shuffled,
        "blank_images": blank,
        "prompt_response": lambda: engine.score(without),
        "response_only": lambda: engine.score(bare),
    }


def _derangement(count: int, *, generator: np.random.Generator) -> np.ndarray:
    """A random cycle through 0..count-1: nothing keeps its place, unless it is alone."""
    cycle = generator.permutation(count)
    other = np.empty(count, dtype=np.int64)
    other[cycle] = np.roll(cycle, -1)
    return other
