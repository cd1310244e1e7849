"""Ratios on one CUDA device, each against the matrix product of the same run; ids as in the notes.

Towers of true shape with random weights, on texts of real lengths. The engine runs varlen attention
in bf16 without torch.compile, so G6 (recompiles) has nothing to count and is left out.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from benchmarks.scoring import world
from benchmarks.scoring.rounds import Row, compared, row
from benchmarks.scoring.towers import encoded, packs, relative, response_windows, text_flops
from nsgauge.checkpoints.bundle import Bundle
from nsgauge.eval.scoring.engine import TOKENS_PER_BATCH, Engine, Precision
from nsgauge.eval.scoring.pictures import Pictures
from nsgauge.models.lora import LoraSettings, add_lora
from nsgauge.models.towers.convert import text_tower
from nsgauge.models.towers.packing import Packed
from nsgauge.models.towers.text import TextTower

SIDE = 8192
ROWS = 8192
SWEEP = (8_192, 16_384, 32_768, 65_536, 131_072)
VIT_B32_GFLOP = 8.82
"""Of one image, by open_clip's model profile."""


def clock() -> float:
    """Seconds, once the device has done all it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def rows_on_gpu() -> list[Row]:
    """All rows.

    Raises:
        SystemExit: there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here: nothing was measured")
    print(torch.cuda.get_device_name(), flush=True)
    left, right = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))

    def product() -> Tensor:
        return left @ right

    rows = []
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        measures: tuple[Callable[[], Row | list[Row]], ...] = (
            lambda: g1_text(product),
            lambda: g1_image(product),
            g3,
            g7,
            lambda: g4_and_g5(Path(scratch)),
            lambda: g9(Path(scratch)),
        )
        for measure in measures:
            found = measure()
            rows += found if isinstance(found, list) else [found]
    return [*rows, g8()]


def on_device(tower: TextTower, *, budget: int) -> tuple[TextTower, list[Packed], int]:
    """A tower in bf16, responses packed for it, and their tokens."""
    windows = response_windows(4096)
    batches = [batch.to(torch.device("cuda")) for batch in packs(windows, budget=budget)]
    return tower.to("cuda", torch.bfloat16), batches, int(windows.bounds[-1])


def g1_text(product: Callable[[], Tensor]) -> Row:
    """FLOP/s on real tokens over that of the matrix product."""
    tower, batches, tokens = on_device(world.clip_towers().text, budget=TOKENS_PER_BATCH["cuda"])
    work = text_flops(tower, tokens=tokens) / (20 * 2 * SIDE**3)
    ratios = compared(
        lambda: [product() for _ in range(20)], lambda: encoded(tower, batches), clock=clock
    )
    return row(
        "G1",
        "CLIP text tower, packed, real tokens",
        sides=("FLOP/s of its linears", f"FLOP/s of a {SIDE}^3 bf16 product"),
        ratios=[ratio * work for ratio in ratios],
        parity="none: not the same work",
        least=0.45,
    )


def g1_image(product: Callable[[], Tensor]) -> Row:
    """The image tower likewise."""
    tower = world.clip_towers().image.to("cuda", torch.bfloat16)
    pixels = torch.randint(0, 256, (512, 3, 224, 224), dtype=torch.uint8, device="cuda")
    work = VIT_B32_GFLOP * 1e9 * len(pixels) / (20 * 2 * SIDE**3)
    ratios = compared(lambda: [product() for _ in range(20)], lambda: tower(pixels), clock=clock)
    return row(
        "G1",
        "ViT-B/32, 512 images",
        sides=("FLOP/s", f"FLOP/s of a {SIDE}^3 bf16 product"),
        ratios=[ratio * work for ratio in ratios],
        parity="none: not the same work",
        least=0.55,
    )


