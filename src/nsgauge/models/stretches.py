"""Arithmetic of many texts at once: split into stretches, and copied together from pieces."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

_Numbers = Int[np.ndarray, " stretches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretches:
    """Stretches of many texts, text after text.

    Attributes:
        texts: Which text each stretch is of.
        ordinals: 0, 1, ... within its text.
        starts: Where it begins in its text.
        lengths: Tokens in it.
        cut: Per text, whether stretches were left out.
    """

    texts: _Numbers
    ordinals: _Numbers
    starts: _Numbers
    lengths: _Numbers
    cut: Bool[np.ndarray, " texts"]


def balanced(
    lengths: Int[np.ndarray, " texts"], *, capacity: Int[np.ndarray, " texts"], most: int
) -> Stretches:
    """Split each text into the fewest stretches that fit, whose lengths differ by one at most.

    A text that needs more than `most` is cut: its beginning fills those.

    Args:
        lengths: Tokens of each text; an empty one is one empty stretch.
        capacity: Most tokens in a stretch, by text; at least 1.
        most: Stretches of a text; at least 1.

    Raises:
        ValueError: a capacity is below 1.

    Example:
        >>> found = balanced(np.array([10]), capacity=np.array([4]), most=9)
        >>> found.starts.tolist(), found.lengths.tolist()
        ([0, 4, 7], [4, 3, 3])
    """
    if np.any(capacity < 1):
        raise ValueError(f"a window needs room for at least one token, got {capacity.min()}")
    kept = np.minimum(lengths, capacity * most)
    counts = np.maximum(1, -(-kept // capacity))
    texts = np.repeat(np.arange(len(lengths)), counts)
    ordinals = places_within(counts)
    short, longer = (part[texts] for part in np.divmod(kept, counts))
    return Stretches(
        texts=texts,
        ordinals=ordinals,
        starts=ordinals * short + np.minimum(ordinals, longer),
        lengths=short + (ordinals < longer),
        cut=lengths > kept,
    )


def places_within(counts: Int[np.ndarray, " groups"]) -> Int[np.ndarray, " members"]:
    """0, 1, ... within each of several groups that lie end to end.

    Example:
        >>> places_within(np.array([2, 0, 3])).tolist()
        [0, 1, 0, 1, 2]
    """
    ends = np.cumsum(counts)
    return np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)


def gathered(
    pool: Int[np.ndarray, " pool"],
    *,
    starts: Int[np.ndarray, " pieces"],
    lengths: Int[np.ndarray, " pieces"],
) -> Int[np.ndarray, " gathered"]:
    """Pieces of a pool copied end to end.

    Example:
        >>> pool = np.array([7, 8, 9])
        >>> gathered(pool, starts=np.array([1, 0]), lengths=np.array([2, 1])).tolist()
        [8, 9, 7]
    """
    return pool[places_within(lengths) + np.repeat(starts, lengths)]
