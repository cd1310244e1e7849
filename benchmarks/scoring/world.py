"""What is scored in these benchmarks: towers of true shape or tiny ones, texts of real lengths."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from PIL import Image

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.checkpoints.manifest import BundleManifest, Thresholds, TrainingFacts
from nsgauge.data.folders import TRIPLES_FILE
from nsgauge.data.parquet import ROWS_PER_GROUP
from nsgauge.models.calibrator import Calibrator
from nsgauge.models.fusion import FusionSettings
from nsgauge.models.lora import LoraSettings
from nsgauge.models.network import NetworkSettings, build_network
from nsgauge.models.preset import load_preset
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.models.towers.image import Normalisation, VitShape, VitTower
from nsgauge.models.towers.open_clip_door import clip_vocabulary
from nsgauge.models.towers.pair import Towers
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.models.towers.transformer import TransformerShape
from nsgauge.models.windows import RowReader, WindowPolicy
from nsgauge.records import TRIPLES_SCHEMA

CONTEXT = 77
ANSWERS_PER_ITEM = 6
TINY = TransformerShape(width=32, layers=1, heads=2, hidden=64, activation="gelu", causal=True)
CLIP_TEXT = TransformerShape(width=512, layers=12, heads=8, hidden=2048, causal=True)
VIT_B = TransformerShape(width=768, layers=12, heads=12, hidden=3072)


@cache
def clip_tokenizer() -> TextTokenizer:
    """open_clip's vocabulary in our tokenizer."""
    parts = clip_vocabulary()
    return TextTokenizer.clip(parts.vocabulary, merges=parts.merges, clean=parts.clean)


@cache
def words() -> list[str]:
    """Words that are one token of CLIP's, the frequent ones first."""
    found = sorted(clip_vocabulary().vocabulary.items(), key=lambda item: item[1])
    own = [token.removesuffix("</w>") for token, _ in found if token.endswith("</w>")]
    return [word for word in own if word.isascii() and word.isalpha()]


def text(tokens: int, *, generator: np.random.Generator) -> str:
    """A text of about so many tokens: frequent words more often, with sentences."""
    drawn = (generator.pareto(0.7, tokens) * 40).astype(np.int64) % len(words())
    spoken = [words()[place] for place in drawn.tolist()]
    for place in range(11, len(spoken), 12):
        spoken[place] = f"{spoken[place]}."
    return " ".join(spoken)


def response_tokens(rows: int, *, generator: np.random.Generator) -> np.ndarray:
    """Lengths of responses: lognormal, mean 177, within 50 and 500 (notes, section 5.1)."""
    return np.clip(generator.lognormal(np.log(150), 0.57, rows), 50, 500).astype(np.int64)


def towers(*, text_shape: TransformerShape, image: VitShape, patch_grid: int = 0) -> Towers:
    """A causal CLIP text tower and a CLIP ViT with random weights, the same for the same torch."""
    torch.manual_seed(0)
    plain = Normalisation(mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28))
    shape = TextShape(
        transformer=text_shape,
        vocabulary=49_408,
        context=CONTEXT,
        pooling="end",
        embedding_norm=False,
        projection=text_shape.width,
    )
    return Towers(
        image=VitTower(image, normalisation=plain, patch_grid=patch_grid).eval(),
        text=TextTower(shape).eval(),
        tokenizer=clip_tokenizer(),
        text_context=CONTEXT,
        image_side_px=image.image_side_px,
        resize="crop",
        fingerprint="0" * 64,
    )


def clip_towers() -> Towers:
    """ViT-B/32 and its text tower."""
    vit = VitShape(transformer=VIT_B, image_side_px=224, patch_side_px=32, projection=512)
    return towers(text_shape=CLIP_TEXT, image=vit)


def tiny_towers() -> Towers:
    """So small that everything but the towers takes the time."""
    vit = VitShape(transformer=TINY, image_side_px=32, patch_side_px=16, projection=32)
    return towers(text_shape=TINY, image=vit)


