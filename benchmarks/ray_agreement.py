"""Does a Ray cluster write the score folder that the local engine writes? Row by row.

    python -m benchmarks.ray_agreement --rows 100000 --work WORK --out benchmarks/results/ray.json

A random classifier with tiny towers scores drawn triples twice: here, and on the actors of a
cluster that is started on this machine (`--address` names another). Needs the extra `ray`.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.checkpoints.export_merged import export_merged, load_merged
from nsgauge.checkpoints.manifest import BundleManifest, Thresholds, TrainingFacts
from nsgauge.data.tables import SourceNote, write_data
from nsgauge.eval.scoring.ray_engine import Cluster, RayResources, score_folder_on_ray
from nsgauge.eval.scoring.runner import Resources, score_folder
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.eval.scoring.shards import read_scores
from nsgauge.models.calibrator import Calibrator
from nsgauge.models.fusion import FusionSettings
from nsgauge.models.lora import LoraSettings
from nsgauge.models.network import NetworkSettings, build_network
from nsgauge.models.preset import load_preset
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.models.towers.image import Normalisation, VitShape, VitTower
from nsgauge.models.towers.pair import Towers
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.models.towers.transformer import TransformerShape
from nsgauge.models.windows import RowReader, WindowPolicy
from nsgauge.records import Triple

WORDS = 1000
START, END, UNKNOWN = WORDS, WORDS + 1, WORDS + 2
CONTEXT = 64
SIDE = 32
PICTURES = 200
TOLERANCE = 1e-5


def tiny_bundle() -> Bundle:
    """A random classifier whose towers are as small as towers get."""
    torch.manual_seed(0)
    towers = _towers()
    settings = NetworkSettings(
        lora=LoraSettings(image=False, text=False),
        fusion=FusionSettings(width=32, layers=1),
        ordinals=4,
    )
    policy = WindowPolicy(max_windows=4, prompt_tokens=16)
    preset = load_preset("pocket").model_copy(update={"patch_grid": 0})
    manifest = BundleManifest(
        name="tiny",
        nsgauge_version=version("nsgauge"),
        preset=preset,
        tower_directory=None,
        tower_fingerprint=towers.fingerprint,
        windows=policy,
        captions=False,
        network=settings,
        calibrator=Calibrator(method="temperature", scale=20.0),
        thresholds=Thresholds(unsafe=0.5, not_grounded=0.5),
        training=_no_training(),
        files={},
    )
    return Bundle(
        manifest=manifest,
        network=build_network(towers, settings=settings).eval(),
        towers=towers,
        reader=RowReader(towers.tokenizer, context=CONTEXT, policy=policy),
        seen=frozenset(),
        fingerprint="0" * 64,
    )


def _towers() -> Towers:
    transformer = TransformerShape(width=32, layers=2, heads=2, hidden=64)
    vit = VitShape(transformer=transformer, image_side_px=SIDE, patch_side_px=16, projection=32)
    half = (0.5, 0.5, 0.5)
    text = TextShape(
        transformer=transformer,
        vocabulary=WORDS + 3,
        context=CONTEXT,
        pooling="mean",
        embedding_norm=True,
        projection=None,
    )
    words = {f"w{number}": number for number in range(WORDS)} | {"[UNK]": UNKNOWN}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))  # noqa: S106 (no password)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    image = VitTower(vit, normalisation=Normalisation(mean=half, std=half), patch_grid=0)
    return Towers(
        image=image.eval(),
        text=TextTower(text).eval(),
        tokenizer=TextTokenizer(tokenizer, clean=str, start=START, end=END),
        text_context=CONTEXT,
        image_side_px=SIDE,
        resize="crop",
        fingerprint="0" * 64,
    )


def _no_training() -> TrainingFacts:
    return TrainingFacts(
        judges=(),
        target_making={},
        prompt_hashes=(),
        data_fingerprint="",
        vllms=(),
        rows={},
        left_out={},
        recipe={},
        validation={},
        thresholds={},
        seconds=0.0,
        versions={},
        created="",
    )


def write_triples(data: Path, *, rows: int, pictures: Path) -> None:
    """A data folder of drawn triples, each picture shared by many."""
    draw = np.random.default_rng(0)
    (pictures / "images").mkdir(parents=True, exist_ok=True)
    for number in range(PICTURES):
        pixels = draw.integers(256, size=(40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"images/{number}.png")

    def triples() -> Iterator[Triple]:
        for row in range(rows):
            item = int(draw.integers(PICTURES))
            lengths = draw.integers([4, 0], [12, 90])
            prompt, response = (
                " ".join(f"w{word}" for word in draw.integers(WORDS, size=length))
                for length in lengths
            )
            yield Triple(
                triple_id=f"t{row}",
                benchmark="drawn",
                item_id=f"i{item}",
                vllm=f"m{row % 7}",
                prompt=prompt,
                response=response or "w0",
                image=f"images/{item}.png",
            )

    source = SourceNote(importer="benchmark", image_root=pictures)
    write_data(data, triples=triples(), verdicts=(), rejects=(), source=source, overwrite=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How two tables of scores differ.

    Attributes:
        rows: In each.
        largest: The largest difference of a probability.
        differing: Rows in which anything else differs, verdicts set aside.
        flips: Rows with another verdict on either axis.
    """

    rows: int
    largest: float
    differing: int
    flips: int


