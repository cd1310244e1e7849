"""Texts and pictures as the exported graphs read them; needs numpy and tokenizers alone.

Copied beside the graphs as `nsgauge_reading.py`. Pillow is imported for pictures, and ftfy for text
that isn't ASCII where the text tower is CLIP's or SigLIP's.
"""

import html
import importlib
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ids = tuple[int, ...]

SETTINGS = "classifier.json"
TOKENIZER = "tokenizer.json"
LEXICAL = "lexical.npz"
GRAPHS = ("text.onnx", "image.onnx", "decision.onnx")
LANGUAGE = ("language.onnx", "language_tokenizer.json")
"""There where a language model reads the exchange."""
FORMAT_KEY = "nsgauge_onnx"
FORMAT = 4

CHARACTERS_READ = 200_000
"""Past this a text is cut."""
PIXELS_LIMIT = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
ROLES = ("prompt", "response", "caption", "joint")

_STEP = np.uint64(0x9E3779B97F4A7C15)
_KEY_BITS = 54


@dataclass(frozen=True, slots=True, kw_only=True)
class Triple:
    """What to score; `image` is a path, and a `caption` stands in where there is none."""

    prompt: str
    response: str
    image: str | None = None
    caption: str | None = None


class Window(NamedTuple):
    """Token ids, and per token 0 or 1 for the first or the second text."""

    ids: Ids
    segments: Ids


class Slot(NamedTuple):
    """A window in its row: what it holds, and its number among those that hold the like."""

    window: Window
    role: int
    ordinal: int


class Exchange(NamedTuple):
    """An exchange's windows, and its beginning as if nobody had said what the picture shows."""

    told: tuple[Window, ...]
    untold: Window | None


class Reading(NamedTuple):
    """A row's windows, the response's own tokens in them, and whether a cap cut any text."""

    slots: tuple[Slot, ...]
    response: tuple[Ids, ...]
    truncated: bool


def _basic(text: str) -> str:
    # ftfy leaves printable ASCII as it is, but for what looks like HTML.
    plain = text.isascii() and "&" not in text and all(c.isprintable() or c in "\t\n" for c in text)
    if plain:
        return text.strip()
    fixed: str = importlib.import_module("ftfy").fix_text(text)
    return html.unescape(html.unescape(fixed)).strip()


def _whitespace(text: str) -> str:
    return " ".join(_basic(text).split())


def _lower(text: str) -> str:
    return _whitespace(text).lower()


def _canonical(text: str) -> str:
    bare = _basic(text).replace("_", " ").translate(str.maketrans("", "", string.punctuation))
    return " ".join(bare.lower().split())


CLEANING: Mapping[str, Callable[[str], str]] = {
    "none": str,
    "whitespace": _whitespace,
    "lower": _lower,
    "canonicalize": _canonical,
}
"""What is done to a text before it is tokenized, by the names that open_clip gives it."""


