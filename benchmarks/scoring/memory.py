"""C11: peak memory of a long run against a short one, and the share of time spent on files.

Tiny random towers, so that everything but the towers takes the time; each size in a process of its
own, which says what it peaked at.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.scoring import world
from benchmarks.scoring.rounds import Row, row
from nsgauge.eval.scoring.runner import Resources, score_folder
from nsgauge.eval.scoring.settings import ScoringSettings

SHARDS = 12
"""Of the shorter run: enough for its memory to have settled."""


def measured(sizes: list[int]) -> Row:
    """Peak memory of the second size over that of the first."""
    small, large = sizes
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for rows in sizes:
            data = Path(scratch) / f"data-{rows}"
            world.write_copies(data, rows=rows)
            command = [sys.executable, "-m", "benchmarks.scoring.memory", str(data)]
            command += ["--rows-per-shard", str(max(256, small // SHARDS))]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[rows] = json.loads(said.splitlines()[-1])
            print(f"{rows:,} rows: {found[rows]}", flush=True)
    peaks = [found[rows]["peak_mb"] for rows in (large, small)]
    return row(
        "C11",
        f"peak memory, {large:,} rows ({peaks[0]:.0f} MB) / {small:,} ({peaks[1]:.0f} MB)",
        sides=(f"{large:,} rows", f"{small:,} rows"),
        ratios=[peaks[0] / peaks[1]],
        parity=(
            f"{found[large]['rows_per_second']:.0f} rows/s with tiny towers; of the time of all "
            f"threads, {found[large]['writing']:.1%} is spent writing, "
            f"{found[large]['reading']:.1%} reading"
        ),
        most=1.1,
    )


def main() -> None:
    """Score one data folder and print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows-per-shard", type=int, required=True)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    bundle = world.bundle_of(world.tiny_towers())
    resources = Resources(device="cpu")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        manifest = score_folder(
            bundle,
            data=chosen.data,
            out=Path(scratch) / "scores",
            settings=ScoringSettings(controls_rows=0, rows_per_shard=chosen.rows_per_shard),
            resources=resources,
        )
    said = {
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rows_per_second": manifest.rows / (time.monotonic() - began),
        **resources.watch.shares,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
