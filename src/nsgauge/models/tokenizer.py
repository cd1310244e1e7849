"""Text to token ids, in Rust: the same ids as open_clip's tokenizers, on any text."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Int
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from nsgauge.errors import SettingsError

# Past this a text is cut before it is tokenized; the caller marks the row as truncated.
CHARACTERS_READ = 200_000

# What open_clip's SimpleTokenizer splits words by, less its two special tokens: here a text that
# spells one out is text. Texts are in lower case, but the original ignores case: it takes the long
# s, which is its own lower case, for an s, and drops U+0345, a mark whose upper case is a letter.
_CLIP_WORDS = r"'[s\x{17f}]|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}\x{345}]+"

# The same on ASCII, whose words are few enough to be remembered.
_CLIP_ASCII_WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")
TURN, END_OF_TURN = "<|im_start|>", "<|im_end|>"
"""Around each turn of a chat, as ChatML has it."""

WORDS_KNOWN = 2**17
"""At most so many words are remembered; then all are forgotten."""

# What cleaning can change beside white space and case: text that isn't ASCII, HTML's entities, and
# control characters but tab, line feed, form feed and carriage return.
_NEEDS_CLEANING = re.compile(r"[^\t\n\f\r -%'-~]")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIds:
    """Token ids of many texts, end to end.

    Attributes:
        ids: Of all texts.
        bounds: Where each text begins in `ids`, and where the last one ends.
    """

    ids: Int[np.ndarray, " tokens"]
    bounds: Int[np.ndarray, " bounds"]


class TextTokenizer:
    """Turns texts into token ids without start and end tokens.

    Args:
        tokenizer: Rust tokenizer; must add nothing and know no special tokens in texts.
        clean: Applied to each text first.
        start: Id that opens every window; None where windows open with the text.
        end: Id that closes every window.
        pad: Id that fills every window up to the context; None where windows end with `end`.
        between: Ids between the first text's `end` and the second text of a pair.
        words: What a cleaned ASCII text splits into, where each word is read by itself; None has
            Rust split every text.
    """

    def __init__(  # noqa: PLR0913 - what a tokenizer adds around texts
        self,
        tokenizer: Tokenizer,
        *,
        clean: Callable[[str], str],
        start: int | None,
        end: int,
        pad: int | None = None,
        between: tuple[int, ...] = (),
        words: re.Pattern[str] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._clean = clean
        self.start = start
        self.end = end
        self.pad = pad
        self.between = between
        self._words = words
        self._known: dict[str, list[int]] = {}

    @classmethod
    def wordpiece(cls, path: Path) -> "TextTokenizer":
        """A BERT-like tokenizer (BERT's or MPNet's) from its `tokenizer.json`.

        Raises:
            SettingsError: it puts other tokens around texts than a start, ends and what is between.
        """
        tokenizer = _whole(Tokenizer.from_file(str(path)))
        # Not by name: MPNet's vocabulary still lists BERT's [CLS] and [SEP], which it never uses.
        alone, pair = tokenizer.encode("a").ids, tokenizer.encode("a", "b").ids
        first, second = (
            tokenizer.encode(text, add_special_tokens=False).ids for text in ("a", "b")
        )
        opened, between = alone[:-1], tuple(pair[len(alone) : -len(second) - 1])
        if opened[1:] != first or pair != [*alone, *between, *second, *alone[-1:]]:
            raise SettingsError(
                f"{path}: makes {alone} of 'a' and {pair} of the pair 'a', 'b'; expected a start "
                "and an end around a text, as BERT and MPNet have them"
            )
        return cls(tokenizer, clean=str, start=alone[0], end=alone[-1], between=between)

    @classmethod
    def clip(
        cls,
        vocabulary: Mapping[str, int],
        *,
        merges: Sequence[tuple[str, str]],
        clean: Callable[[str], str],
    ) -> "TextTokenizer":
        """CLIP's byte-pair encoding from its vocabulary and ranked merges."""
        tokenizer = Tokenizer(
            models.BPE(vocab=dict(vocabulary), merges=list(merges), end_of_word_suffix="</w>")
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_CLIP_WORDS), "removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        start, end = vocabulary["<start_of_text>"], vocabulary["<end_of_text>"]

        def quickly_cleaned(text: str) -> str:
            plain = _NEEDS_CLEANING.search(text) is None
            return " ".join(text.split()).lower() if plain else clean(text)

        return cls(tokenizer, clean=quickly_cleaned, start=start, end=end, words=_CLIP_ASCII_WORDS)

    @classmethod
    def chat(
        cls, vocabulary: Mapping[str, int], *, merges: Sequence[tuple[str, str]]
    ) -> "TextTokenizer":
        """SmolLM's byte-pair encoding; of a pair, the second text is the assistant's turn.

        Raises:
            SettingsError: the vocabulary has no such turns.
        """
        tokenizer = _whole(Tokenizer(models.BPE(vocab=dict(vocabulary), merges=list(merges))))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        start, end = vocabulary.get(TURN), vocabulary.get(END_OF_TURN)
        if start is None or end is None:
            raise SettingsError(f"a vocabulary without {TURN} and {END_OF_TURN}: no chat model's")
        line, speaker = (tokenizer.encode(text).ids for text in ("\n", "assistant\n"))
        return cls(tokenizer, clean=str, start=start, end=end, between=(*line, start, *speaker))

    @classmethod
    def padded(
        cls, tokenizer: Tokenizer, *, clean: Callable[[str], str], end: int, pad: int
    ) -> "TextTokenizer":
        """SigLIP's: the text, the end, then padding up to the tower's context."""
        return cls(_whole(tokenizer), clean=clean, start=None, end=end, pad=pad)

    def between_lines(self, *, end: int, between: tuple[int, ...]) -> "TextTokenizer":
        """The same ids of a text, with another end and other ids between two texts of a pair."""
        return TextTokenizer(
            self._tokenizer,
            clean=self._clean,
            start=self.start,
            end=end,
            pad=self.pad,
            between=between,
            words=self._words,
        )

    def encode(self, texts: Sequence[str]) -> TokenIds:
        """Token ids of texts as columns; anything past `CHARACTERS_READ` is not read."""
        cleaned = [self._clean(_encodable(text[:CHARACTERS_READ])) for text in texts]
        split = [self._split(text) for text in cleaned]
        self._learn(split)
        whole = [text for text, words in zip(cleaned, split, strict=True) if words is None]
        read = iter(self._in_rust(whole))
        ids = [
            next(read) if words is None else [i for word in words for i in self._known[word]]
            for words in split
        ]
        bounds = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum([len(own) for own in ids], out=bounds[1:])
        flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(bounds[-1]))
        return TokenIds(ids=flat, bounds=bounds)

    def ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Token ids of each text, as `encode` gives them."""
        encoded = self.encode(texts)
        return [tuple(own.tolist()) for own in np.split(encoded.ids, encoded.bounds[1:-1])]

    def _split(self, text: str) -> list[str] | None:
        """The words of a text whose words are known to be read one by one; None of another."""
        return self._words.findall(text) if self._words is not None and text.isascii() else None

    def _learn(self, split: Sequence[list[str] | None]) -> None:
        """Read the words that are new: most of the others come again in every text."""
        new = {word for words in split for word in words or () if word not in self._known}
        if len(self._known) + len(new) > WORDS_KNOWN:
            self._known = {}
            new = {word for words in split for word in words or ()}
        ordered = sorted(new)
        self._known.update(zip(ordered, self._in_rust(ordered), strict=True))

    def _in_rust(self, texts: list[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


def _whole(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, set to give every token of a text and no control token."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # "[SEP]" in a response is text: without this it would become the control token.
    tokenizer.encode_special_tokens = True
    return tokenizer


def _encodable(text: str) -> str:
    """The text with lone surrogates, which Rust refuses, replaced by U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