def g3() -> list[Row]:
    """open_clip padded in bf16, eager and compiled, against ours."""
    import open_clip  # noqa: PLC0415 - a peer

    model: Any = open_clip.create_model("ViT-B-32", pretrained=None).eval()
    exact = text_tower(model, layers=None)
    tower, batches, _ = on_device(exact, budget=TOKENS_PER_BATCH["cuda"])
    windows = response_windows(4096)
    padded = torch.zeros(len(windows), world.CONTEXT, dtype=torch.int64)
    for place in range(len(windows)):
        ids = windows.ids[windows.bounds[place] : windows.bounds[place + 1]]
        padded[place, : len(ids)] = torch.from_numpy(ids)
    chunks = torch.split(padded[: len(padded) // 1024 * 1024].cuda(), 1024)
    model = model.to("cuda", torch.bfloat16)
    compiled: Any = torch.compile(model.encode_text, dynamic=False)
    share = sum(map(len, chunks)) / len(windows)
    first = windows.pack(np.arange(1024)).to(torch.device("cuda"))
    difference = relative(tower(first).float(), model.encode_text(chunks[0]).float())
    rows = []
    for name, peer, least in (("eager", model.encode_text, 2.0), ("compiled", compiled, 1.3)):

        def run(peer: Callable[[Tensor], Tensor] = peer) -> list[Tensor]:
            return [peer(chunk) for chunk in chunks]

        ratios = compared(run, lambda: encoded(tower, batches), clock=clock)
        rows.append(
            row(
                "G3",
                f"open_clip, padded, bf16, {name}",
                sides=("its time", "packed time"),
                ratios=[ratio / share for ratio in ratios],
                parity=f"relative difference in bf16 {difference:.1e}",
                least=least,
                parity_holds=difference <= 5e-2,
            )
        )
    return rows


def g7() -> Row:
    """Tokens in a forward: the best of a sweep against the default."""
    default = TOKENS_PER_BATCH["cuda"]
    made = {budget: on_device(world.clip_towers().text, budget=budget) for budget in SWEEP}
    tower, usual, _ = made[default]
    found = {
        budget: compared(
            lambda: encoded(tower, usual),
            lambda batches=batches: encoded(tower, batches),  # type: ignore[misc]
            clock=clock,
        )
        for budget, (_, batches, _) in made.items()
    }
    best = max(found, key=lambda budget: float(np.median(found[budget])))
    return row(
        "G7",
        f"tokens in a forward, {SWEEP[0]:,} to {SWEEP[-1]:,}: the best is {best:,}",
        sides=(f"{default:,} tokens", f"{best:,} tokens"),
        ratios=found[best],
        parity="the same windows",
        most=1.05,
    )


def engine_on(
    bundle: Bundle, *, data: Path, cache: Path | None, precision: Precision = "auto"
) -> Engine:
    """A new engine: nothing in memory."""
    pictures = Pictures(data, side=bundle.towers.image_side_px, resize="crop")
    return Engine(bundle, pictures=pictures, cache=cache, device="cuda", precision=precision)


def g4_and_g5(folder: Path) -> list[Row]:
    """A naive script against the engine, and the engine against its device's part alone."""
    bundle = world.bundle_of(world.clip_towers())
    table = world.triples(ROWS, images=ROWS // 6)
    world.write_pictures(folder, count=ROWS // 6, size=(500, 375))
    engine = engine_on(bundle, data=folder, cache=folder / "cache")
    engine.score_table(table)
    engine.flush()
    few = table.slice(0, 256)

    def naive() -> pa.Table:
        """Row by row, a picture each."""
        parts = [
            engine_on(bundle, data=folder, cache=None).score_table(few.slice(index, 1))
            for index in range(few.num_rows)
        ]
        return pa.concat_tables(parts)

    def scored(cache: Path | None) -> pa.Table:
        return engine_on(bundle, data=folder, cache=cache).score_table(table)

    looked = engine.look(table)
    windows = looked.texts.windows
    first = np.array(sorted({key: place for place, key in enumerate(looked.keys)}.values()))
    order = first[np.argsort(windows.lengths[first], kind="stable")]
    edges = np.cumsum(windows.lengths[order]) // TOKENS_PER_BATCH["cuda"]
    groups = np.split(order, np.flatnonzero(np.diff(edges)) + 1)
    batches = [windows.pack(group).to(torch.device("cuda")) for group in groups]
    tower = bundle.network.text_tower
    rate = few.num_rows / table.num_rows
    warm, cold = (
        compared(lambda: encoded(tower, batches), lambda c=cache: scored(c), clock=clock)  # type: ignore[misc]
        for cache in (folder / "cache", None)
    )
    slow = compared(naive, lambda: scored(folder / "cache"), rounds=3, clock=clock)
    sides = ("text tower alone", "end to end")
    seconds = []
    for _ in range(3):
        began = clock()
        scored(folder / "cache")
        seconds.append(clock() - began)
    speed = f"{table.num_rows / float(np.median(seconds)):,.0f} rows/s warm, reading not overlapped"
    return [
        row("G5", "warm", sides=sides, ratios=warm, parity=speed, least=0.90),
        row("G5", "cold, 500x375", sides=sides, ratios=cold, parity="same rows", least=0.70),
        row(
            "G4",
            "a row at a time, nothing kept",
            sides=("its time a row", "engine, a row"),
            ratios=[ratio / rate for ratio in slow],
            parity="same rows",
            least=8,
        ),
    ]


def g8() -> Row:
    """A training step on adapters against a merged forward."""
    merged, batches, _ = on_device(world.clip_towers().text, budget=16_384)
    apart = world.clip_towers().text
    add_lora(apart, settings=LoraSettings(rank=8, image=False))
    apart = apart.to("cuda", torch.bfloat16).train()

    def step() -> None:
        apart(batches[0]).float().square().mean().backward()

    return row(
        "G8",
        "LoRA step, text tower",
        sides=("forward and backward", "merged forward"),
        ratios=compared(step, lambda: encoded(merged, batches[:1]), clock=clock),
        parity="same windows",
        most=2.8,
    )


def g9(folder: Path) -> Row:
    """Verdicts that bf16 flips."""
    table = world.triples(4096)
    exact = engine_on(
        world.bundle_of(world.clip_towers()), data=folder, cache=None, precision="fp32"
    ).score_table(table)
    half = engine_on(world.bundle_of(world.clip_towers()), data=folder, cache=None).score_table(
        table
    )
    flips = [
        float(np.mean(exact[name].to_numpy() != half[name].to_numpy()))
        for name in ("unsafe_verdict", "not_grounded_verdict")
    ]
    return row(
        "G9",
        "verdicts in bf16 / in fp32, random classifier",
        sides=("flipped", "all"),
        ratios=flips,
        parity="an untrained classifier lies close to its threshold more often than a trained one",
        most=0.002,
    )
