"""Text towers in int8 (ONNX Runtime) against our own packed towers in fp32, on one core.

    python -m benchmarks.int8 speed --out benchmarks/results/int8-speed.json
    python -m benchmarks.int8 parity BUNDLE --data DATA --out benchmarks/results/int8-NAME.json

Speed: towers of the true shape with random weights on windows of responses with the lengths of real
ones (lognormal, median 150 tokens); one thread, process time, rounds interleaved, and fp32 against
itself as a check of the noise.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nsgauge.checkpoints.bundle import load_bundle
from nsgauge.eval.scoring.int8_tower import QuantisedTower
from nsgauge.eval.scoring.quantised import compared_int8
from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.models.towers.transformer import TransformerShape

TOWERS = {
    "clip-text-12x512": TextShape(
        transformer=TransformerShape(
            width=512, layers=12, heads=8, hidden=2048, activation="quick_gelu", causal=True
        ),
        vocabulary=49408,
        context=77,
        pooling="end",
        embedding_norm=False,
        projection=512,
    ),
    "minilm-6x384": TextShape(
        transformer=TransformerShape(
            width=384, layers=6, heads=12, hidden=1536, norm_first=False, norm_epsilon=1e-12
        ),
        vocabulary=30522,
        context=256,
        pooling="mean",
        embedding_norm=True,
        projection=None,
    ),
    "mpnet-8x768": TextShape(
        transformer=TransformerShape(
            width=768, layers=8, heads=12, hidden=3072, norm_first=False, distance_buckets=32
        ),
        vocabulary=30527,
        context=384,
        pooling="mean",
        embedding_norm=True,
        segments=False,
        projection=None,
    ),
}
FLOOR = 1.5
SELF_NOISE = (0.95, 1.05)


def speed(*, windows: int, rounds: int, towers: list[str]) -> list[dict[str, Any]]:
    """One row a tower: seconds in fp32 over seconds in int8, and how alike the vectors are."""
    torch.set_num_threads(1)
    return [_tower_row(name, windows=windows, rounds=rounds) for name in towers]


def _tower_row(name: str, *, windows: int, rounds: int) -> dict[str, Any]:
    torch.manual_seed(0)
    tower = TextTower(TOWERS[name]).eval().requires_grad_(requires_grad=False)
    packed = Packed.of(_windows(windows, context=TOWERS[name].context))
    int8 = QuantisedTower(tower, pooled=True)
    careful = QuantisedTower(tower, pooled=True, careful=packed)
    with torch.inference_mode():
        exact, cheaper = tower(packed), int8(packed)
        times: list[tuple[float, ...]] = [
            tuple(_seconds(each, packed) for each in (tower, int8, careful, tower))
            for _ in range(rounds)
        ]
    ratios = [first / second for first, second, *_ in times]
    itself = float(np.median([first / last for first, *_, last in times]))
    row = {
        "name": f"C7 {name}",
        "a": "own packed fp32",
        "b": "ONNX Runtime int8",
        "ratio_median": round(float(np.median(ratios)), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "ratio_careful": round(float(np.median([t[0] / t[2] for t in times])), 3),
        "floor": FLOOR,
        "rounds": rounds,
        "fp32_over_itself": round(itself, 3),
        "quiet": SELF_NOISE[0] <= itself <= SELF_NOISE[1],
        "tokens": sum(packed.lengths),
        "fp32_tokens_per_second": round(sum(packed.lengths) / np.median([t[0] for t in times])),
        "cosine_min": round(float(torch.cosine_similarity(exact, cheaper).min()), 5),
    }
    print(json.dumps(row))
    return row


def _seconds(tower: Callable[[Packed], object], packed: Packed) -> float:
    started = time.process_time()
    tower(packed)
    return time.process_time() - started


def _windows(count: int, *, context: int) -> list[Window]:
    """Balanced windows of responses with lognormal lengths, median 150 tokens, 50 to 500."""
    draw = np.random.default_rng(0)
    lengths: list[int] = []
    while len(lengths) < count:
        response = int(np.clip(np.exp(draw.normal(np.log(150), 0.6)), 50, 500))
        pieces = -(-response // (context - 2))
        lengths += [response // pieces + 2] * pieces
    ids = [draw.integers(200, 20_000, size=length).tolist() for length in lengths[:count]]
    return [Window(tuple(each), (0,) * len(each)) for each in ids]


def bundle_parity(bundle: Path, *, data: Path, rows: int) -> dict[str, Any]:
    """What the gate of `nsgauge score --precision int8` finds of a trained classifier."""
    loaded = load_bundle(bundle)
    compared = compared_int8(loaded, data=data, rows=rows)
    found = compared.parity
    for line in compared.lines():
        print(line)
    axes = {
        name: {
            "flips": round(axis.flips, 5),
            "auroc_fp32": axis.exact,
            "auroc_int8": axis.cheaper,
            "judged": axis.judged,
        }
        for name, axis in found.axes.items()
    }
    return {
        "bundle": loaded.manifest.name,
        "preset": loaded.manifest.preset.name,
        "rows": found.rows,
        "largest_difference": round(found.largest, 5),
        "careful": compared.careful,
        "passed": found.passed,
        **axes,
    }


def _write(path: Path, *, command: str, content: object) -> None:
    packages = ("nsgauge", "torch", "onnxruntime", "onnx", "numpy")
    note = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in packages},
        "result": content,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    fast = commands.add_parser("speed")
    fast.add_argument("--windows", type=int, default=48)
    fast.add_argument("--rounds", type=int, default=7)
    fast.add_argument("--towers", nargs="+", choices=TOWERS, default=list(TOWERS))
    same = commands.add_parser("parity")
    same.add_argument("bundle", type=Path)
    same.add_argument("--data", type=Path, required=True)
    same.add_argument("--rows", type=int, default=1000)
    for each in (fast, same):
        each.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.what == "speed":
        result: object = speed(windows=given.windows, rounds=given.rounds, towers=given.towers)
        command = f"python -m benchmarks.int8 speed --windows {given.windows}"
    else:
        result = bundle_parity(given.bundle, data=given.data, rows=given.rows)
        command = f"python -m benchmarks.int8 parity BUNDLE --data DATA --rows {given.rows}"
    _write(given.out, command=command, content=result)


if __name__ == "__main__":
    main()
