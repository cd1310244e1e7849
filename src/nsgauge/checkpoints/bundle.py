"""The bundle: a saved classifier as safetensors and JSON, verified when it is loaded."""

import json
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nsgauge.checkpoints.card import model_card
from nsgauge.checkpoints.manifest import FORMAT, BundleManifest
from nsgauge.data.folders import FolderKind, file_digest, new_folder
from nsgauge.errors import BundleError, SettingsError
from nsgauge.models.lora import load_lora, lora_state, merge_lora
from nsgauge.models.network import Network, build_network
from nsgauge.models.towers.pair import Towers, load_towers
from nsgauge.models.windows import RowReader

MANIFEST = "bundle.json"
ADAPTERS = "lora.safetensors"
HEADS = "heads.safetensors"
SEEN = "seen.json"
CARD = "README.md"
FILES = (ADAPTERS, HEADS, SEEN)
MANIFEST_BYTES_LIMIT = 16 << 20
FAULT_CHARACTERS_LIMIT = 400
# Weights, and the keys of a lexical channel.
WEIGHT_TYPES = (torch.float32, torch.int64)
BUNDLE_FOLDER = FolderKind(
    noun="bundle", marker=MANIFEST, key="format", names=frozenset({*FILES, MANIFEST, CARD})
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A loaded classifier, its parts not yet put to use.

    Attributes:
        manifest: What `bundle.json` says.
        network: In eval mode, adapters merged, fp32 on the CPU.
        towers: The preset's towers; their modules are the network's own.
        reader: Lays rows out as the classifier was trained to read them.
        seen: Digests of the items and images that it was trained, selected or calibrated on.
        fingerprint: SHA-256 of `bundle.json`, which holds every file's digest.
    """

    manifest: BundleManifest
    network: Network
    towers: Towers
    reader: RowReader
    seen: frozenset[str]
    fingerprint: str

    def has_seen(self, keys: Iterable[str]) -> bool:
        """Whether any of these item or image keys was used in making the classifier."""
        return any(seen_digest(key) in self.seen for key in keys)


def seen_digest(key: str) -> str:
    """What a bundle keeps of an item key or image digest: enough to recognise it."""
    return sha256(key.encode()).hexdigest()[:16]


def save_bundle(
    path: Path,
    *,
    manifest: BundleManifest,
    network: Network,
    seen_keys: Iterable[str],
    overwrite: bool = False,
) -> None:
    """Write a bundle whole or not at all; `manifest.files` is filled in here.

    Raises:
        DataError: `path` holds something that may not be replaced.
    """
    with new_folder(path, overwrite=overwrite, kind=BUNDLE_FOLDER) as folder:
        save_file(_adapters(network), folder / ADAPTERS)
        save_file(_plain(network.heads.state_dict()), folder / HEADS)
        seen = sorted({seen_digest(key) for key in seen_keys})
        (folder / SEEN).write_text(json.dumps(seen, indent=0) + "\n", encoding="ascii")
        files = {name: file_digest(folder / name) for name in FILES}
        complete = manifest.model_copy(update={"files": files})
        (folder / CARD).write_text(model_card(complete), encoding="utf-8")
        content = complete.model_dump_json(indent=2)
        (folder / MANIFEST).write_text(content + "\n", encoding="utf-8")


def read_manifest(path: Path) -> BundleManifest:
    """`bundle.json` of a bundle, validated.

    Raises:
        BundleError: no bundle there, another format, or not valid.
    """
    file = path / MANIFEST
    if not file.is_file():
        raise BundleError(f"{path}: no {MANIFEST} there; expected a bundle made by `nsgauge train`")
    if file.stat().st_size > MANIFEST_BYTES_LIMIT:
        raise BundleError(f"{file}: over {MANIFEST_BYTES_LIMIT >> 20} MiB, that's no manifest")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file}: not valid JSON ({error})") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise BundleError(
            f"{file}: bundle format {reprlib.repr(found)}, this version reads {FORMAT}: use the "
            "nsgauge version that wrote it, or train again"
        )
    try:
        return BundleManifest.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(step) for step in fault["loc"])
        raise BundleError(f"{file}: {where}: {fault['msg']}") from error


def load_bundle(path: Path, *, tower_directory: Path | None = None) -> Bundle:
    """Load and verify a bundle; the adapters are merged in fp32.

    Args:
        path: The bundle's folder.
        tower_directory: Where a hub preset's towers lie, if not where they were when training.

    Raises:
        BundleError: missing, damaged, of another format, or for other tower weights.
    """
    manifest = read_manifest(path)
    _verify(path, manifest=manifest)
    weights = _read_weights(path)
    seen = _read_seen(path / SEEN)
    stored = manifest.tower_directory
    directory = tower_directory or (Path(stored) if stored is not None else None)
    try:
        towers = load_towers(manifest.preset, tower_directory=directory)
    except SettingsError as error:
        raise BundleError(f"{path}: {error}") from error
    if towers.fingerprint != manifest.tower_fingerprint:
        raise BundleError(
            f"{path}: trained on tower weights {manifest.tower_fingerprint[:12]}, found "
            f"{towers.fingerprint[:12]}: install the weights it was trained on"
        )
    try:
        reader = RowReader(towers.tokenizer, context=towers.text_context, policy=manifest.windows)
    except ValueError as error:
        raise BundleError(f"{path / MANIFEST}: windows: {error}") from error
    network = build_network(towers, settings=manifest.network)
    try:
        _put_weights(weights, network=network)
    except (ValueError, RuntimeError) as error:
        # torch lists every tensor, one a line.
        fault = " ".join(str(error).split())[:FAULT_CHARACTERS_LIMIT]
        raise BundleError(f"{path}: weights don't fit {MANIFEST}: {fault}") from error
    return Bundle(
        manifest=manifest,
        network=network.eval().requires_grad_(requires_grad=False),
        towers=towers,
        reader=reader,
        seen=seen,
        fingerprint=file_digest(path / MANIFEST),
    )


def _verify(path: Path, *, manifest: BundleManifest) -> None:
    if sorted(manifest.files) != sorted(FILES):
        raise BundleError(f"{path}: lists {sorted(manifest.files)}, expected {sorted(FILES)}")
    for name, expected in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise BundleError(f"{file}: missing; copy the whole bundle again")
        found = file_digest(file)
        if found != expected:
            raise BundleError(
                f"{file}: SHA-256 is {found[:12]}, {MANIFEST} says {expected[:12]}: "
                "the file is damaged or was changed; copy the bundle again"
            )


def _read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of both files: the adapters' by tower (`image.`, `text.`), the `heads.`."""
    weights: dict[str, Tensor] = {}
    for file, prefix in ((path / ADAPTERS, ""), (path / HEADS, "heads.")):
        try:
            content = load_file(file)
        except (SafetensorError, ValueError, OSError) as error:
            raise BundleError(f"{file}: weights can't be read ({error})") from error
        for name, tensor in content.items():
            if tensor.dtype not in WEIGHT_TYPES:
                raise BundleError(f"{file}: {name} is {tensor.dtype}, expected fp32 (keys: int64)")
            if not bool(torch.isfinite(tensor).all()):
                raise BundleError(f"{file}: {name} holds NaN or infinity; train again")
            weights[f"{prefix}{name}"] = tensor
    return weights


def _put_weights(weights: Mapping[str, Tensor], *, network: Network) -> None:
    """Load every weight into its place and merge the adapters.

    Raises:
        ValueError: names or shapes of adapters differ, or merging overflows.
        RuntimeError: names or shapes of the heads differ.
    """
    parts: dict[str, dict[str, Tensor]] = {"heads": {}, **{name: {} for name in _towers(network)}}
    for name, tensor in weights.items():
        part, _, key = name.partition(".")
        if part not in parts:
            raise ValueError(f"unknown {name}")
        parts[part][key] = tensor
    network.heads.load_state_dict(parts["heads"], strict=True)
    for name, tower in _towers(network).items():
        load_lora(tower, state=parts[name])
        merge_lora(tower)


def _read_seen(file: Path) -> frozenset[str]:
    try:
        content = json.loads(file.read_text(encoding="ascii"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file}: not valid JSON ({error}); copy the bundle again") from error
    if not isinstance(content, list) or not all(isinstance(entry, str) for entry in content):
        raise BundleError(f"{file}: expected a list of digests")
    return frozenset(content)


def _towers(network: Network) -> dict[str, nn.Module]:
    return {"image": network.image_tower, "text": network.text_tower}


def _adapters(network: Network) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": tensor
        for name, tower in _towers(network).items()
        for key, tensor in lora_state(tower).items()
    }


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
