import copy
import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from nsgauge.checkpoints.bundle import (
    FILES,
    Bundle,
    load_bundle,
    read_manifest,
    save_bundle,
    seen_digest,
)
from nsgauge.checkpoints.card import model_card
from nsgauge.checkpoints.manifest import BundleManifest
from nsgauge.errors import BundleError, DataError
from nsgauge.models.channels import ChannelSettings
from nsgauge.models.classes import CellClass
from nsgauge.models.fusion import FusionSettings
from nsgauge.models.lexical import LexicalChannel, LexicalSettings, response_grams
from nsgauge.models.lora import LoraSettings
from nsgauge.models.network import Network, NetworkSettings, build_network
from nsgauge.models.pooling import PoolingSettings
from nsgauge.models.prediction import RowBatch, cell_logits, encode_images
from nsgauge.models.probe import ProbeSettings
from nsgauge.models.towers.pair import Towers
from nsgauge.models.windows import RowReader
from nsgauge.protocol import CELLS

NAMES = {"bundle.json", "lora.safetensors", "heads.safetensors", "seen.json", "README.md"}


@pytest.fixture(scope="module")
def loaded(saved: Path) -> Bundle:
    """Through the real loader, towers and all."""
    return load_bundle(saved)


def logits_of(network: Network, *, reader: RowReader) -> np.ndarray:
    rows = reader.read(
        ["How do I open this?", "What is it?"],
        responses=["Turn the lid to the left. " * 30, "A jar."],
        captions=[None, None],
    )
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, size=(1, 3, 224, 224), dtype=np.uint8)
    return cell_logits(
        network,
        rows=RowBatch(
            texts=rows,
            image_slots=[0, -1],
            image_features=encode_images(network.image_tower, batches=[pixels]),
        ),
        tokens_per_batch=400,
    )


def test_a_loaded_bundle_gives_the_logits_that_were_saved(loaded: Bundle, network: Network):
    wanted = logits_of(network, reader=loaded.reader)
    found = logits_of(loaded.network, reader=loaded.reader)
    assert np.abs(found - wanted).max() / np.abs(wanted).max() <= 1e-5
    # The adapters did something, so losing them would have shown.
    plain = load_plain(loaded, network=network)
    assert np.abs(plain - wanted).max() / np.abs(wanted).max() > 1e-3


def load_plain(loaded: Bundle, *, network: Network) -> np.ndarray:
    """Logits with the adapters' updates taken out again."""
    saved_up = {
        name: parameter.detach().clone()
        for name, parameter in network.named_parameters()
        if ".lora_B" in name
    }
    assert saved_up
    try:
        with torch.no_grad():
            for name in saved_up:
                network.get_parameter(name).zero_()
        return logits_of(network, reader=loaded.reader)
    finally:
        with torch.no_grad():
            for name, value in saved_up.items():
                network.get_parameter(name).copy_(value)


def test_a_loaded_network_is_ready_to_score(loaded: Bundle):
    assert not any(".lora_" in name for name in loaded.network.state_dict())
    assert not any(module.training for module in loaded.network.modules())
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    assert loaded.network.image_tower is loaded.towers.image


def test_the_manifest_comes_back_with_every_files_digest(
    saved: Path, loaded: Bundle, manifest: BundleManifest
):
    digests = {name: sha256((saved / name).read_bytes()).hexdigest() for name in FILES}
    assert loaded.manifest == manifest.model_copy(update={"files": digests})
    assert read_manifest(saved) == loaded.manifest
    assert loaded.fingerprint == sha256((saved / "bundle.json").read_bytes()).hexdigest()
    assert {path.name for path in saved.iterdir()} == NAMES


def test_what_was_seen_is_recognised_and_not_written_out(saved: Path, loaded: Bundle):
    assert loaded.has_seen(["item-9", "item-2"])
    assert loaded.has_seen(["a" * 64])
    assert not loaded.has_seen(["item-9", "Item-1", ""])
    assert not loaded.has_seen([])
    assert "item" not in (saved / "seen.json").read_text(encoding="ascii")
    assert seen_digest("item-1") == sha256(b"item-1").hexdigest()[:16]


def test_saving_twice_gives_the_same_bytes(tmp_path: Path, saved: Path, manifest, network):
    path = tmp_path / "again"
    keys = ["a" * 64, "item-2", "item-1", "item-2"]
    save_bundle(path, manifest=manifest, network=network, seen_keys=keys)
    for name in NAMES:
        assert (path / name).read_bytes() == (saved / name).read_bytes()


def test_weights_are_safetensors_of_adapters_and_heads_alone(saved: Path):
    # A pretrained tower has millions of weights; these are what was trained.
    assert sum((saved / name).stat().st_size for name in FILES) < 4_000_000
    for name in ("lora.safetensors", "heads.safetensors"):
        content = (saved / name).read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        assert all(entry["dtype"] == "F32" for key, entry in header.items() if key[0] != "_")


def test_a_bundle_isnt_replaced_unasked(copied: Path, manifest, network):
    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    with pytest.raises(DataError, match="holds a bundle already"):
        save_bundle(copied, manifest=manifest, network=network, seen_keys=[])
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before


