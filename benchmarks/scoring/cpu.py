"""Ratios on the CPU: one thread, process time, interleaved rounds; ids as in the notes."""

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from benchmarks.scoring import world
from benchmarks.scoring.rounds import Row, compared, row
from benchmarks.scoring.towers import (
    BUDGET,
    a_against_a,
    c1,
    c2,
    c3,
    c4,
    encoded,
    packs,
    padded_to,
    padding_parity,
)
from nsgauge.checkpoints.bundle import Bundle
from nsgauge.data.images import decode_image, pixels, pixels_of
from nsgauge.eval.scoring.engine import Engine
from nsgauge.eval.scoring.pictures import Pictures
from nsgauge.eval.scoring.placement import SIZES
from nsgauge.models.prediction import batches_under_budget, encode_images
from nsgauge.models.towers.packing import Windows

MEAN, STD = (
    np.array(channels, np.float32).reshape(3, 1, 1)
    for channels in ((0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
)
IMAGES = SIZES["cpu"].images
WHOLE_ROWS = 96
"""As many pictures as a forward takes, and texts enough to fill the forwards of short windows."""
C9_ROWS = 40


def c5() -> Row:
    """Tokens a second against open_clip's own tokenizer."""
    import open_clip  # noqa: PLC0415 - a peer

    texts = world.triples(1500)["response"].to_pylist()
    ours, theirs = world.clip_tokenizer(), open_clip.tokenizer.SimpleTokenizer()
    wanted = [theirs.encode(text) for text in texts]
    same = sum(list(own) == other for own, other in zip(ours.ids(texts), wanted, strict=True))
    return row(
        "C5",
        "tokenizing responses, warm",
        sides=("open_clip SimpleTokenizer time", "our time (Rust, one thread)"),
        ratios=compared(
            lambda: [theirs.encode(text) for text in texts], lambda: ours.encode(texts)
        ),
        parity=f"{same} of {len(texts)} texts have the same ids",
        least=1.5,
        parity_holds=same == len(texts),
    )


def engine_on(bundle: Bundle, *, data: Path, cache: Path | None) -> Engine:
    """A new engine: nothing in memory."""
    pictures = Pictures(data, side=bundle.towers.image_side_px, resize="crop")
    return Engine(bundle, pictures=pictures, cache=cache, device="cpu")


def parity_of(found: pa.Table, wanted: pa.Table) -> float:
    """Largest difference between two tables' probabilities."""
    columns = ("unsafe", "not_grounded")
    return max(
        float(np.abs(found[name].to_numpy() - wanted[name].to_numpy()).max()) for name in columns
    )


def script_of(
    bundle: Bundle, *, table: pa.Table, folder: Path, texts: Windows
) -> Callable[[], None]:
    """What scripts do: a picture and a prompt for every row, texts padded."""
    pictures = [(folder / path).read_bytes() for path in table["image"].to_pylist()]
    padded = packs(texts)

    def script() -> None:
        for start in range(0, len(pictures), IMAGES):
            several = pictures[start : start + IMAGES]
            decoded = np.stack([pixels_of(each, side=224, resize="crop") for each in several])
            encode_images(bundle.network.image_tower, batches=[decoded])
        encoded(bundle.network.text_tower, padded)

    return script


def c6_and_e1(folder: Path) -> list[Row]:
    """A warm cache against none, and the whole path, warm, against the tower alone."""
    bundle = world.bundle_of(world.clip_towers())
    table = world.triples(WHOLE_ROWS, images=WHOLE_ROWS // world.ANSWERS_PER_ITEM)
    world.write_pictures(folder, count=WHOLE_ROWS // world.ANSWERS_PER_ITEM, size=(500, 375))
    engine = engine_on(bundle, data=folder, cache=folder / "cache")
    wanted = engine.score_table(table)
    engine.flush()
    each = [
        table.take(np.arange(first, WHOLE_ROWS, world.ANSWERS_PER_ITEM))
        for first in range(world.ANSWERS_PER_ITEM)
    ]

    def nothing_kept() -> pa.Table:
        """One answer to each item, then the next: every row's picture and prompt are read."""
        parts = [engine_on(bundle, data=folder, cache=None).score_table(few) for few in each]
        return pa.concat_tables(parts)

    def warm() -> pa.Table:
        return engine_on(bundle, data=folder, cache=folder / "cache").score_table(table)

    def cold() -> pa.Table:
        return engine_on(bundle, data=folder, cache=None).score_table(table)

    rows = engine_on(bundle, data=folder, cache=folder / "cache").look(table)
    windows = rows.texts.windows
    filled = padded_to(windows, length=world.CONTEXT)
    script = script_of(bundle, table=table, folder=folder, texts=filled)
    first = sorted({key: place for place, key in enumerate(rows.keys)}.values())
    lengths = rows.texts.windows.lengths[first]
    batches = [
        rows.texts.windows.pack(np.array(first)[batch])
        for batch in batches_under_budget(lengths.tolist(), tokens_per_batch=BUDGET)
    ]
    tower = bundle.network.text_tower
    in_order = np.argsort(np.concatenate([few["triple_id"].to_numpy() for few in each]))
    difference = parity_of(
        nothing_kept().take(in_order), wanted.take(np.argsort(wanted["triple_id"].to_numpy()))
    )
    padding = padding_parity(bundle.network.text_tower, windows, filled=filled)
    return [
        row(
            "C6",
            "six responses an image: every row's picture and prompt, padded / engine, warm cache",
            sides=("towers alone", "warm, all included"),
            ratios=compared(script, warm, rounds=5),
            parity=f"relative difference of the texts {padding:.1e}",
            least=1.8,
            parity_holds=padding <= 1e-5,
        ),
        row(
            "C6a",
            "six responses an image: every row's picture and prompt, packed / warm cache",
            sides=("nothing kept", "warm"),
            ratios=compared(nothing_kept, warm, rounds=5),
            parity=f"largest difference {difference:.1e}",
            parity_holds=difference <= 1e-5,
        ),
        row(
            "C6b",
            "six responses an image: no cache on disk, each image once / warm cache",
            sides=("cold", "warm"),
            ratios=compared(cold, warm, rounds=5),
            parity=f"largest difference {parity_of(cold(), wanted):.1e}",
        ),
        row(
            "E1",
            f"tower alone on the windows that repeat nothing / end to end, warm, {WHOLE_ROWS} rows",
            sides=("tower alone", "end to end"),
            ratios=compared(lambda: encoded(tower, batches), warm, rounds=5),
            parity="the same windows, prompts from the cache end to end",
            least=0.95,
        ),
    ]


def c8() -> list[Row]:
    """Decode, resize and normalise in fp32 with Pillow, against bytes from a scaled decode."""
    rows = []
    for size, least in (((500, 375), 1.2), ((1024, 768), 1.4)):
        file = io.BytesIO()
        world.picture(size, seed=1).save(file, "JPEG", quality=88)
        content = file.getvalue()

        def plain(content: bytes = content) -> np.ndarray:
            image = Image.open(io.BytesIO(content)).convert("RGB")
            return (pixels(image, side=224, resize="crop").astype(np.float32) / 255 - MEAN) / STD

        def ours(content: bytes = content) -> np.ndarray:
            return pixels_of(content, side=224, resize="crop")

        full = pixels(decode_image(content), side=224, resize="crop").astype(int)
        off = float(np.abs(full - ours().astype(int)).mean())
        rows.append(
            row(
                "C8",
                f"JPEG {size[0]}x{size[1]} to 224 px",
                sides=("Pillow to float32", "ours to bytes"),
                ratios=compared(
                    lambda: [plain() for _ in range(40)], lambda: [ours() for _ in range(40)]
                ),
                parity=f"mean difference {off:.2f} of 255",
                least=least,
                parity_holds=off <= 2,
            )
        )
    return rows


def c9(folder: Path) -> Row:
    """Three rows of ten with another's response: each read, against each distinct one read."""
    bundle = world.bundle_of(world.clip_towers())
    repeated = world.triples(C9_ROWS, repeated=0.3)

    def scored(table: pa.Table) -> pa.Table:
        return engine_on(bundle, data=folder, cache=None).score_table(table)

    def one_by_one() -> pa.Table:
        engine = engine_on(bundle, data=folder, cache=None)
        return pa.concat_tables(
            [engine.score_table(repeated.slice(start, 1)) for start in range(C9_ROWS)]
        )

    difference = parity_of(one_by_one(), scored(repeated))
    responses = repeated["response"].to_pylist()
    engine = engine_on(bundle, data=folder, cache=None)
    rows = engine.look(repeated)
    windows = rows.texts.windows

    def every_window() -> None:
        encoded(bundle.network.text_tower, packs(windows))

    def each_once() -> None:
        engine_on(bundle, data=folder, cache=None).score(rows)

    share = 1 - len(set(responses)) / len(responses)
    return row(
        "C9",
        f"{share:.0%} repeated responses",
        sides=("tower on every window", "engine, each once, from windows to scores"),
        ratios=compared(every_window, each_once),
        parity=f"largest difference to one row at a time {difference:.1e}",
        least=1.3,
        parity_holds=difference <= 1e-5,
    )


def c10(folder: Path) -> Row:
    """Frozen towers end to end against deciding on vectors that are kept."""
    bundle = world.bundle_of(world.clip_towers())
    table = world.triples(24)
    engine = engine_on(bundle, data=folder, cache=None)
    rows = engine.look(table)
    chosen = np.arange(len(rows))
    told = engine.read(rows, chosen=chosen)
    seen = engine.unseen(rows)
    return row(
        "C10",
        "towers and all / decision on cached vectors",
        sides=("end to end", "from vectors"),
        ratios=compared(
            lambda: engine_on(bundle, data=folder, cache=None).score_table(table),
            lambda: engine.decide(rows, chosen=chosen, told=told, seen=seen),
        ),
        parity="the same rows",
        least=50,
    )


def rows_of(only: list[str]) -> Iterator[list[Row]]:
    """The rows measured so far, after each kind: all, or those whose id is named."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        made: dict[str, Callable[[], Row | list[Row]]] = {
            "C1": c1,
            "C6": lambda: c6_and_e1(Path(scratch)),
            "C9": lambda: c9(Path(scratch)),
            "C5": c5,
            "C8": c8,
            "C2": lambda: [*c2(prompts=False), *c2(prompts=True)],
            "C4": c4,
            "C10": lambda: c10(Path(scratch)),
            "C3": c3,
            "AA": a_against_a,
        }
        rows: list[Row] = []
        for name, measure in made.items():
            if only and name not in only:
                continue
            began = time.monotonic()
            found = measure()
            rows += found if isinstance(found, list) else [found]
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
            yield rows
