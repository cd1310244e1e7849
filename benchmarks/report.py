"""Seconds, memory and page size of a report over many scored rows.

    python -m benchmarks.report --rows 1000000 --work runs/report --out benchmarks/results

The folders under `--work` are drawn by code, not scored: 20 VLLMs answer the items of five
benchmarks, and a judge answers a declared random 2% of the rows. The report runs in a process of
its own, as `nsgauge report` does.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nsgauge.data.folders import TRIPLES_FILE, VERDICTS_FILE
from nsgauge.data.tables import data_fingerprint
from nsgauge.eval.scoring import shards
from nsgauge.protocol import CELLS
from nsgauge.records import SCORES_SCHEMA, TRIPLES_SCHEMA, VERDICTS_SCHEMA

VLLMS, BENCHMARKS = 20, 5
SHARD_ROWS = 100_000
JUDGED_SHARE = 0.02
MEGABYTE = 1e6


def main() -> None:
    """Draw the folders unless they are there, time a report over them, write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    data, scores = chosen.work / f"data-{chosen.rows}", chosen.work / f"scores-{chosen.rows}"
    if not (scores / shards.MANIFEST).exists():
        draw_folders(data, scores, rows=chosen.rows, seed=chosen.seed)
    found = timed(data, scores, chosen.work / "report") | {"rows": chosen.rows}
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found | facts(), indent=1)
    (chosen.out / "report.json").write_text(text + "\n")
    print(text)


