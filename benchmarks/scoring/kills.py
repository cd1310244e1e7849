"""C12: killed at random moments, a run ends with the same bytes, and does at most one shard twice.

The towers are loaded once; each attempt is a fork of this process that scores and is killed.
"""

import json
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.scoring import world
from benchmarks.scoring.rounds import Row, row
from nsgauge.checkpoints.bundle import Bundle
from nsgauge.eval.scoring.runner import Resources, score_folder
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.eval.scoring.shards import read_manifest

ROWS = 640
SETTINGS = ScoringSettings(rows_per_shard=64, controls_rows=0)


def survived(kills: int, *, seed: int) -> Row:
    """Kill runs until so many kills hit work in flight; compare every finished run's bytes."""
    torch.set_num_threads(1)
    bundle = world.bundle_of(world.tiny_towers())
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_data(folder / "data")
        began = time.monotonic()
        _attempt(bundle, folder=folder, out=folder / "whole", wait=None)
        lasts = time.monotonic() - began
        wanted = _contents(folder / "whole")
        runs = hits = redone = wrong = 0
        while hits < kills:
            out = folder / f"run-{runs}"
            while not _attempt(
                bundle, folder=folder, out=out, wait=float(generator.uniform(0, 1.1 * lasts))
            ):
                hits += 1
                redone = max(redone, _unlisted(out))
            wrong += _contents(out) != wanted
            runs += 1
        rows = sum(shard.rows for shard in read_manifest(out).shards)
    return row(
        "C12",
        f"{hits} kills over {runs} runs of {ROWS // 64} shards",
        sides=("most shards done twice after a kill", "one shard"),
        ratios=[float(redone)],
        parity=f"{wrong} of {runs} finished runs differ in a byte; {rows} of {ROWS} rows",
        most=1.0,
        parity_holds=wrong == 0 and rows == ROWS,
    )


def _attempt(bundle: Bundle, *, folder: Path, out: Path, wait: float | None) -> bool:
    """Score in a fork, killed after so many seconds; whether it ended before."""
    child = os.fork()
    if not child:
        try:
            signal.alarm(60)
            score_folder(
                bundle,
                data=folder / "data",
                out=out,
                settings=SETTINGS,
                resources=Resources(device="cpu", cache=folder / "cache"),
            )
        finally:
            os._exit(0 if _complete(out) else 1)
    if wait is not None:
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a run ended with an error; see above")
    return os.WIFEXITED(status)


def _write_data(data: Path) -> None:
    """In a fork too: Arrow's threads, once there, would be missing in every later fork."""
    child = os.fork()
    if not child:
        try:
            world.write_data(data, rows=ROWS)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _complete(out: Path) -> bool:
    return (out / "manifest.json").is_file() and read_manifest(out).complete


def _unlisted(out: Path) -> int:
    """Shards, whole or not, that the manifest doesn't list: what is done again."""
    if not (out / "manifest.json").is_file():
        return 0
    listed = {shard.name for shard in read_manifest(out).shards}
    found = {file.name.lstrip(".").removesuffix(".part") for file in out.glob("*scores-*")}
    return len(found - listed)


def _contents(out: Path) -> dict[str, object]:
    """Every file's bytes; of the manifest, all but when the run began."""
    found: dict[str, object] = {file.name: file.read_bytes() for file in sorted(out.iterdir())}
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return found | {"manifest.json": {**manifest, "created": ""}}
