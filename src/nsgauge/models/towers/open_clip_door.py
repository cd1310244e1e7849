"""The door to open_clip: reference models, their weights, cleaning and transforms.

The only file that imports open_clip. What it builds is the reference that our towers take their
weights from and are tested against; it is not what runs, except for convolutional image trunks.
"""

import importlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from nsgauge.errors import SettingsError
from nsgauge.models.preset import PackagedGguf, PackagedWeights, Preset
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.models.towers.gguf_door import read_gguf
from nsgauge.models.towers.image import Normalisation
from nsgauge.models.towers.local_directory import check_layout, check_text_context
from nsgauge.models.towers.packaged import TextFiles, text_files, verified_file
from nsgauge.models.towers.reference import (
    ClipVocabulary,
    HuggingFaceText,
    PaddedVocabulary,
    Reference,
)

_TRUNK_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
"""A trunk is looked up in timm by its name; anything with a colon or a slash is fetched."""
# What open_clip, timm and transformers let through on a configuration or weights that don't fit.
UNFIT = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    SafetensorError,
)


def reference_of(preset: Preset, *, tower_directory: Path | None) -> Reference:
    """Build the preset's open_clip model with its pretrained weights.

    Args:
        preset: Which towers.
        tower_directory: For a hub or local preset, a directory in open_clip's layout
            (`open_clip_config.json`, `open_clip_model.safetensors` and, where the text tower isn't
            CLIP's, the tokenizer's files) to read instead of the hub.

    Raises:
        SettingsError: weights are missing, damaged or can't be fetched.
    """
    if preset.hub is not None or preset.local is not None:
        return _open_clip_reference(preset, directory=tower_directory)
    if tower_directory is not None:
        raise SettingsError(
            f"tower_directory is for hub and local presets; {preset.name!r} brings its own"
        )
    return _packaged_reference(preset)


def clip_vocabulary() -> ClipVocabulary:
    """CLIP's vocabulary, merges and cleaning, from open_clip's own tokenizer."""
    open_clip = _open_clip()
    tokenizer = open_clip.tokenizer.SimpleTokenizer(clean="lower")
    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    return ClipVocabulary(tokenizer.encoder, merges, tokenizer.clean_fn)


