"""Checks of a local tower directory in open_clip's layout, before open_clip reads it."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from nsgauge.errors import SettingsError

CONFIGURATION = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# By open_clip's two classes of models.
TEXT_POSITIONS = ("positional_embedding", "text.positional_embedding")


def check_layout(directory: Path) -> None:
    """A local tower is a configuration and safetensors, never a pickle.

    Raises:
        SettingsError: a file is missing, or there is a pickle.
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
