"""Ratios on one CUDA device, each against the matrix product of the same run; ids as in the notes.

Towers of true shape with random weights, on texts of real lengths. `--rehearse` goes through every
row on a CPU, with tiny towers and few texts, and keeps nothing: so that the script still runs when
a GPU is there at last.
"""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.scoring import world
from benchmarks.scoring.gpu_engine import g4_to_g6, g9, guard_row
from benchmarks.scoring.peers import transformers_text
from benchmarks.scoring.place import PRODUCTS, Place
from benchmarks.scoring.rounds import Row, row
from benchmarks.scoring.towers import encoded, relative, response_windows, text_flops
from nsgauge.models.lora import LoraSettings, add_lora
from nsgauge.models.towers.convert import text_tower
from nsgauge.models.towers.fixed import compile_options

VIT_B32_GFLOP = 8.82
"""Of one image, by open_clip's model profile."""
Measure = Callable[[Place, Path], list[Row]]


def measured(place: Place) -> tuple[list[Row], Mapping[str, object]]:
    """All rows, and the ceilings of the same run.

    Raises:
        SystemExit: there is no CUDA device.
    """
    if place.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here: nothing was measured (--rehearse goes through it)")
    towers: tuple[Measure, ...] = (g1_text, g1_image, g2, g3, g7, g8)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, measure in enumerate((*towers, g4_to_g6, guard_row, g9)):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            rows += measure(place, folder)
            print(measure.__name__, flush=True)
    return rows, ceilings(place)


def ceilings(place: Place) -> dict[str, object]:
    """G0: what the device can do at best."""
    product = place.product()
    big = torch.randn(place.side * place.side, device=place.device)
    seconds: dict[str, float] = {}
    runs: dict[str, Callable[[], object]] = {"product": product, "copy": big.clone}
    for name, run in runs.items():
        run()
        began = place.clock()
        for _ in range(10):
            run()
        seconds[name] = (place.clock() - began) / 10
    name = torch.cuda.get_device_name() if place.device == "cuda" else place.device
    return {
        "device": name,
        "G0 product, TFLOP/s": round(PRODUCTS * 2 * place.side**3 / seconds["product"] / 1e12, 1),
        "G0 copy, TB/s": round(2 * big.nbytes / seconds["copy"] / 1e12, 2),
    }


@torch.inference_mode()
def g1_text(place: Place, _folder: Path) -> list[Row]:
    """FLOP/s of the text tower on real tokens over that of the matrix product."""
    plain, tokens = place.towers().text, place.sizes.tokens
    batches, real = place.packs(tokens=tokens)
    work = text_flops(plain, tokens=real) / (PRODUCTS * 2 * place.side**3)
    eager, compiled = (place.fixed(plain, tokens=tokens, compiled=c) for c in (False, True))
    off = relative(encoded(compiled, batches[:1]).float(), encoded(eager, batches[:1]).float())
    rows = []
    for name, tower in (("eager", eager), ("compiled", compiled)):
        ratios = place.ratios(place.product(), partial(encoded, tower, batches))
        rows.append(
            row(
                "G1",
                f"CLIP text tower, packed, real tokens, {name}",
                sides=("FLOP/s of its linears", "FLOP/s of a matrix product"),
                ratios=[ratio * work for ratio in ratios],
                parity=f"compiled against eager {off:.1e}",
                least=0.45,
                parity_holds=off <= 5e-2,
            )
        )
    return rows


@torch.inference_mode()
def g1_image(place: Place, _folder: Path) -> list[Row]:
    """The image tower likewise."""
    tower = place.towers().image.to(place.device)
    mean, std = tower.mean, tower.std
    tower = tower.to(place.dtype)
    tower.mean, tower.std = mean, std
    side = place.towers().image_side_px
    pixels = torch.randint(
        0, 256, (place.images, 3, side, side), dtype=torch.uint8, device=place.device
    )
    work = VIT_B32_GFLOP * 1e9 * len(pixels) / (PRODUCTS * 2 * place.side**3)
    rows = []
    for name in ("eager", "compiled"):
        if name == "compiled":
            tower.compile(**compile_options(backend=place.backend))
        rows.append(
            row(
                "G1",
                f"ViT-B/32, {place.images} images, {name}",
                sides=("FLOP/s", "FLOP/s of a matrix product"),
                ratios=[r * work for r in place.ratios(place.product(), lambda: tower(pixels))],
                parity="none: not the same work",
                least=0.55,
            )
        )
    return rows


