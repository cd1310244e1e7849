"""Compiles tiny towers and prints what came of it, as JSON.

A process of its own: the compiler can't follow the checks of annotations that tests put in.
"""

import json
import sys

import torch

from nsgauge.models.towers.fixed import FixedTower, Room, compile_options
from nsgauge.models.towers.image import Normalisation, VitShape, VitTower
from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.models.towers.transformer import TransformerShape

PLAIN = TransformerShape(width=16, layers=2, heads=4, hidden=24, causal=True)
LLAMA = TransformerShape(
    width=16,
    layers=2,
    heads=4,
    hidden=24,
    activation="silu",
    causal=True,
    key_heads=2,
    rotary_base=100,
    llama=True,
)
LENGTHS = ([3, 7, 7, 20], [5], [9] * 4, [31, 2, 2, 2, 2, 2])
ROOM, SMALLER = Room(tokens=48, sequences=6), Room(tokens=24, sequences=3)


def tower_of(shape: TransformerShape, *, mean: bool) -> TextTower:
    torch.manual_seed(0)
    text = TextShape(
        transformer=shape,
        vocabulary=97,
        context=32,
        pooling="mean" if mean else "end",
        embedding_norm=not shape.norm_first,
        projection=None if mean else 8,
    )
    return TextTower(text).eval()


def packed_of(lengths: list[int]) -> Packed:
    generator = torch.Generator().manual_seed(sum(lengths))
    draws = [torch.randint(97, (length,), generator=generator).tolist() for length in lengths]
    return Packed.of([Window(tuple(ids), (0,) * len(ids)) for ids in draws])


def compilations() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def text(shape: TransformerShape, *, mean: bool) -> dict[str, object]:
    tower, room = tower_of(shape, mean=mean), [ROOM]
    options = compile_options(backend="aot_eager")
    fixed = FixedTower(tower, room=lambda _: room[0], longest=32, compiled=options)
    before, counts, off = compilations(), [], 0.0
    for lengths in (*LENGTHS, [3, 4]):
        if lengths == [3, 4]:
            room[0] = SMALLER
        packed = packed_of(lengths)
        wanted = tower(packed)
        off = max(off, float((fixed(packed) - wanted).abs().max() / wanted.abs().max()))
        counts.append(compilations() - before)
    return {"off": off, "compilations": counts}


def image() -> dict[str, object]:
    torch.manual_seed(0)
    half = Normalisation(mean=(0.5, 0.4, 0.3), std=(0.5, 0.6, 0.7))
    shape = VitShape(transformer=PLAIN, image_side_px=32, patch_side_px=8, projection=12)
    tower = VitTower(shape, normalisation=half, patch_grid=2).eval()
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    wanted = tower(pixels)
    tower.compile(**compile_options(backend="aot_eager"))
    before = compilations()
    off = float((tower(pixels) - wanted).abs().max() / wanted.abs().max())
    tower(pixels)
    return {"off": off, "compilations": [compilations() - before]}


if __name__ == "__main__":
    bert = TransformerShape(width=16, layers=2, heads=2, hidden=32, norm_first=False)
    with torch.inference_mode():
        found = {
            "clip": text(PLAIN, mean=False),
            "bert": text(bert, mean=True),
            "llama": text(LLAMA, mean=True),
            "vit": image(),
        }
    sys.stdout.write(json.dumps(found))
