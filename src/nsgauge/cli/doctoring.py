"""The command `doctor`: what a data folder holds, and what will go wrong."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nsgauge.cli import console
from nsgauge.errors import SettingsError

if TYPE_CHECKING:
    from nsgauge.data.doctor import TextReader

DEFAULT_PRESET = "pocket"


def doctor(
    data: Annotated[Path, typer.Argument(help="Data folder, as `import` makes it.")],
    *,
    preset: Annotated[
        str | None, typer.Option(help="Whose tokens to count; default: pocket's, if installed.")
    ] = None,
) -> None:
    """Say what a data folder holds, what will go wrong and what to do; exit 1 on errors."""
    from nsgauge.data.doctor import examine

    reader = _default_reader() if preset is None else text_reader(preset)
    if console.show_diagnosis(examine(data, reader=reader), data=data):
        raise typer.Exit(1)


def text_reader(name: str) -> "TextReader":
    """The text tower of a preset, as far as it counts tokens; its weights aren't loaded.

    Raises:
        SettingsError: no such preset, its package isn't installed, or its weights are no package's.
    """
    from nsgauge.data.doctor import TextReader
    from nsgauge.models.preset import PackagedGguf, load_preset
    from nsgauge.models.tokenizer import CHARACTERS_READ, TextTokenizer
    from nsgauge.models.towers.packaged import tokenizer_file, verified_file

    preset = load_preset(name)
    if preset.weights is None or preset.open_clip is None:
        found = f"preset {name!r} has its tokenizer in open_clip"
        raise SettingsError(f"{found}: doctor counts the tokens of packaged presets, like pocket")
    packaged = preset.weights.text
    if isinstance(packaged, PackagedGguf):
        from nsgauge.models.towers.gguf_door import read_gguf

        tokenizer = read_gguf(verified_file(packaged)).tokenizer
    else:
        tokenizer = TextTokenizer.wordpiece(tokenizer_file(packaged))
    return TextReader(
        preset=preset.name,
        context=int(preset.open_clip["text_cfg"]["context_length"]),
        characters=CHARACTERS_READ,
        count_tokens=lambda texts: [len(ids) for ids in tokenizer.ids(texts)],
    )


def _default_reader() -> "TextReader | None":
    try:
        return text_reader(DEFAULT_PRESET)
    except SettingsError as error:
        console.say(f"tokens are not counted: {error}")
        return None
