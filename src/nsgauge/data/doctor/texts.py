"""How long prompts and responses are for a text tower: tokens, and the windows that they need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

QUANTILES = (0.0, 0.5, 0.9, 0.99, 1.0)
"""Of every length."""
ROWS_READ = 20_000
"""Of more rows than these, so many are drawn at random, always the same ones."""
PROMPT_TOKENS = 64
"""What the joint layout reads of the prompt beside the response, as window policies start out."""
MAX_WINDOWS = 8
"""The cap on the windows of each text, as window policies start out."""

_OWN_TOKENS = 2
"""Start and end of a window; the joint layout has one more between prompt and response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReader:
    """A preset's text tower, as far as it counts.

    Attributes:
        preset: Its name.
        context: Tokens in a window, start and end tokens included.
        characters: How much of a text is read at all.
        count_tokens: How many tokens each text has, without start and end tokens.
    """

    preset: str
    context: int
    characters: int
    count_tokens: Callable[[Sequence[str]], Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLengths:
    """Lengths over the answered triples.

    Attributes:
        preset: Whose tokens they are.
        context: Tokens in a window.
        rows: Triples read; see `ROWS_READ`.
        prompt_tokens: At `QUANTILES`.
        response_tokens: At `QUANTILES`.
        windows: By layout (`joint`, `apart`), windows of prompt and response together at
            `QUANTILES`, without a cap; a layout that the context has no room for is left out.
        cut: By layout, triples that `MAX_WINDOWS` (or the reader's limit) would read in part.
    """

    preset: str
    context: int
    rows: int
    prompt_tokens: dict[float, int]
    response_tokens: dict[float, int]
    windows: dict[str, dict[float, int]]
    cut: dict[str, int]


def text_lengths(answered: pa.Table, *, reader: TextReader) -> TextLengths | None:
    """Count tokens and windows, as training and scoring would read the texts.

    Args:
        answered: TRIPLES_SCHEMA, the answered rows.
        reader: The text tower.

    Returns:
        The lengths; None where there are no rows.
    """
    if not answered.num_rows:
        return None
    rows = answered
    if answered.num_rows > ROWS_READ:
        # Not every so-manieth row: VLLMs may come in turns.
        chosen = np.random.default_rng(0).choice(answered.num_rows, ROWS_READ, replace=False)
        rows = answered.take(pa.array(np.sort(chosen)))
    prompts = _token_counts(rows["prompt"], reader=reader)
    responses = _token_counts(rows["response"], reader=reader)
    layouts = _windows(prompts, responses=responses, context=reader.context)
    unread = np.zeros(rows.num_rows, dtype=np.bool_)
    for column in ("prompt", "response"):
        unread |= np.asarray(pc.utf8_length(rows[column])) > reader.characters
    return TextLengths(
        preset=reader.preset,
        context=reader.context,
        rows=rows.num_rows,
        prompt_tokens=quantiles(prompts),
        response_tokens=quantiles(responses),
        windows={name: quantiles(parts.sum(axis=0)) for name, parts in layouts.items()},
        cut={
            name: int((unread | (parts > MAX_WINDOWS).any(axis=0)).sum())
            for name, parts in layouts.items()
        },
    )


def quantiles(lengths: Int[np.ndarray, " rows"]) -> dict[float, int]:
    """The lengths at `QUANTILES`; empty where there are none."""
    if not len(lengths):
        return {}
    return {q: round(float(np.quantile(lengths, q))) for q in QUANTILES}


def _token_counts(texts: pa.ChunkedArray, *, reader: TextReader) -> Int[np.ndarray, " rows"]:
    """Tokens of each text; one that is there often is counted once."""
    encoded = texts.combine_chunks().dictionary_encode()
    counts = np.array(reader.count_tokens(encoded.dictionary.to_pylist()), dtype=np.int64)
    return np.asarray(counts[np.asarray(encoded.indices)])


def _windows(
    prompts: Int[np.ndarray, " rows"], *, responses: Int[np.ndarray, " rows"], context: int
) -> dict[str, Int[np.ndarray, "texts rows"]]:
    """By layout, how many windows each part of a row takes: the prompt's, the response's."""
    room = context - _OWN_TOKENS
    found = {}
    if context - PROMPT_TOKENS - _OWN_TOKENS - 1 >= 1:
        heads = np.minimum(prompts, PROMPT_TOKENS)
        beside = context - heads - _OWN_TOKENS - 1
        rest = -(-(prompts - heads) // room)
        found["joint"] = np.stack([rest, np.maximum(1, -(-responses // beside))])
    parts = (np.maximum(1, -(-tokens // room)) for tokens in (prompts, responses))
    found["apart"] = np.stack(list(parts))
    return found
