"""A text tower's tokenizer as `tokenizer.json` and a few settings, and back."""

from typing import Literal

from pydantic import Field
from tokenizers import Tokenizer

from nsgauge.checkpoints.export_reading import CLEANING, whole
from nsgauge.errors import BundleError
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.settings import Settings

# Each way of cleaning makes something else of it.
_PROBE = "  One_\u2019  &lt;B&gt;, \ufb01ne  "


class StoredText(Settings):
    """What goes around a text's tokens; see `nsgauge.models.tokenizer.TextTokenizer`.

    Attributes:
        cleaning: What is done to a text first, by its name in open_clip; `none` for nothing.
        start: Id that opens every window, or None.
        end: Id that closes every window.
        pad: Id that fills windows up to the context, or None.
        between: Ids between the two texts of a pair.
        context: Positions that the tower knows.
    """

    cleaning: Literal["none", "whitespace", "lower", "canonicalize"]
    start: int | None = Field(ge=0)
    end: int = Field(ge=0)
    pad: int | None = Field(ge=0)
    between: tuple[int, ...]
    context: int = Field(ge=8)


def stored_text(tokenizer: TextTokenizer, *, context: int) -> tuple[str, StoredText]:
    """A `tokenizer.json`, and the settings beside it.

    Raises:
        BundleError: the tokenizer cleans texts in another way than those known.
    """
    cleaned = tokenizer._clean(_PROBE)
    known = {name: clean(_PROBE) for name, clean in CLEANING.items()}
    names = [name for name, found in known.items() if found == cleaned]
    if not names:
        raise BundleError(
            f"the text tower's tokenizer makes {cleaned!r} of {_PROBE!r}, as none of "
            f"{', '.join(known)} does: such a classifier can't be exported"
        )
    settings = {
        "cleaning": names[0],
        "start": tokenizer.start,
        "end": tokenizer.end,
        "pad": tokenizer.pad,
        "between": tokenizer.between,
        "context": context,
    }
    content: str = tokenizer._tokenizer.to_str()
    return content, StoredText.model_validate(settings)


def load_text(content: str, *, settings: StoredText, vocabulary: int) -> TextTokenizer:
    """The tokenizer that `stored_text` took apart.

    Args:
        content: A `tokenizer.json`.
        settings: What goes around a text's tokens.
        vocabulary: How many ids the text tower knows.

    Raises:
        ValueError: `content` is no tokenizer, or it has ids that the tower doesn't know.
    """
    try:
        tokenizer = whole(Tokenizer.from_str(content))
    except Exception as error:  # tokenizers raises nothing finer
        raise ValueError(f"no tokenizer ({error})") from error
    around = (settings.start, settings.end, settings.pad, *settings.between)
    last = max(*tokenizer.get_vocab().values(), *(each for each in around if each is not None))
    if last >= vocabulary:
        raise ValueError(f"the tokenizer gives ids up to {last}, the tower knows {vocabulary}")
    return TextTokenizer(
        tokenizer,
        clean=CLEANING[settings.cleaning],
        start=settings.start,
        end=settings.end,
        pad=settings.pad,
        between=settings.between,
    )
