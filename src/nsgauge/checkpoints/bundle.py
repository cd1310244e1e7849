"""The bundle: a saved classifier as safetensors and JSON, verified when it is loaded."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from nsgauge.checkpoints.card import model_card
from nsgauge.checkpoints.manifest import FORMAT, BundleManifest
from nsgauge.checkpoints.verified import (
    SavedForm,
    first_fault,
    in_a_line,
    read_content,
    read_seen,
    read_weights,
    verify_files,
)
from nsgauge.data.folders import FolderKind, file_digest, new_folder
from nsgauge.errors import BundleError, SettingsError
from nsgauge.models.language import ExchangeReader, exchange_reader
from nsgauge.models.lora import load_lora, lora_state, merge_lora
from nsgauge.models.network import Network, build_network, load_members
from nsgauge.models.towers.pair import Towers, load_towers
from nsgauge.models.windows import RowReader

MANIFEST = "bundle.json"
ADAPTERS = "lora.safetensors"
HEADS = "heads.safetensors"
SEEN = "seen.json"
CARD = "README.md"
FILES = (ADAPTERS, HEADS, SEEN)
BUNDLE_FOLDER = FolderKind(
    noun="bundle", marker=MANIFEST, key="format", names=frozenset({*FILES, MANIFEST, CARD})
)
_FORM = SavedForm(
    manifest=MANIFEST,
    files=FILES,
    key="format",
    version=FORMAT,
    title="bundle format",
    noun="bundle",
    maker="a bundle made by `nsgauge train`",
    again="train",
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
        exchanges: Lays rows out for the language model; None without a language channel.
    """

    manifest: BundleManifest
    network: Network
    towers: Towers
    reader: RowReader
    seen: frozenset[str]
    fingerprint: str
    exchanges: ExchangeReader | None = None

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
    content = read_content(path, form=_FORM)
    try:
        return BundleManifest.model_validate(content)
    except ValidationError as error:
        raise BundleError(f"{path / MANIFEST}: {first_fault(error)}") from error


def load_bundle(path: Path, *, tower_directory: Path | None = None) -> Bundle:
    """Load and verify a bundle; the adapters are merged in fp32.

    Args:
        path: The bundle's folder.
        tower_directory: Where a hub preset's towers lie, if not where they were when training.

    Raises:
        BundleError: missing, damaged, of another format, or for other tower weights.
    """
    manifest = read_manifest(path)
    verify_files(path, files=manifest.files, form=_FORM)
    weights = read_weights(path / ADAPTERS, form=_FORM)
    heads = read_weights(path / HEADS, form=_FORM)
    weights |= {f"heads.{name}": tensor for name, tensor in heads.items()}
    seen = read_seen(path / SEEN)
    stored = manifest.tower_directory
    directory = tower_directory or (Path(stored) if stored is not None else None)
    try:
        towers = load_towers(
            manifest.preset,
            tower_directory=directory,
            language=manifest.language_preset,
            likelihoods=manifest.network.channels.wants_likelihoods,
        )
    except SettingsError as error:
        raise BundleError(f"{path}: {error}") from error
    if towers.fingerprint != manifest.tower_fingerprint:
        raise BundleError(
            f"{path}: trained on tower weights {manifest.tower_fingerprint[:12]}, found "
            f"{towers.fingerprint[:12]}: install the weights it was trained on"
        )
    try:
        reader = RowReader(towers.tokenizer, context=towers.text_context, policy=manifest.windows)
        exchanges = exchange_reader(towers, settings=manifest.network.channels.language)
    except ValueError as error:
        raise BundleError(f"{path / MANIFEST}: windows: {error}") from error
    network = build_network(towers, settings=manifest.network, empty=True)
    try:
        _put_weights(weights, network=network)
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"{path}: weights don't fit {MANIFEST}: {in_a_line(error)}") from error
    return Bundle(
        manifest=manifest,
        network=network.eval().requires_grad_(requires_grad=False),
        towers=towers,
        reader=reader,
        seen=seen,
        fingerprint=file_digest(path / MANIFEST),
        exchanges=exchanges,
    )


def _put_weights(weights: Mapping[str, Tensor], *, network: Network) -> None:
    """Load every weight into its place and merge the adapters.

    Raises:
        ValueError: names or shapes of adapters differ, merging overflows, or a type differs.
        RuntimeError: names or shapes of the heads differ.
    """
    parts: dict[str, dict[str, Tensor]] = {"heads": {}, **{name: {} for name in _towers(network)}}
    for name, tensor in weights.items():
        part, _, key = name.partition(".")
        if part not in parts:
            raise ValueError(f"unknown {name}")
        parts[part][key] = tensor
    load_members(network, state=parts["heads"])
    for name, tower in _towers(network).items():
        load_lora(tower, state=parts[name])
        merge_lora(tower)


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
