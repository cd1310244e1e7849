"""Checks of a local tower directory in open_clip's layout, before open_clip reads it."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from nsgauge.errors import SettingsError

CONFIGURATION = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
TOKENIZER_SETTINGS = frozenset({"clean", "strip_sep_token"})
"""What open_clip's own configurations say of a tokenizer; anything else could have it run code."""
TOKENIZER_FILES = ("config.json", "tokenizer_config.json")
# By open_clip's two classes of models.
TEXT_POSITIONS = ("positional_embedding", "text.positional_embedding")


def check_layout(directory: Path) -> None:
    """A local tower is a configuration and safetensors, never a pickle or code.

    Raises:
        SettingsError: a file is missing, there is a pickle, or the tokenizer would run code.
    """
    for name in (CONFIGURATION, WEIGHTS):
        if not (directory / name).is_file():
            raise SettingsError(
                f"{directory}: {name} is missing; expected open_clip's local layout "
                f"({CONFIGURATION} and {WEIGHTS})"
            )
    pickles = [path.name for path in directory.iterdir() if path.suffix.lower() in PICKLE_SUFFIXES]
    if pickles:
        raise SettingsError(f"{directory}: holds pickles ({', '.join(pickles)}); remove them")
    _check_tokenizer(directory)


def _check_tokenizer(directory: Path) -> None:
    """Transformers imports Python files of the folder where its configurations ask for that."""
    described = _read(directory / CONFIGURATION)
    text = _object(_object(described.get("model_cfg")).get("text_cfg"))
    further = set(_object(text.get("tokenizer_kwargs"))) - TOKENIZER_SETTINGS
    if further:
        raise SettingsError(
            f"{directory / CONFIGURATION}: tokenizer_kwargs {', '.join(sorted(further))}; "
            f"wanted none but {', '.join(sorted(TOKENIZER_SETTINGS))}"
        )
    for name in TOKENIZER_FILES:
        path = directory / name
        if path.exists() and "auto_map" in _read(path):
            raise SettingsError(f"{path}: names code of its own (auto_map); remove that key")


def _read(path: Path) -> dict[str, Any]:
    try:
        return _object(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: not valid JSON ({error})") from error


def _object(found: object) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def check_text_context(directory: Path, *, context: int) -> None:
    """The weights hold as many text positions as the configuration says.

    open_clip interpolates what doesn't fit and says so in its log alone.

    Raises:
        SettingsError: they hold another number, or can't be read.
    """
    path = directory / WEIGHTS
    try:
        with safe_open(path, framework="pt") as weights:
            names = [name for name in TEXT_POSITIONS if name in weights.keys()]  # noqa: SIM118
            held = [weights.get_slice(name).get_shape()[0] for name in names]
    except (SafetensorError, OSError) as error:
        raise SettingsError(f"{path}: weights can't be read ({error})") from error
    if any(count != context for count in held):
        raise SettingsError(
            f"{path}: holds {held[0]} text positions, {CONFIGURATION} says {context}: mend "
            "text_cfg.context_length, or get the weights of that length"
        )
