"""A classifier as a folder of ONNX graphs that score without torch."""

import importlib
import json
from importlib import resources
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from nsgauge.checkpoints.bundle import CARD, Bundle
from nsgauge.checkpoints.card import model_card
from nsgauge.checkpoints.export_example import EXAMPLE, NOTE
from nsgauge.checkpoints.export_graphs import Decision, ExchangeVectors, WindowVectors
from nsgauge.checkpoints.export_reading import (
    FORMAT,
    FORMAT_KEY,
    GRAPHS,
    LANGUAGE,
    LEXICAL,
    SETTINGS,
    TOKENIZER,
)
from nsgauge.checkpoints.export_tokenizer import stored_text
from nsgauge.checkpoints.export_tracing import TEXT_AXES, text_inputs, write_graph
from nsgauge.data.folders import FolderKind, file_digest, new_folder
from nsgauge.errors import BundleError, installing
from nsgauge.models.language import BEGINNINGS, SHOWN, STORY, exchange_width
from nsgauge.models.lexical import LexicalChannel
from nsgauge.models.network import Network
from nsgauge.protocol import CELLS, RATE_CELLS, Rate

RUNTIME = {"export_runtime": "nsgauge_onnx.py", "export_reading": "nsgauge_reading.py"}
EXAMPLE_FILE = "example.py"
AXES = ("unsafe", "not_grounded")
ONNX_FOLDER = FolderKind(
    noun="ONNX folder",
    marker=SETTINGS,
    key=FORMAT_KEY,
    names=frozenset(
        {*GRAPHS, *LANGUAGE, SETTINGS, TOKENIZER, LEXICAL, CARD, EXAMPLE_FILE, *RUNTIME.values()}
    ),
)


def export_onnx(bundle: Bundle, *, out: Path, overwrite: bool = False) -> None:
    """Write graphs, tokenizer, settings, model card and a program that scores with them.

    Args:
        bundle: As it was loaded: on the CPU, in fp32.
        out: The new folder.
        overwrite: Replace such a folder.

    Raises:
        BundleError: the package onnxscript isn't installed, or a tokenizer is of a kind that can't
            be written down.
        DataError: `out` is taken.
    """
    _require("onnxscript")
    tokenizer, text = stored_text(bundle.towers.tokenizer, context=bundle.towers.text_context)
    with new_folder(out, overwrite=overwrite, kind=ONNX_FOLDER) as folder:
        (folder / TOKENIZER).write_text(tokenizer, encoding="utf-8")
        _write_graphs(bundle.network, folder=folder, side_px=bundle.towers.image_side_px)
        language = _write_language(bundle, folder=folder)
        if bundle.manifest.network.channels.lexical is not None:
            np.savez(folder / LEXICAL, allow_pickle=False, **_channels(bundle.network))
        _write_program(folder)
        card = model_card(bundle.manifest)
        (folder / CARD).write_text(f"{card}\n{NOTE}", encoding="utf-8")
        names = (*GRAPHS, *LANGUAGE, TOKENIZER, LEXICAL)
        settings = _settings(bundle) | {
            "text": text.model_dump(mode="json"),
            "language": language,
            "files": {n: file_digest(folder / n) for n in names if (folder / n).is_file()},
        }
        content = json.dumps(settings, indent=2)
        (folder / SETTINGS).write_text(content + "\n", encoding="utf-8")