class Reader:
    """Lays out a triple's texts as windows.

    Args:
        tokenizer: A `tokenizer.json`.
        text: Of the text tower: ids, cleaning, context; see `classifier.json`.
        windows: The window policy.
    """

    def __init__(
        self, tokenizer: str, *, text: Mapping[str, Any], windows: Mapping[str, Any]
    ) -> None:
        self._tokenizer = whole(Tokenizer.from_str(tokenizer))
        self._clean = CLEANING[text["cleaning"]]
        self._text, self._policy = text, windows
        self._cap: int = windows["max_windows"]
        self._opening: Ids = () if text["start"] is None else (text["start"],)
        width = windows["window_tokens"] or text["context"]
        self._room = width - len(self._opening) - 1

    def read(self, triple: Triple, *, captions: bool | str) -> Reading:
        """A row's windows; a caption is read where `captions` and no image is given."""
        caption = triple.caption if captions and triple.image is None else None
        texts = [triple.prompt, triple.response, *([] if caption is None else [caption])]
        prompt, response, *rest = (self._ids(text) for text in texts)
        parts, stretches = self._parts(prompt, response, rest[0] if rest else None)
        slots = [
            Slot(window, ROLES.index(role), ordinal)
            for role, windows in parts
            for ordinal, window in enumerate(windows[: self._cap])
        ]
        cut = any(len(text) > CHARACTERS_READ for text in texts)
        truncated = cut or any(len(windows) > self._cap for _, windows in parts)
        return Reading(tuple(slots), tuple(stretches[: self._cap]), truncated)

    def exchange(
        self, triple: Triple, *, captions: bool | str, told: Mapping[str, Any]
    ) -> Exchange:
        """An exchange, told as a story.

        Args:
            triple: As for `read`.
            captions: As for `read`.
            told: How the story begins, how it says what the picture shows, and how many tokens the
                beginnings have that are read without that, too.
        """
        caption = triple.caption if captions and triple.image is None else None
        windows = self._story(triple, shown=caption, told=told)
        if not caption or not told["beginnings"]:
            return Exchange(windows, None)
        untold = self._story(triple, shown=None, told=told)[0]
        tokens = min(sum(windows[0].segments) - 1, max(told["beginnings"]))
        # With one token more, for the last is taken to close the response.
        end = untold.segments.index(1) + tokens + 1
        return Exchange(windows, Window(untold.ids[:end], untold.segments[:end]))

    def _story(
        self, triple: Triple, *, shown: str | None, told: Mapping[str, Any]
    ) -> tuple[Window, ...]:
        """The windows that hold a stretch of the response."""
        said = told["shown"].format(caption=shown) if shown else ""
        story = Triple(
            prompt=told["story"].format(shown=said, prompt=triple.prompt),
            response=f" {triple.response}",
        )
        slots = self.read(story, captions=False).slots
        return tuple(slot.window for slot in slots if ROLES[slot.role] == "joint")

    def _ids(self, text: str) -> Ids:
        readable = (
            text[:CHARACTERS_READ].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )
        return tuple(self._tokenizer.encode(self._clean(readable), add_special_tokens=False).ids)

    def _parts(
        self, prompt: Ids, response: Ids, caption: Ids | None
    ) -> tuple[list[tuple[str, list[Window]]], list[Ids]]:
        """Windows by role, and the stretches of the response."""
        parts: list[tuple[str, list[Window]]] = []
        if self._policy["layout"] == "joint":
            shown, at = self._policy["caption_tokens"], self._policy["prompt_tokens"]
            head = (caption or ())[:shown] + prompt[:at]
            caption = (
                None if caption is None else (caption if not shown else caption[shown:] or None)
            )
            room = self._room - len(head) - 1 - len(self._text["between"])
            stretches = _balanced(response, capacity=room, most=self._cap)
            if prompt[at:]:
                parts.append(("prompt", self._singles(prompt[at:])))
            parts.append(("joint", [self._pair(head, stretch) for stretch in stretches]))
        else:
            stretches = _balanced(response, capacity=self._room, most=self._cap)
            parts.append(("prompt", self._singles(prompt)))
            parts.append(("response", self._singles(response)))
        if caption is not None:
            parts.append(("caption", self._singles(caption)))
        return parts, stretches

    def _singles(self, ids: Ids) -> list[Window]:
        return [
            self._window((*self._opening, *stretch, self._text["end"]))
            for stretch in _balanced(ids, capacity=self._room, most=self._cap)
        ]

    def _pair(self, first: Ids, second: Ids) -> Window:
        end = self._text["end"]
        head = (*self._opening, *first, end, *self._text["between"])
        return self._window(head, (*second, end))

    def _window(self, first: Ids, second: Ids = ()) -> Window:
        missing, pad = self._text["context"] - len(first) - len(second), self._text["pad"]
        filling = () if pad is None else (pad,) * missing
        segments = (0,) * len(first) + (1,) * len(second) + (0,) * len(filling)
        return Window((*first, *second, *filling), segments)


def whole(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, set to give every token of a text and no control token."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def count_grams(
    stretches: Sequence[Ids], *, longest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys of the n-grams of token ids in a response, ascending, and how often it has each.

    Source: `nsgauge.models.lexical`, whose keys these are.
    """
    found = [np.zeros(0, np.uint64)]
    for ids in stretches:
        tokens = np.array(ids, np.uint64)
        states = np.zeros_like(tokens)
        for length in range(1, min(longest, len(tokens)) + 1):
            # Unsigned, so it wraps around.
            states = (
                states[: len(tokens) - length + 1] * _STEP + tokens[length - 1 :] + np.uint64(1)
            )
            found.append(_mixed(states) >> np.uint64(64 - _KEY_BITS))
    keys, counts = np.unique(np.concatenate(found).view(np.int64), return_counts=True)
    return keys, counts


def read_picture(path: Path, *, side: int, squash: bool) -> NDArray[np.uint8] | None:
    """A picture's bytes as the image tower takes them: (3, side, side); None if it can't be read.

    Upright, on white, its centre cut out or, to `squash`, both its sides brought to `side`.
    """
    library = importlib.import_module("PIL.Image")
    operations = importlib.import_module("PIL.ImageOps")
    try:
        with library.open(path, formats=FORMATS) as opened:
            if opened.width * opened.height > PIXELS_LIMIT or opened.mode[0] in "IF":
                return None
            image = _on_white(operations.exif_transpose(opened), library)
    except (OSError, ValueError, SyntaxError, library.DecompressionBombError):
        return None
    width, height = image.size
    longer = int(side * max(width, height) / min(width, height))
    size = (side, longer) if width <= height else (longer, side)
    sized = image.resize((side, side) if squash else size, library.Resampling.BICUBIC)
    left, top = (round((extent - side) / 2) for extent in sized.size)
    return np.asarray(sized.crop((left, top, left + side, top + side))).transpose(2, 0, 1)


def _on_white(image: Any, library: Any) -> Any:
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return library.alpha_composite(library.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _balanced(ids: Ids, *, capacity: int, most: int) -> list[Ids]:
    """The fewest stretches of at most `capacity`, whose lengths differ by one at most.

    Of a text that is too long for `most`, these hold its beginning, and one more what is cut off.
    """
    kept = ids[: capacity * most]
    count = max(1, -(-len(kept) // capacity))
    short, longer = divmod(len(kept), count)
    bounds = [index * short + min(index, longer) for index in range(count + 1)]
    stretches = [ids[bounds[index] : bounds[index + 1]] for index in range(count)]
    return [*stretches, ids[len(kept) :]] if len(ids) > len(kept) else stretches


def _mixed(states: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64; products wrap around."""
    states = (states ^ (states >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    states = (states ^ (states >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return states ^ (states >> np.uint64(31))