def draw_folders(data: Path, scores: Path, *, rows: int, seed: int) -> None:
    """A data folder and a finished score folder of so many rows."""
    generator = np.random.default_rng(seed)
    for folder in (data, scores):
        folder.mkdir(parents=True, exist_ok=True)
    cells = draw_cells(rows, generator=generator)
    triples = draw_triples(rows, generator=generator)
    pq.write_table(triples, data / TRIPLES_FILE)
    pq.write_table(draw_verdicts(triples, cells=cells, generator=generator), data / VERDICTS_FILE)
    table = score_table(triples["triple_id"], cells=cells)
    manifest = shards.ScoreManifest(
        run="drawn",
        nsgauge_version=version("nsgauge"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data_fingerprint=data_fingerprint(data),
        bundle={"name": "drawn", "judges": ["judge"]},
        settings={},
        rows=rows,
    )
    for number, start in enumerate(range(0, rows, SHARD_ROWS)):
        part = table.slice(start, SHARD_ROWS)
        shard = shards.write_shard(scores, name=f"scores-{number:05d}.parquet", table=part)
        manifest = manifest.with_shard(shard, table=part)
    shards.write_manifest(scores, manifest=manifest.model_copy(update={"complete": True}))


def draw_cells(rows: int, *, generator: np.random.Generator) -> np.ndarray:
    """Calibrated cell probabilities; a VLLM's own lean recurs every `VLLMS` rows."""
    lean = generator.uniform(0.5, 2.0, VLLMS)[np.arange(rows) % VLLMS]
    weights = [generator.gamma(shape, size=rows) for shape in (3.0, 0.5, 0.8, 0.3)]
    cells = np.stack(weights, axis=1)
    cells[:, 1:] *= lean[:, None]
    return np.asarray(cells / cells.sum(axis=1, keepdims=True))


def draw_triples(rows: int, *, generator: np.random.Generator) -> pa.Table:
    """Every VLLM answers every item; responses are of 20 to 2,000 characters."""
    number = np.arange(rows)
    item = number // VLLMS
    benchmark = pa.array([f"benchmark-{code}" for code in range(BENCHMARKS)])
    vllm = pa.array([f"vllm-{code:02d}" for code in range(VLLMS)])
    words = np.array(["picture", "shows", "a", "mushroom", "that", "nobody", "should", "eat"])
    lengths = generator.integers(4, 360, 2_000)
    pool = pa.array([" ".join(generator.choice(words, length)) for length in lengths])
    columns = {
        "triple_id": pa.array(np.char.mod("row-%07d", number)),
        "benchmark": benchmark.take(pa.array(item % BENCHMARKS)),
        "item_id": pa.array(np.char.mod("item-%06d", item)),
        "vllm": vllm.take(pa.array(number % VLLMS)),
        "sample": pa.array(np.zeros(rows, dtype=np.int32)),
        "prompt": pool.take(pa.array(item % 2_000)),
        "response": pool.take(pa.array(generator.integers(0, 2_000, rows))),
        "response_state": pa.repeat("answered", rows),
    }
    return filled(columns, schema=TRIPLES_SCHEMA, rows=rows)


def draw_verdicts(
    triples: pa.Table, *, cells: np.ndarray, generator: np.random.Generator
) -> pa.Table:
    """A judge that agrees with the probabilities on average, on a declared draw of rows."""
    at = np.flatnonzero(generator.random(len(cells)) < JUDGED_SHARE)
    said = (generator.random((at.size, 1)) > cells[at].cumsum(axis=1)).sum(axis=1).clip(0, 3)
    columns = {
        "triple_id": triples["triple_id"].take(pa.array(at)).combine_chunks(),
        "judge": pa.repeat("judge", at.size),
        "vote": pa.array(np.zeros(at.size, dtype=np.int32)),
        "state": pa.repeat("answered", at.size),
        "safety": pa.array(["safe", "unsafe"]).take(pa.array(said % 2)),
        "grounding": pa.array(["grounded", "not_grounded"]).take(pa.array(said // 2)),
        "inclusion_probability": pa.array(np.full(at.size, JUDGED_SHARE)),
    }
    return filled(columns, schema=VERDICTS_SCHEMA, rows=at.size)


def score_table(triple_ids: pa.ChunkedArray, *, cells: np.ndarray) -> pa.Table:
    """All rows scored, none seen."""
    rows = len(cells)
    unsafe, not_grounded = cells[:, 1] + cells[:, 3], cells[:, 2] + cells[:, 3]
    columns = {str(cell): pa.array(cells[:, at]) for at, cell in enumerate(CELLS)}
    columns |= {
        "triple_id": triple_ids.combine_chunks(),
        "status": pa.repeat("scored", rows),
        "unsafe": pa.array(unsafe),
        "not_grounded": pa.array(not_grounded),
        "unsafe_verdict": pa.array(unsafe >= 0.5),
        "not_grounded_verdict": pa.array(not_grounded >= 0.5),
        "image_state": pa.repeat("image", rows),
        "text_windows": pa.array(np.ones(rows, dtype=np.int32)),
        "truncated": pa.array(np.zeros(rows, dtype=bool)),
        "item_seen": pa.array(np.zeros(rows, dtype=bool)),
        "vllm_seen": pa.array(np.arange(rows) % VLLMS < VLLMS - 4),
    }
    return filled(columns, schema=SCORES_SCHEMA, rows=rows)


def filled(columns: dict[str, pa.Array], *, schema: pa.Schema, rows: int) -> pa.Table:
    """The columns in the schema's types, null where none is given."""
    arrays = [
        columns[field.name].cast(field.type)
        if field.name in columns
        else pa.nulls(rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def timed(data: Path, scores: Path, out: Path) -> dict[str, float]:
    """Run `nsgauge report` on two threads at most, and measure it."""
    command = [sys.executable, "-m", "nsgauge", "report", "--data", str(data)]
    command += ["--scores", str(scores), "--out", str(out)]
    threads = {"OMP_NUM_THREADS": "2", "ARROW_DEFAULT_THREAD_POOL_SIZE": "2"}
    before, started = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | threads, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, getrusage(RUSAGE_CHILDREN)
    cpu = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
    return {
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_megabytes": round(after.ru_maxrss * 1024 / MEGABYTE),
        "page_megabytes": round((out / "report.html").stat().st_size / MEGABYTE, 2),
        "json_megabytes": round((out / "report.json").stat().st_size / MEGABYTE, 2),
        "data_megabytes": round(sum(f.stat().st_size for f in data.iterdir()) / MEGABYTE),
    }


def facts() -> dict[str, object]:
    """Where and with what it ran."""
    return {
        "command": " ".join(["python -m benchmarks.report", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "load_at_end": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "pyarrow", "scipy", "matplotlib")},
    }


if __name__ == "__main__":
    main()