@torch.inference_mode()
def g2(place: Place, _folder: Path) -> list[Row]:
    """The text tower's time over that of its matrix products alone."""
    tower = place.fixed(place.towers().text, tokens=place.sizes.tokens, compiled=True)
    batches, _ = place.packs(tokens=place.sizes.tokens)
    linears = [m for m in tower.tower.stack.modules() if isinstance(m, torch.nn.Linear)]
    inputs = {
        width: torch.randn(place.sizes.tokens, width, device=place.device, dtype=place.dtype)
        for width in {linear.in_features for linear in linears}
    }

    def products() -> None:
        for _ in batches:
            for linear in linears:
                inputs[linear.in_features] @ linear.weight.T

    return [
        row(
            "G2",
            "CLIP text tower, compiled",
            sides=("its time", "time of its products alone"),
            ratios=place.ratios(lambda: encoded(tower, batches), products),
            parity="as many forwards, each counted as full",
            most=1.5,
        )
    ]


@torch.inference_mode()
def g3(place: Place, _folder: Path) -> list[Row]:
    """Padded peers in the same precision against ours, compiled; with the same weights."""
    import open_clip  # noqa: PLC0415 - a peer

    torch.manual_seed(0)
    model: Any = open_clip.create_model("ViT-B-32", pretrained=None).eval()
    ours = place.fixed(text_tower(model, layers=None), tokens=place.sizes.tokens, compiled=True)
    windows = response_windows(place.rows // 2)
    batches, _ = place.packs(tokens=place.sizes.tokens)
    padded = torch.zeros(len(windows), world.CONTEXT, dtype=torch.int64)
    for at, own in enumerate(np.split(windows.ids, windows.bounds[1:-1])):
        padded[at, : len(own)] = torch.from_numpy(own)
    whole = padded[: len(padded) // place.batch * place.batch]
    chunks = torch.split(whole.to(place.device), place.batch)
    share = sum(map(len, chunks)) / len(windows)
    model = model.to(place.device, place.dtype)
    peers: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
        "open_clip, eager": (model.encode_text, 2.0),
        "open_clip, compiled": (
            torch.compile(model.encode_text, dynamic=False, backend=place.backend),
            1.3,
        ),
        "transformers CLIPTextModel": (transformers_text(model), 1.8),
    }
    first = windows.pack(np.arange(place.batch)).to(torch.device(place.device))
    wanted = ours(first).float()
    rows = []
    for name, (peer, least) in peers.items():
        off = relative(peer(chunks[0]).float(), wanted)
        ratios = place.ratios(
            lambda: [peer(chunk) for chunk in chunks],  # noqa: B023 - called at once
            lambda: encoded(ours, batches),
        )
        rows.append(
            row(
                "G3",
                f"{name}, padded",
                sides=("its time", "packed time, compiled"),
                ratios=[ratio / share for ratio in ratios],
                parity=f"relative difference {off:.1e}",
                least=least,
                parity_holds=off <= 5e-2,
            )
        )
    return rows


@torch.inference_mode()
def g7(place: Place, _folder: Path) -> list[Row]:
    """Tokens in a forward: the best of a sweep against the default, eager and compiled."""
    rows = []
    for compiled in (False, True):
        runs: dict[int, Callable[[], Tensor]] = {}
        for tokens in place.sweep:
            tower = place.fixed(place.towers().text, tokens=tokens, compiled=compiled)
            batches, _ = place.packs(tokens=tokens)
            runs[tokens] = partial(encoded, tower, batches)
        usual = runs[place.sizes.tokens]
        found = {tokens: place.ratios(usual, run) for tokens, run in runs.items()}
        best = max(found, key=lambda tokens: float(np.median(found[tokens])))
        rows.append(
            row(
                "G7",
                f"tokens in a forward, {place.sweep[0]:,} to {place.sweep[-1]:,}, "
                f"{'compiled' if compiled else 'eager'}: the best is {best:,}",
                sides=(f"{place.sizes.tokens:,} tokens", f"{best:,} tokens"),
                ratios=found[best],
                parity="the same windows",
                most=1.05,
            )
        )
    return rows


def g8(place: Place, _folder: Path) -> list[Row]:
    """A training step on adapters against a merged forward."""
    batches, _ = place.packs(tokens=place.sizes.tokens // 4)
    merged = place.towers().text.to(place.device, place.dtype)
    apart = place.towers().text
    add_lora(apart, settings=LoraSettings(rank=8, image=False))
    apart = apart.to(place.device, place.dtype).train()

    def step() -> None:
        apart(batches[0]).float().square().mean().backward()

    return [
        row(
            "G8",
            "LoRA step, text tower",
            sides=("forward and backward", "merged forward"),
            ratios=place.ratios(step, lambda: encoded(merged, batches[:1])),
            parity="same windows",
            most=2.8,
        )
    ]
