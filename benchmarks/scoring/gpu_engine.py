"""The GPU's rows about the whole engine: end to end, against its peers, and in which arithmetic."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from benchmarks.scoring import world
from benchmarks.scoring.peers import guard, open_clip_loop
from benchmarks.scoring.place import Place
from benchmarks.scoring.rounds import Row, row
from benchmarks.scoring.towers import encoded
from nsgauge.checkpoints.bundle import Bundle
from nsgauge.eval.scoring.engine import Engine
from nsgauge.eval.scoring.pictures import Pictures
from nsgauge.eval.scoring.settings import Precision
from nsgauge.models.prediction import batches_under_budget
from nsgauge.models.row_windows import TextRole
from nsgauge.models.towers.packing import Packed

NAIVE_ROWS = 256
PICTURE = (500, 375)
GUARD_ROWS = 8


def engine_on(
    place: Place, bundle: Bundle, *, data: Path, cache: Path | None, precision: Precision = "auto"
) -> Engine:
    """A new engine: nothing in memory. In half precision on CUDA its towers are compiled."""
    compiled = place.device == "cuda" and precision != "fp32"
    pictures = Pictures(data, side=bundle.towers.image_side_px, resize="crop")
    return Engine(
        bundle,
        pictures=pictures,
        cache=cache,
        device=place.device,
        precision=precision,
        compiled=compiled,
    )


def made(place: Place, folder: Path) -> tuple[Bundle, pa.Table]:
    """A classifier, and triples with pictures, six of them to one."""
    images = max(1, place.rows // world.ANSWERS_PER_ITEM)
    world.write_pictures(folder, count=images, size=PICTURE)
    return world.bundle_of(place.towers()), world.triples(place.rows, images=images)


@torch.inference_mode()
def g4_to_g6(place: Place, folder: Path) -> list[Row]:
    """A naive script against the engine; the engine against its towers alone; recompilations."""
    bundle, table = made(place, folder)
    engine = engine_on(place, bundle, data=folder, cache=folder / "cache")
    engine.score_table(table)
    engine.flush()
    tower = bundle.network.text_tower
    batches = _distinct(engine, table=table, place=place)
    encoded(tower, batches)
    before = _compiled()

    def scored(cache: Path | None) -> pa.Table:
        return engine_on(place, bundle, data=folder, cache=cache).score_table(table)

    kept, sides = folder / "cache", ("text tower alone", "end to end")
    warm = place.ratios(lambda: encoded(tower, batches), lambda: scored(kept))
    cold = place.ratios(lambda: encoded(tower, batches), lambda: scored(None))
    seconds = []
    for _ in range(3):
        began = place.clock()
        scored(kept)
        seconds.append(place.clock() - began)
    rate = table.num_rows / float(np.median(seconds))
    other = world.triples(place.rows, seed=1, images=place.rows // world.ANSWERS_PER_ITEM or 1)
    engine.score_table(other)
    said = f"{rate:,.0f} rows/s warm, reading not overlapped: a million in {1e6 / rate:,.0f} s"
    return [
        row("G5", "warm", sides=sides, ratios=warm, parity=said, least=0.90),
        row("G5", "cold, 500x375", sides=sides, ratios=cold, parity="same rows", least=0.70),
        row(
            "G6",
            "shapes compiled after the first table, two other passes included",
            sides=("compilations", "none wanted"),
            ratios=[float(_compiled() - before)],
            parity="-",
            most=0,
        ),
        *_naive(place, bundle, folder=folder, table=table),
    ]


def _naive(place: Place, bundle: Bundle, *, folder: Path, table: pa.Table) -> list[Row]:
    few = table.slice(0, NAIVE_ROWS)

    def ours() -> pa.Table:
        return engine_on(place, bundle, data=folder, cache=folder / "cache").score_table(table)

    loop = open_clip_loop(few, folder=folder, device=place.device, dtype=place.dtype)
    share = few.num_rows / table.num_rows
    return [
        row(
            "G4",
            "clip-retrieval's loop: every row's picture, prompt and response",
            sides=("its time a row", "engine warm, a row"),
            ratios=[ratio / share for ratio in place.ratios(loop, ours, rounds=3)],
            parity="same rows; the loop cuts responses off at 77 tokens",
            least=8,
        )
    ]


def guard_row(place: Place, folder: Path) -> list[Row]:
    """A guard model of eleven billion weights that prefills as many triples."""
    bundle, table = made(place, folder)
    prefill = guard(device=place.device, dtype=place.dtype, small=place.device == "cpu")

    def ours() -> pa.Table:
        return engine_on(place, bundle, data=folder, cache=None).score_table(table)

    share = GUARD_ROWS / table.num_rows
    return [
        row(
            "GG",
            "Llama-Guard-3-11B-Vision's shape, one prefill a triple",
            sides=("its time a row", "engine cold, a row"),
            ratios=[r / share for r in place.ratios(lambda: prefill(GUARD_ROWS), ours, rounds=3)],
            parity="not the same work: a tile of the picture, its own prompt, the exchange",
        )
    ]


def g9(place: Place, folder: Path) -> list[Row]:
    """Verdicts that half precision flips."""
    table = world.triples(place.rows // 2)
    bundle = world.bundle_of(place.towers())
    exact = engine_on(place, bundle, data=folder, cache=None, precision="fp32").score_table(table)
    half = engine_on(place, bundle, data=folder, cache=None, precision="bf16").score_table(table)
    flips = [
        float(np.mean(exact[name].to_numpy() != half[name].to_numpy()))
        for name in ("unsafe_verdict", "not_grounded_verdict")
    ]
    return [
        row(
            "G9",
            "verdicts in bf16 / in fp32, random classifier",
            sides=("flipped", "all"),
            ratios=flips,
            parity="an untrained classifier lies close to its threshold more often than a trained",
            most=0.002,
        )
    ]


def _distinct(engine: Engine, *, table: pa.Table, place: Place) -> list[Packed]:
    """Every distinct window of a table's responses, packed."""
    rows = engine.look(table)
    said = np.flatnonzero(rows.texts.roles != TextRole.PROMPT).tolist()
    first = np.array(sorted({rows.keys[at]: at for at in said}.values()))
    lengths = rows.texts.windows.lengths[first].tolist()
    return [
        rows.texts.windows.pack(first[batch]).to(torch.device(place.device))
        for batch in batches_under_budget(lengths, tokens_per_batch=place.sizes.tokens)
    ]


def _compiled() -> int:
    """Graphs that torch has compiled so far."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])
