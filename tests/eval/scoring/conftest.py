"""An untrained bundle, a sample world with every kind of faulty row, and its scores."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from nsgauge.checkpoints.bundle import Bundle, load_bundle, save_bundle
from nsgauge.checkpoints.manifest import BundleManifest, Thresholds, TrainingFacts
from nsgauge.data.sample.world import SampleSettings, write_sample
from nsgauge.data.split import item_key
from nsgauge.data.tables import (
    SourceNote,
    read_triples,
    read_verdicts,
    triples_of,
    verdicts_of,
    write_data,
)
from nsgauge.eval.scoring import runner
from nsgauge.eval.scoring.engine import Engine
from nsgauge.eval.scoring.pictures import Pictures
from nsgauge.eval.scoring.runner import Resources, score_folder
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.models.calibrator import Calibrator
from nsgauge.models.fusion import FusionSettings
from nsgauge.models.lora import LoraSettings
from nsgauge.models.network import NetworkSettings, build_network
from nsgauge.models.preset import load_preset
from nsgauge.models.towers.pair import Towers, load_towers
from nsgauge.models.windows import WindowPolicy
from nsgauge.records import ResponseState, Triple

THRESHOLDS = {"unsafe": 0.5, "not_grounded": 0.5}
ROWS = 24
ROWS_PER_SHARD = 7


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """128 triples on 32 pictures, judged."""
    folder = tmp_path_factory.mktemp("sample") / "data"
    write_sample(folder, settings=SampleSettings(pictures_per_variant=1))
    return folder


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory) -> Callable[..., Path]:
    """Saves an untrained classifier whose adapters do something."""

    def make(name: str, *, seed: int, seen: list[str], vllms: tuple[str, ...], **changes):
        torch.manual_seed(seed)
        towers = load_towers(load_preset("pocket"))
        fusion, lora = FusionSettings(width=32, layers=1), LoraSettings(rank=2, alpha=4)
        settings = NetworkSettings(lora=lora, fusion=fusion, ordinals=3)
        network = build_network(towers, settings=settings)
        with torch.no_grad():
            for weight_name, weight in network.named_parameters():
                if ".lora_B." in weight_name:
                    weight.normal_(std=0.01)
                if weight_name == "members.0.head.3.weight":
                    weight.mul_(20)
        manifest = _manifest(name, towers=towers, network=settings, vllms=vllms)
        path = tmp_path_factory.mktemp("bundles") / name
        save_bundle(
            path,
            manifest=manifest.model_copy(update=changes),
            network=network,
            seen_keys=seen,
        )
        return path

    return make


def _manifest(
    name: str,
    *,
    towers: Towers,
    network: NetworkSettings,
    vllms: tuple[str, ...],
) -> BundleManifest:
    return BundleManifest(
        name=name,
        nsgauge_version="0",
        preset=load_preset("pocket"),
        tower_directory=None,
        tower_fingerprint=towers.fingerprint,
        windows=WindowPolicy(layout="apart", window_tokens=64, max_windows=3),
        captions=False,
        network=network,
        calibrator=Calibrator(method="temperature", scale=1.5),
        thresholds=Thresholds(**THRESHOLDS),
        training=TrainingFacts(
            judges=("sample-judge",),
            target_making={},
            prompt_hashes=(),
            data_fingerprint="0",
            vllms=vllms,
            rows={},
            left_out={},
            recipe={},
            validation={},
            thresholds={},
            seconds=0.0,
            versions={},
            created="2026-01-01T00:00:00+00:00",
        ),
        files={},
    )


@pytest.fixture(scope="session")
def seen(sample) -> dict[str, str]:
    """What the bundle was made with: an item by name, and a picture by content."""
    triples = triples_of(read_triples(sample))
    picture = (sample / str(triples[3].image)).read_bytes()
    return {
        "item": triples[0].item_id,
        "picture": hashlib.sha256(picture).hexdigest(),
        "picture_item": triples[3].item_id,
        "vllm": triples[0].vllm,
    }


@pytest.fixture(scope="session")
def bundle_path(make_bundle, seen):
    keys = [item_key("sample", seen["item"]), seen["picture"]]
    return make_bundle("plain", seed=3, seen=keys, vllms=(seen["vllm"],))


@pytest.fixture(scope="session")
def bundle(bundle_path) -> Bundle:
    return load_bundle(bundle_path)


@pytest.fixture
def quick_load(bundle, bundle_path, monkeypatch):
    """Hands out the one loaded bundle: loading takes seconds, and has tests of its own."""
    monkeypatch.setattr(
        runner,
        "load_saved",
        lambda path, **options: bundle if path == bundle_path else load_bundle(path, **options),
    )


@pytest.fixture(scope="session")
def world(sample, tmp_path_factory):
    """24 rows: the sample's, and one of every kind that can't be scored or is out of the way."""
    folder = tmp_path_factory.mktemp("world") / "data"
    triples = _odd_rows(triples_of(read_triples(sample)))
    known = {triple.triple_id for triple in triples}
    verdicts = [v for v in verdicts_of(read_verdicts(sample)) if v.triple_id in known]
    source = SourceNote(importer="test", image_root=sample)
    write_data(folder, triples=triples, verdicts=verdicts, rejects=(), source=source)
    by_id = {triple.triple_id: triple for triple in triples}
    for triple_id, fault in {"damaged": _cut, "missing": _remove}.items():
        fault(folder / str(by_id[triple_id].image))
    return folder


def _remove(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    """Cut a picture short; the copy is linked, so it gets a file of its own first."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


