"""The merged form of a bundle: adapters folded in, towers and tokenizer inside.

It loads without the preset's packages, without a hub and without the adapters' library.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from nsgauge.checkpoints.bundle import (
    ADAPTERS,
    CARD,
    HEADS,
    SEEN,
    Bundle,
    load_bundle,
)
from nsgauge.checkpoints.card import model_card
from nsgauge.checkpoints.export_towers import (
    StoredTowers,
    Tokenizers,
    build_towers,
    store_towers,
)
from nsgauge.checkpoints.manifest import BundleManifest
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
from nsgauge.errors import BundleError
from nsgauge.models.language import exchange_reader
from nsgauge.models.network import build_network, load_members
from nsgauge.models.towers.pair import weights_fingerprint
from nsgauge.models.windows import RowReader
from nsgauge.settings import Settings

MERGED = "merged.json"
TOWERS = "towers.safetensors"
TOKENIZER = "tokenizer.json"
LANGUAGE_TOKENIZER = "language-tokenizer.json"
FORMAT: Literal[1] = 1
FILES = (TOWERS, HEADS, TOKENIZER, SEEN)
TOKENIZER_BYTES_LIMIT = 256 << 20
MERGED_FOLDER = FolderKind(
    noun="merged bundle",
    marker=MERGED,
    key="nsgauge_merged",
    names=frozenset({*FILES, LANGUAGE_TOKENIZER, MERGED, CARD}),
)
_FORM = SavedForm(
    manifest=MERGED,
    files=FILES,
    key="nsgauge_merged",
    version=FORMAT,
    title="merged form",
    noun="folder",
    maker="`nsgauge export --to merged`",
    again="export",
)


def _form(towers: StoredTowers) -> SavedForm:
    """The files that there are: one more where there is a language model."""
    return _FORM if towers.language is None else replace(_FORM, files=(*FILES, LANGUAGE_TOKENIZER))


class MergedManifest(Settings):
    """Contents of `merged.json`.

    Attributes:
        nsgauge_merged: Version of the form.
        bundle: As in the bundle, but without adapters; its files are those of this folder.
        towers: What the towers are beside their weights.
    """

    nsgauge_merged: Literal[1] = FORMAT
    bundle: BundleManifest
    towers: StoredTowers


def export_merged(bundle: Bundle, *, out: Path, overwrite: bool = False) -> None:
    """Write a loaded bundle, whose adapters are merged in fp32, as a self-contained folder.

    Raises:
        BundleError: the image tower or the tokenizer is of a kind that can't be written down.
        DataError: `out` is taken.
    """
    manifest, network = bundle.manifest, bundle.network
    towers, tokenizers = store_towers(bundle.towers, preset=manifest.preset)
    lora = manifest.network.lora.model_copy(update={"image": False, "text": False})
    with new_folder(out, overwrite=overwrite, kind=MERGED_FOLDER) as folder:
        towers_of: dict[str, nn.Module] = {
            "image": network.image_tower,
            "text": network.text_tower,
        }
        if network.language_tower is not None:
            towers_of["language"] = network.language_tower
        save_file(_weights(**towers_of), folder / TOWERS)
        save_file(_weights(heads=network.heads), folder / HEADS)
        (folder / TOKENIZER).write_text(tokenizers.text, encoding="utf-8")
        if tokenizers.language is not None:
            (folder / LANGUAGE_TOKENIZER).write_text(tokenizers.language, encoding="utf-8")
        seen = json.dumps(sorted(bundle.seen), indent=0)
        (folder / SEEN).write_text(seen + "\n", encoding="ascii")
        (folder / CARD).write_text(model_card(manifest), encoding="utf-8")
        changed = {
            "network": manifest.network.model_copy(update={"lora": lora}),
            "tower_directory": None,
            "tower_fingerprint": weights_fingerprint(*towers_of.values()),
            "files": {name: file_digest(folder / name) for name in _form(towers).files},
        }
        merged = MergedManifest(bundle=manifest.model_copy(update=changed), towers=towers)
        content = merged.model_dump_json(indent=2)
        (folder / MERGED).write_text(content + "\n", encoding="utf-8")


def load_saved(path: Path, *, tower_directory: Path | None = None) -> Bundle:
    """Load and verify a classifier in either form: a bundle, or a merged one.

    Args:
        path: The folder.
        tower_directory: As `load_bundle`; a merged form has its towers inside.

    Raises:
        BundleError: as `load_bundle`.
    """
    if (path / MERGED).is_file():
        return load_merged(path)
    return load_bundle(path, tower_directory=tower_directory)


def load_merged(path: Path) -> Bundle:
    """Load and verify what `export_merged` wrote.

    Raises:
        BundleError: missing, damaged, of another format, or its parts don't fit each other.
    """
    merged = read_merged(path)
    manifest = merged.bundle
    verify_files(path, files=manifest.files, form=_form(merged.towers))
    weights = read_weights(path / TOWERS, form=_FORM)
    heads = read_weights(path / HEADS, form=_FORM)
    seen = read_seen(path / SEEN)
    try:
        towers = build_towers(
            merged.towers,
            preset=manifest.preset,
            tokenizers=Tokenizers(
                text=_read_tokenizer(path / TOKENIZER),
                language=None
                if merged.towers.language is None
                else _read_tokenizer(path / LANGUAGE_TOKENIZER),
            ),
            weights=weights,
            fingerprint=manifest.tower_fingerprint,
        )
        reader = RowReader(towers.tokenizer, context=towers.text_context, policy=manifest.windows)
        exchanges = exchange_reader(towers, settings=manifest.network.channels.language)
        network = build_network(towers, settings=manifest.network, empty=True)
        named = {name.removeprefix("heads."): tensor for name, tensor in heads.items()}
        load_members(network, state=named)
    except (ValueError, RuntimeError) as error:
        fault = in_a_line(error)
        raise BundleError(f"{path}: {MERGED} and its files don't fit: {fault}") from error
    # Caches are keyed by the digests of a bundle's files, of which this form lacks one.
    files = {**manifest.files, ADAPTERS: "merged"}
    return Bundle(
        manifest=manifest.model_copy(update={"files": files}),
        network=network.eval().requires_grad_(requires_grad=False),
        towers=towers,
        reader=reader,
        seen=seen,
        fingerprint=file_digest(path / MERGED),
        exchanges=exchanges,
    )


def read_merged(path: Path) -> MergedManifest:
    """`merged.json`, validated.

    Raises:
        BundleError: none there, another format, or not valid.
    """
    file = path / MERGED
    content = read_content(path, form=_FORM)
    try:
        merged = MergedManifest.model_validate(content)
    except (ValidationError, RecursionError) as error:
        raise BundleError(f"{file}: {first_fault(error)}") from error
    lora = merged.bundle.network.lora
    if lora.image or lora.text:
        raise BundleError(f"{file}: network.lora: a merged form has no adapters; export again")
    return merged


def _weights(**modules: nn.Module) -> dict[str, Tensor]:
    return {
        f"{part}.{name}": tensor.detach().cpu().contiguous()
        for part, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


def _read_tokenizer(file: Path) -> str:
    if file.stat().st_size > TOKENIZER_BYTES_LIMIT:
        raise ValueError(f"{TOKENIZER} is over {TOKENIZER_BYTES_LIMIT >> 20} MiB")
    return file.read_text(encoding="utf-8")