def _open_clip() -> Any:
    """Import open_clip without its side effect on the Rust tokenizers' threads."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    open_clip = importlib.import_module("open_clip")
    if before is None:
        # open_clip sets it to "false" for the whole process (mlfoundations/open_clip#208).
        os.environ.pop("TOKENIZERS_PARALLELISM", None)
    else:
        os.environ["TOKENIZERS_PARALLELISM"] = before
    return open_clip


def _open_clip_reference(preset: Preset, *, directory: Path | None) -> Reference:
    open_clip = _open_clip()
    name, pretrained = _source(preset, directory=directory)
    try:
        model = open_clip.create_model(
            name, pretrained=pretrained, precision="fp32", device="cpu", require_pretrained=True
        )
        tokenizer = open_clip.get_tokenizer(name)
    except UNFIT as error:
        raise SettingsError(
            f"{directory or f'{name} ({pretrained})'}: weights or tokenizer can't be loaded "
            f"({_one_line(error)}); with no hub in reach, give tower_directory, a local directory "
            "in open_clip's layout with the model's own files"
        ) from error
    context = int(model.context_length)
    if directory is not None:
        check_text_context(directory, context=context)
    if preset.local is not None and context != preset.local.text_context:
        raise SettingsError(
            f"{directory}: its text tower reads {context} tokens, preset {preset.name!r} is for "
            f"one that reads {preset.local.text_context}"
        )
    expected = open_clip.get_model_preprocess_cfg(model)
    side = expected["size"]
    return Reference(
        model=model.eval(),
        normalisation=Normalisation(mean=tuple(expected["mean"]), std=tuple(expected["std"])),
        image_side_px=side if isinstance(side, int) else side[0],
        resize="squash" if expected.get("resize_mode") == "squash" else "crop",
        text_context=context,
        text_directory=None,
        text=None,
        vocabulary=_padded_vocabulary(tokenizer, source=name, embeddings=int(model.vocab_size)),
    )


def _source(preset: Preset, *, directory: Path | None) -> tuple[str, str | None]:
    """What open_clip loads by: a directory, or a model and a tag of weights."""
    if directory is not None:
        check_layout(directory)
        return f"local-dir:{directory.resolve()}", None
    if preset.hub is None:
        raise SettingsError(
            f"open_clip knows no tag of preset {preset.name!r}: give tower_directory, a local "
            "directory in open_clip's layout (the head of the preset's YAML says how to make it)"
        )
    return preset.hub.model, preset.hub.pretrained


def _padded_vocabulary(tokenizer: Any, *, source: str, embeddings: int) -> PaddedVocabulary | None:
    """What open_clip's Hugging Face tokenizer is made of; None if it is CLIP's own.

    Raises:
        SettingsError: a tokenizer that adds anything but one end token and padding after it.
    """
    if not hasattr(tokenizer, "tokenizer"):
        return None
    end, pad, *rest = tokenizer([""])[0].tolist()
    if end != tokenizer.tokenizer.eos_token_id or {pad, *rest} != {
        tokenizer.tokenizer.pad_token_id
    }:
        raise SettingsError(
            f"{source}: the tokenizer makes {[end, pad, *rest][:3]}... of an empty text, expected "
            "its end token, then padding on the right: take the model's own tokenizer.json and "
            "tokenizer_config.json"
        )
    backend = tokenizer.tokenizer.backend_tokenizer
    # Without its tokenizer.json, transformers makes a tokenizer of five tokens and says nothing.
    if 2 * backend.get_vocab_size() < embeddings:
        raise SettingsError(
            f"{source}: the tokenizer knows {backend.get_vocab_size()} tokens, the text tower "
            f"{embeddings}: tokenizer.json is missing or another model's"
        )
    return PaddedVocabulary(tokenizer=backend, clean=tokenizer.clean_fn, end=end, pad=pad)


def _packaged_reference(preset: Preset) -> Reference:
    if preset.open_clip is None or preset.weights is None:
        raise SettingsError(f"preset {preset.name!r} names no packaged towers")
    if preset.mean is None or preset.std is None or preset.resize is None:
        raise SettingsError(f"preset {preset.name!r} doesn't say what its image tower expects")
    image_file = verified_file(preset.weights.image)
    configuration: dict[str, Any] = json.loads(json.dumps(preset.open_clip))
    try:
        found = _packaged_text(configuration, weights=preset.weights)
        _load_image_trunk(found.model, path=image_file)
        side = int(configuration["vision_cfg"]["image_size"])
        context = int(configuration["text_cfg"]["context_length"])
    except UNFIT as error:
        raise SettingsError(
            f"preset {preset.name!r}: open_clip can't build it or its weights don't fit "
            f"({type(error).__name__}: {_one_line(error)}); mend `open_clip` or `weights`"
        ) from error
    return Reference(
        model=found.model.eval(),
        normalisation=Normalisation(mean=preset.mean, std=preset.std),
        image_side_px=side,
        resize=preset.resize,
        text_context=context,
        text_directory=found.directory,
        text=found.text,
        vocabulary=found.vocabulary,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _PackagedText:
    """A model without its image weights yet, and what a `Reference` says of its text."""

    model: nn.Module
    directory: Path | None = None
    text: HuggingFaceText | None = None
    vocabulary: TextTokenizer | None = None


def _packaged_text(configuration: dict[str, Any], *, weights: PackagedWeights) -> _PackagedText:
    """By kind: a language model in GGUF, MPNet, or what open_clip's text encoder has an entry for.

    Raises:
        SettingsError: as `verified_file`, `read_gguf` and `text_files`.
    """
    if isinstance(weights.text, PackagedGguf):
        read = read_gguf(verified_file(weights.text))
        return _PackagedText(
            model=image_alone(configuration),
            text=HuggingFaceText(configuration=read.configuration, state=read.state),
            vocabulary=read.tokenizer,
        )
    files = text_files(weights.text)
    directory = files.tokenizer.parent
    described = json.loads(files.configuration.read_text(encoding="utf-8"))
    if described["model_type"] != "mpnet":
        model = _image_and_text(configuration, files=files)
        return _PackagedText(model=model, directory=directory)
    return _PackagedText(
        model=image_alone(configuration),
        directory=directory,
        text=HuggingFaceText(configuration=described, state=load_file(files.weights)),
    )


def _image_and_text(configuration: dict[str, Any], *, files: TextFiles) -> nn.Module:
    configuration["text_cfg"]["hf_model_name"] = str(files.weights.parent)
    _check_trunk(configuration["vision_cfg"].get("timm_model_name"))
    model: nn.Module = _open_clip().model.CustomTextCLIP(**configuration)
    _load_text_transformer(model, path=files.weights)
    return model


def image_alone(configuration: dict[str, Any]) -> nn.Module:
    """The image side as CustomTextCLIP would build it, of a trunk of timm's."""
    open_clip = _open_clip()
    vision = open_clip.CLIPVisionCfg(**configuration["vision_cfg"])
    _check_trunk(vision.timm_model_name)
    visual = open_clip.timm_model.TimmModel(
        vision.timm_model_name,
        embed_dim=configuration["embed_dim"],
        image_size=vision.image_size,
        pool=vision.timm_pool,
        proj=vision.timm_proj,
        pretrained=vision.timm_model_pretrained,
    )
    return nn.ModuleDict({"visual": visual})


def _check_trunk(name: object) -> None:
    """Refuse what timm would fetch from somewhere: `hf-hub:someone/model`, `local-dir:...`."""
    if not isinstance(name, str) or not set(name) <= _TRUNK_LETTERS:
        raise ValueError(f"{name!r} is no trunk of timm's")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _load_image_trunk(model: nn.Module, *, path: Path) -> None:
    """EfficientNet weights in their first PyTorch port's names into timm's trunk.

    Both list the same tensors in the same order, the classifier last; the SHA-256 pins the file
    and strict shapes catch a change in timm.
    """
    # weights_only: a state dict of a file whose SHA-256 was just checked.
    state = torch.load(path, weights_only=True, map_location="cpu")  # noqa: TID251 (the one door)
    trunk = model.get_submodule("visual.trunk")
    names = list(trunk.state_dict())
    tensors = [tensor for name, tensor in state.items() if not name.startswith("_fc.")]
    if len(names) != len(tensors):
        raise SettingsError(f"{path}: {len(tensors)} tensors, the trunk has {len(names)}")
    trunk.load_state_dict(dict(zip(names, tensors, strict=True)), strict=True)


def _load_text_transformer(model: nn.Module, *, path: Path) -> None:
    state = load_file(path)
    transformer = model.get_submodule("text.transformer")
    wanted = transformer.state_dict()
    transformer.load_state_dict({name: state[name] for name in wanted}, strict=True)