def _odd_rows(sample: list[Triple]) -> list[Triple]:
    """Rows on the first ten pictures; the last two pictures are for the faults."""
    good = [t for t in sample if t.response_state is ResponseState.ANSWERED]
    pictures = sorted({str(t.image) for t in good})
    of_first = [t for t in good if str(t.image) not in pictures[-2:]]
    plain = of_first[:10] + [t for t in of_first[10:] if t.vllm != of_first[0].vllm][:6]
    spare = of_first[-1]
    odd = [
        replace(spare, triple_id="empty", response="", response_state=ResponseState.EMPTY),
        replace(
            spare,
            triple_id="no-answer",
            response="[ERROR] 502",
            response_state=ResponseState.NOT_A_RESPONSE,
        ),
        replace(spare, triple_id="damaged", item_id="x1", image=pictures[-1]),
        replace(spare, triple_id="missing", item_id="x2", image=pictures[-2]),
        replace(
            spare,
            triple_id="empty-and-missing",
            image=pictures[-2],
            response="",
            response_state=ResponseState.EMPTY,
        ),
        replace(spare, triple_id="no-image", item_id="x3", image=None),
        replace(spare, triple_id="long", item_id="x4", response="a knife on a table. " * 200),
        replace(spare, triple_id="caption", item_id="x5", image=None, caption="a red berry"),
    ]
    # The faults come in the middle of the file, and in more than one shard.
    return [*plain[:5], *odd[:4], *plain[5:12], *odd[4:], *plain[12:]]


@pytest.fixture(scope="session")
def warm_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def settings() -> ScoringSettings:
    return ScoringSettings(rows_per_shard=ROWS_PER_SHARD, controls_rows=6)


@pytest.fixture(scope="session")
def scored(bundle_path, world, settings, warm_cache, tmp_path_factory):
    """The score folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("scored") / "scores"
    resources = Resources(cache=warm_cache, device="cpu")
    score_folder(bundle_path, data=world, out=out, settings=settings, resources=resources)
    return out


@pytest.fixture
def run(quick_load, bundle_path, world, settings, warm_cache) -> Callable[..., pa.Table]:  # noqa: ARG001
    """Scores the world as `scored` was made, but for what is said."""

    def score(out: Path, **changes):
        given = {"bundle": bundle_path, "data": world, "settings": settings, **changes}
        options = {"cache": warm_cache, "device": "cpu"}
        options |= {k: given.pop(k) for k in ("cache", "device", "progress", "watch") if k in given}
        return score_folder(given.pop("bundle"), out=out, resources=Resources(**options), **given)

    return score


@pytest.fixture(scope="session")
def engine(bundle, world, warm_cache) -> Engine:
    pictures = Pictures(world, side=bundle.towers.image_side_px, resize=bundle.towers.resize)
    return Engine(bundle, pictures=pictures, cache=warm_cache, device="cpu")