def agreement(first: pa.Table, *, second: pa.Table) -> Agreement:
    """Compare two tables with SCORES_SCHEMA row by row."""
    if first.num_rows != second.num_rows:
        raise ValueError(f"{first.num_rows} rows and {second.num_rows} rows")
    differing, flips = (np.zeros(first.num_rows, dtype=bool) for _ in range(2))
    largest = 0.0
    for field in first.schema:
        ours, theirs = (table[field.name] for table in (first, second))
        if pa.types.is_floating(field.type):
            gap = np.abs(ours.to_numpy() - theirs.to_numpy())
            largest = max(largest, float(np.nanmax(gap, initial=0.0)))
            continue
        other = np.array(ours.to_pylist(), object) != np.array(theirs.to_pylist(), object)
        (flips if field.name.endswith("_verdict") else differing)[other] = True
    return Agreement(
        rows=first.num_rows, largest=largest, differing=int(differing.sum()), flips=int(flips.sum())
    )


def measure(work: Path, *, rows: int, cluster: Cluster) -> dict[str, object]:
    """Score the same rows both ways and compare.

    Args:
        work: A folder for the classifier, the data and both score folders.
        rows: How many triples.
        cluster: Where the actors run.
    """
    bundle, data = work / "bundle", work / "data"
    export_merged(tiny_bundle(), out=bundle, overwrite=True)
    write_triples(data, rows=rows, pictures=work / "pictures")
    settings = ScoringSettings(controls_rows=0)
    started = time.monotonic()
    score_folder(
        load_merged(bundle),
        data=data,
        out=work / "local",
        settings=settings,
        resources=Resources(device="cpu"),
        overwrite=True,
    )
    local = time.monotonic() - started
    score_folder_on_ray(
        bundle,
        data=data,
        out=work / "ray",
        settings=settings,
        resources=RayResources(device="cpu", cluster=cluster),
        overwrite=True,
    )
    found = agreement(read_scores(work / "local"), second=read_scores(work / "ray"))
    return {
        "rows": found.rows,
        "largest_difference": found.largest,
        "rows_otherwise_different": found.differing,
        "verdict_flips": found.flips,
        "agree": found.largest <= TOLERANCE and not found.differing,
        "local_seconds": round(local, 1),
        "ray_seconds": round(time.monotonic() - started - local, 1),
    }


def main() -> None:
    """Run it and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--address", default=None)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    cluster = Cluster(address=given.address, actors=given.actors)
    note = {
        "command": f"python -m benchmarks.ray_agreement --rows {given.rows}",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("nsgauge", "torch", "ray", "pyarrow")},
        "result": measure(given.work, rows=given.rows, cluster=cluster),
    }
    print(json.dumps(note["result"]))
    given.out.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
