"""A small classifier on the pocket towers, saved once."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nsgauge.checkpoints import bundle
from nsgauge.checkpoints.manifest import BundleManifest, Thresholds, TrainingFacts
from nsgauge.models.calibrator import Calibrator
from nsgauge.models.fusion import FusionSettings
from nsgauge.models.lora import LoraSettings, load_lora, lora_state
from nsgauge.models.network import Network, NetworkSettings, build_network
from nsgauge.models.preset import load_preset
from nsgauge.models.towers.pair import Towers, load_towers
from nsgauge.models.windows import WindowPolicy

SEEN = ("item-1", "item-2", "a" * 64)
LORA = LoraSettings(rank=2)
FUSION = FusionSettings(width=16, layers=1, heads=2)
WINDOWS = WindowPolicy(max_windows=3)
NETWORK = NetworkSettings(lora=LORA, fusion=FUSION, ordinals=WINDOWS.max_windows)


@pytest.fixture(scope="session")
def pocket_towers() -> Towers:
    """Shared: tests copy them."""
    return load_towers(load_preset("pocket"))


@pytest.fixture(scope="session")
def manifest(pocket_towers: Towers) -> BundleManifest:
    return BundleManifest(
        name="small",
        nsgauge_version="0.1.0",
        preset=load_preset("pocket"),
        tower_directory=None,
        tower_fingerprint=pocket_towers.fingerprint,
        windows=WINDOWS,
        captions=False,
        network=NETWORK,
        calibrator=Calibrator(method="bias_corrected", scale=0.7, shift=(0.1, 0.0, -0.2, 0.0)),
        thresholds=Thresholds(unsafe=0.423, not_grounded=0.617),
        training=TrainingFacts(
            judges=("strict-judge",),
            target_making={},
            prompt_hashes=("b" * 64,),
            data_fingerprint="c" * 64,
            vllms=("model-a", "model-b"),
            rows={"train": 90, "validation": 30},
            left_out={"image_error": 2},
            recipe={"seed": 7},
            validation={"unsafe_auroc": 0.912, "not_grounded_auroc": None},
            thresholds={},
            seconds=12.3,
            versions={"torch": torch.__version__},
            created="2026-01-02T03:04:05Z",
        ),
        files={},
    )


@pytest.fixture(scope="session")
def network(pocket_towers: Towers) -> Network:
    """With adapters that do something, not yet merged. Shared: tests must not change it."""
    built = build_network(copy.deepcopy(pocket_towers), settings=NETWORK)
    generator = torch.Generator().manual_seed(0)
    for tower in (built.image_tower, built.text_tower):
        drawn = {
            name: 0.05 * torch.randn(tensor.shape, generator=generator)
            for name, tensor in lora_state(tower).items()
        }
        load_lora(tower, state=drawn)
    return built.eval()


@pytest.fixture(scope="session")
def saved(
    tmp_path_factory: pytest.TempPathFactory, manifest: BundleManifest, network: Network
) -> Path:
    """Shared: tests that damage it take `copied`."""
    path = tmp_path_factory.mktemp("saved") / "bundle"
    bundle.save_bundle(path, manifest=manifest, network=network, seen_keys=SEEN)
    return path


@pytest.fixture
def copied(tmp_path: Path, saved: Path) -> Path:
    path = tmp_path / "bundle"
    shutil.copytree(saved, path)
    return path


@pytest.fixture
def ready_towers(monkeypatch: pytest.MonkeyPatch, pocket_towers: Towers) -> None:
    """Have loading copy the towers that are in memory already."""
    copied: Callable[..., Towers] = lambda *_, **__: copy.deepcopy(pocket_towers)  # noqa: E731
    monkeypatch.setattr(bundle, "load_towers", copied)