def bundle_of(pair: Towers) -> Bundle:
    """An untrained classifier on towers, in memory alone."""
    torch.manual_seed(1)
    policy = WindowPolicy(layout="apart")
    settings = NetworkSettings(
        lora=LoraSettings(image=False, text=False),
        fusion=FusionSettings(width=64, layers=1),
        ordinals=policy.max_windows,
    )
    network = build_network(pair, settings=settings).eval().requires_grad_(requires_grad=False)
    facts = TrainingFacts(
        judges=("none",),
        target_making={},
        prompt_hashes=(),
        data_fingerprint="0",
        vllms=(),
        rows={},
        left_out={},
        recipe={},
        validation={},
        thresholds={},
        seconds=0.0,
        versions={},
        created="2026-01-01T00:00:00+00:00",
    )
    manifest = BundleManifest(
        name="benchmark",
        nsgauge_version="0",
        preset=load_preset("clip-vit-b32"),
        tower_directory=None,
        tower_fingerprint=pair.fingerprint,
        windows=policy,
        captions=False,
        network=settings,
        calibrator=Calibrator(method="temperature", scale=1.0),
        thresholds=Thresholds(unsafe=0.5, not_grounded=0.5),
        training=facts,
        files={"lora.safetensors": "0", "heads.safetensors": "0", "seen.json": "0"},
    )
    return Bundle(
        manifest=manifest,
        network=network,
        towers=pair,
        reader=RowReader(pair.tokenizer, context=pair.text_context, policy=policy),
        seen=frozenset(),
        fingerprint="0" * 64,
    )


def triples(rows: int, *, seed: int = 0, images: int = 0, repeated: float = 0.0) -> pa.Table:
    """Triples with texts of real lengths, six to a prompt.

    Args:
        rows: How many.
        seed: Of all that is random.
        images: How many pictures there are, named as `write_pictures` does; 0 for none.
        repeated: Share of the rows whose response is that of another row, in [0, 1).
    """
    generator = np.random.default_rng(seed)
    items = np.arange(rows) // ANSWERS_PER_ITEM
    lengths = response_tokens(rows, generator=generator)
    responses = [text(length, generator=generator) for length in lengths.tolist()]
    again = generator.permutation(rows) < round(repeated * rows)
    fresh = np.flatnonzero(~again)
    for row in np.flatnonzero(again).tolist():
        responses[row] = responses[int(generator.choice(fresh))]
    prompts = [text(28, generator=generator) for _ in range(int(items[-1]) + 1)]
    columns = {
        "triple_id": [f"{seed}-{row}" for row in range(rows)],
        "benchmark": ["made"] * rows,
        "item_id": [f"{seed}-{item}" for item in items.tolist()],
        "vllm": [f"vllm-{row % ANSWERS_PER_ITEM}" for row in range(rows)],
        "sample": [0] * rows,
        "prompt": [prompts[item] for item in items.tolist()],
        "response": responses,
        "response_state": ["answered"] * rows,
        "image": [f"images/{item % images}.jpg" if images else None for item in items.tolist()],
        "caption": [None] * rows,
        "language": [None] * rows,
        "extras": [None] * rows,
    }
    return pa.table(columns, schema=TRIPLES_SCHEMA)


def write_data(folder: Path, *, rows: int, block: int = 20_000) -> None:
    """A data folder of so many rows without pictures; written block by block."""
    folder.mkdir(parents=True)
    with pq.ParquetWriter(folder / TRIPLES_FILE, TRIPLES_SCHEMA, compression="zstd") as writer:
        for table in _blocks(rows, block=block):
            writer.write_table(table, row_group_size=ROWS_PER_GROUP)


def write_copies(folder: Path, *, rows: int, texts: int = 20_000) -> None:
    """A long data folder quickly: the same texts again and again, behind words of their own."""
    made = triples(texts)
    folder.mkdir(parents=True)
    place = made.schema.get_field_index("response")
    with pq.ParquetWriter(folder / TRIPLES_FILE, TRIPLES_SCHEMA, compression="zstd") as writer:
        for copy, start in enumerate(range(0, rows, texts)):
            table = made.slice(0, min(texts, rows - start))
            own = pc.binary_join_element_wise(table["response"], f"number {copy}", " ")
            ids = pc.binary_join_element_wise(table["triple_id"], str(copy), "-")
            table = table.set_column(place, "response", own).set_column(0, "triple_id", ids)
            writer.write_table(table.cast(TRIPLES_SCHEMA), row_group_size=ROWS_PER_GROUP)


def _blocks(rows: int, *, block: int) -> Iterator[pa.Table]:
    for seed, start in enumerate(range(0, rows, block)):
        yield triples(min(block, rows - start), seed=seed)


def write_pictures(folder: Path, *, count: int, size: tuple[int, int], seed: int = 0) -> None:
    """JPEGs of quality 88, smooth with some noise."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture(size, seed=seed + number).save(folder / "images" / f"{number}.jpg", quality=88)


def picture(size: tuple[int, int], *, seed: int) -> Image.Image:
    """A smooth picture with some noise, whose JPEG is as large as a photograph's."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    scales = generator.uniform(20, 90, (3, 2))
    waves = [np.sin(x / a + y / b) for a, b in scales.tolist()]
    drawn = 127 + 90 * np.stack(waves, axis=-1) + generator.normal(0, 6, (size[1], size[0], 3))
    return Image.fromarray(drawn.clip(0, 255).astype(np.uint8))