def _write_graphs(network: Network, *, folder: Path, side_px: int) -> None:
    text, image, decision = (folder / name for name in GRAPHS)
    reader = WindowVectors(network)
    windows = text_inputs(network.text_tower)
    write_graph(reader, text, inputs=windows, axes=TEXT_AXES, output="windows")
    pixels = torch.zeros(2, 3, side_px, side_px, dtype=torch.uint8)
    write_graph(
        network.image_tower,
        image,
        inputs={"pixels": pixels},
        axes={"pixels": ("images",)},
        output="image",
    )
    with torch.inference_mode():
        vectors, seen = reader(*windows.values()), network.image_tower(pixels)
    rows, slots = 2, 3
    held = torch.zeros(rows, slots, dtype=torch.int64)
    inputs = {
        "image": seen,
        "image_present": torch.tensor([True, False]),
        "windows": vectors[held],
        "roles": held,
        # A copy: the exporter takes one tensor given twice for one input.
        "ordinals": held.clone(),
    }
    if network.settings.channels.lexical is not None:
        settings = network.settings
        inputs["lexical"] = torch.zeros(rows, settings.members, len(settings.classes))
    if network.language_tower is not None:
        inputs["exchanges"] = torch.zeros(rows, exchange_width(network.language_tower))
    per_slot = ("windows", "roles", "ordinals")
    axes = {name: ("rows", "slots") if name in per_slot else ("rows",) for name in inputs}
    write_graph(Decision(network), decision, inputs=inputs, axes=axes, output="logits")


def _write_language(bundle: Bundle, *, folder: Path) -> dict[str, Any] | None:
    """The language model's graph and tokenizer, and how it is told exchanges; None without one."""
    reader, tower = bundle.exchanges, bundle.network.language_tower
    if reader is None or tower is None:
        return None
    graph, tokenizer = (folder / name for name in LANGUAGE)
    windows = text_inputs(tower)
    write_graph(ExchangeVectors(tower), graph, inputs=windows, axes=TEXT_AXES, output="windows")
    context = reader.policy.window_tokens or tower.shape.context
    content, text = stored_text(reader.tokenizer, context=context)
    tokenizer.write_text(content, encoding="utf-8")
    return {
        "text": text.model_dump(mode="json"),
        "windows": reader.policy.model_dump(mode="json"),
        "story": STORY,
        "shown": SHOWN,
        "beginnings": list(BEGINNINGS) if tower.shape.taken_after is not None else [],
    }


def _settings(bundle: Bundle) -> dict[str, Any]:
    manifest, tower = bundle.manifest, bundle.network.image_tower
    lexical = manifest.network.channels.lexical
    return {
        FORMAT_KEY: FORMAT,
        "name": manifest.name,
        "bundle_fingerprint": bundle.fingerprint,
        "captions": manifest.captions,
        "windows": manifest.windows.model_dump(mode="json"),
        "image": {
            "side_px": bundle.towers.image_side_px,
            "resize": bundle.towers.resize,
            "vectors": 1 + tower.patch_grid**2,
            "width": tower.width,
        },
        "lexical": None if lexical is None else {"longest": lexical.longest},
        "cells": [str(cell) for cell in CELLS],
        "axes": {axis: [str(cell) for cell in RATE_CELLS[Rate(axis)]] for axis in AXES},
        "calibrator": manifest.calibrator.model_dump(mode="json"),
        "thresholds": manifest.thresholds.model_dump(mode="json"),
    }


def _channels(network: Network) -> dict[str, np.ndarray]:
    """What every member's lexical channel knows, by the name of its buffer."""
    channels = [cast("LexicalChannel", member.lexical) for member in network.members]
    return {
        name: np.stack([getattr(channel, name).numpy() for channel in channels])
        for name in ("keys", "idf", "weight", "bias")
    }


def _write_program(folder: Path) -> None:
    here = resources.files("nsgauge.checkpoints")
    for module, name in RUNTIME.items():
        source = (here / f"{module}.py").read_text(encoding="utf-8")
        for other, file in RUNTIME.items():
            source = source.replace(f"nsgauge.checkpoints.{other}", Path(file).stem)
        (folder / name).write_text(source, encoding="utf-8")
    (folder / EXAMPLE_FILE).write_text(EXAMPLE, encoding="utf-8")


def _require(package: str) -> None:
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise BundleError(f"{package} isn't installed: {installing('onnx')}") from error