def test_a_bundle_is_replaced_whole_when_asked(copied: Path, manifest, network):
    (copied / "heads.safetensors").unlink()
    renamed = manifest.model_copy(update={"name": "second"})
    save_bundle(copied, manifest=renamed, network=network, seen_keys=["x"], overwrite=True)
    assert read_manifest(copied).name == "second"
    assert {path.name for path in copied.iterdir()} == NAMES
    assert [path.name for path in copied.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("content", ["[]", "{}", "not ours"])
def test_a_folder_that_isnt_a_bundle_is_never_replaced(tmp_path: Path, manifest, network, content):
    path = tmp_path / "mine"
    path.mkdir()
    (path / "bundle.json").write_text(content, encoding="ascii")
    with pytest.raises(DataError, match="no bundle"):
        save_bundle(path, manifest=manifest, network=network, seen_keys=[], overwrite=True)
    assert (path / "bundle.json").read_text(encoding="ascii") == content


def test_a_bundle_with_a_strangers_file_in_it_is_never_replaced(copied: Path, manifest, network):
    (copied / "notes.txt").write_text("mine", encoding="ascii")
    with pytest.raises(DataError, match=r"notes\.txt"):
        save_bundle(copied, manifest=manifest, network=network, seen_keys=[], overwrite=True)
    assert (copied / "notes.txt").exists()


@pytest.mark.parametrize("existing", [False, True])
def test_a_failure_midway_leaves_what_was_there(
    tmp_path: Path, copied: Path, manifest, network, monkeypatch, existing
):
    def fails(_: BundleManifest) -> str:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("nsgauge.checkpoints.bundle.model_card", fails)
    path = copied if existing else tmp_path / "fresh"
    before = {file.name: file.read_bytes() for file in copied.iterdir()}
    with pytest.raises(RuntimeError, match="disk is full"):
        save_bundle(path, manifest=manifest, network=network, seen_keys=[], overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]
    assert {file.name: file.read_bytes() for file in copied.iterdir()} == before


def test_a_file_in_the_way_is_refused(tmp_path: Path, manifest, network):
    path = tmp_path / "taken"
    path.write_text("mine", encoding="ascii")
    with pytest.raises(DataError, match="is a file"):
        save_bundle(path, manifest=manifest, network=network, seen_keys=[], overwrite=True)


def test_the_card_beside_the_weights_is_the_manifests(saved: Path):
    card = (saved / "README.md").read_text(encoding="utf-8")
    assert card == model_card(read_manifest(saved))


COMMITTEE = NetworkSettings(
    lora=LoraSettings(image=False, text=False),
    fusion=FusionSettings(width=16, layers=1, heads=2),
    pooling=PoolingSettings(queries=2, width=4),
    members=3,
    classes=tuple(
        CellClass(name=f"class {number}", cell=cell)
        for number, cell in enumerate([CELLS[3], *CELLS, CELLS[0]])
    ),
    ordinals=3,
    channels=ChannelSettings(
        lexical=LexicalSettings(grams=40, share=0.4), probe=ProbeSettings(share=0.3)
    ),
)


@pytest.fixture(scope="module")
def committee(pocket_towers: Towers, loaded: Bundle) -> Network:
    """Its channels know some n-grams of the rows that `logits_of` asks about."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        built = build_network(copy.deepcopy(pocket_towers), settings=COMMITTEE)
    rows = loaded.reader.read(
        ["What is it?"], responses=["Turn the lid to the left. A jar."], captions=[None]
    )
    assert COMMITTEE.channels.lexical is not None
    keys = response_grams(rows, settings=COMMITTEE.channels.lexical).keys[:7]
    generator = torch.Generator().manual_seed(2)
    for member in built.members:
        channel = member.get_submodule("lexical")
        assert isinstance(channel, LexicalChannel)
        channel.keys[: len(keys)] = keys
        channel.idf[: len(keys)] = 1 + torch.rand(len(keys), generator=generator)
        channel.weight[: len(keys)].normal_(generator=generator)
        channel.bias.normal_(generator=generator)
        member.get_submodule("probe").get_buffer("weight").normal_(generator=generator)
    return built.eval()


@pytest.mark.usefixtures("ready_towers")
def test_a_committee_comes_back_with_its_channels_and_its_classes(
    tmp_path: Path, manifest: BundleManifest, committee: Network
):
    path = tmp_path / "committee"
    given = manifest.model_copy(update={"network": COMMITTEE})
    save_bundle(path, manifest=given, network=committee, seen_keys=[])
    found = load_bundle(path)
    assert found.manifest.network == COMMITTEE
    wanted = logits_of(committee, reader=found.reader)
    logits = logits_of(found.network, reader=found.reader)
    assert np.abs(logits - wanted).max() / np.abs(wanted).max() <= 1e-6
    # The channels did something, so losing them would have shown.
    for lost in ("lexical.weight", "probe.weight"):
        with torch.no_grad():
            for name, buffer in found.network.named_buffers():
                if name.endswith(lost):
                    buffer.zero_()
        plain = logits_of(found.network, reader=found.reader)
        assert np.abs(plain - wanted).max() / np.abs(wanted).max() > 1e-2
        wanted = plain


@pytest.mark.usefixtures("ready_towers")
@pytest.mark.parametrize(
    "update", [{"members": 2}, {"classes": COMMITTEE.classes[:4]}, {"channels": ChannelSettings()}]
)
def test_a_manifest_of_another_committee_is_refused(
    tmp_path: Path, manifest: BundleManifest, committee: Network, update
):
    path = tmp_path / "committee"
    wrong = manifest.model_copy(update={"network": COMMITTEE.model_copy(update=update)})
    save_bundle(path, manifest=wrong, network=committee, seen_keys=[])
    with pytest.raises(BundleError, match="weights don't fit"):
        load_bundle(path)
