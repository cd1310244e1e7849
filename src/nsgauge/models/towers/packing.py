"""Packed sequences: texts of different lengths laid end to end, without padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention

from nsgauge.models.stretches import gathered, places_within

HALF_PRECISION = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Window:
    """One sequence as a text tower reads it, start and end tokens included.

    Attributes:
        ids: Token ids, in order.
        segments: Per token, 0 for the first text and 1 for the second; towers without segment
            embeddings ignore it.
    """

    ids: tuple[int, ...]
    segments: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Many windows as columns, end to end: no object for each.

    Attributes:
        ids: Token ids.
        bounds: Where each window begins in `ids`, and where the last one ends.
        second: Where, within its window, the second text begins and ends; twice the same where
            there is none.
    """

    ids: Int[np.ndarray, " tokens"]
    bounds: Int[np.ndarray, " bounds"]
    second: Int[np.ndarray, "windows 2"]

    @classmethod
    def of(cls, windows: Sequence[Window]) -> "Windows":
        """Columns of windows.

        Raises:
            ValueError: the second text of one isn't a single stretch.
        """
        lengths = [len(window.ids) for window in windows]
        flat = chain.from_iterable(window.ids for window in windows)
        second = [_second(window.segments) for window in windows]
        return cls(
            ids=np.fromiter(flat, dtype=np.int64, count=sum(lengths)),
            bounds=np.cumsum([0, *lengths]),
            second=np.array(second, dtype=np.int64).reshape(-1, 2),
        )

    def __len__(self) -> int:
        """How many windows."""
        return len(self.second)

    def __getitem__(self, index: int) -> Window:
        """One window as an object."""
        ids = self.ids[self.bounds[index] : self.bounds[index + 1]].tolist()
        start, stop = self.second[index].tolist()
        return Window(tuple(ids), (0,) * start + (1,) * (stop - start) + (0,) * (len(ids) - stop))

    @property
    def lengths(self) -> Int[np.ndarray, " windows"]:
        """Tokens of each window."""
        return np.diff(self.bounds)

    def keys(self) -> list[bytes]:
        """Per window, what it holds: equal for equal windows alone."""
        content = self.ids.astype("<i4").tobytes()
        edges = (4 * self.bounds).tolist()
        second = self.second.astype("<u2").tobytes()
        return [
            second[4 * index : 4 * index + 4] + content[edges[index] : edges[index + 1]]
            for index in range(len(self))
        ]

    def pack(self, chosen: Int[np.ndarray, " chosen"]) -> "Packed":
        """Pack some of the windows.

        Raises:
            ValueError: none are chosen, or one of them holds no token.
        """
        if not len(chosen) or not self.lengths[chosen].all():
            raise ValueError("pack at least one window, each with at least one token")
        order = np.argsort(self.lengths[chosen], kind="stable")
        laid = chosen[order]
        lengths = self.lengths[laid]
        restore = np.empty_like(order)
        restore[order] = np.arange(len(order))
        positions = places_within(lengths)
        start, stop = (np.repeat(edge, lengths) for edge in self.second[laid].T)
        ids = gathered(self.ids, starts=self.bounds[laid], lengths=lengths)
        segments = (start <= positions) & (positions < stop)
        return Packed(
            ids=torch.from_numpy(ids.astype(np.int64)),
            segments=torch.from_numpy(segments.astype(np.int64)),
            positions=torch.from_numpy(positions),
            lengths=tuple(lengths.tolist()),
            restore=torch.from_numpy(restore),
        )


@dataclass(frozen=True, slots=True)
class Run:
    """`count` sequences of equal `length` that lie together, from `start` on."""

    start: int
    count: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Sequences laid end to end, shortest first, so that equal lengths lie together.

    Attributes:
        ids: Token ids.
        segments: Segment per token.
        positions: Position within its own sequence, per token.
        lengths: Length of each packed sequence, ascending.
        restore: `packed_rows[restore]` brings one-row-per-sequence results back to the order in
            which the sequences were given.
    """

    ids: Int[Tensor, " tokens"]
    segments: Int[Tensor, " tokens"]
    positions: Int[Tensor, " tokens"]
    lengths: tuple[int, ...]
    restore: Int[Tensor, " sequences"]

    @classmethod
    def of(cls, windows: Sequence[Window]) -> "Packed":
        """Pack windows; none may be empty.

        Raises:
            ValueError: there are no windows, or one of them holds no token.
        """
        return Windows.of(windows).pack(np.arange(len(windows)))

    @staticmethod
    def order(windows: Sequence[Window]) -> list[int]:
        """In which order `of` lays windows: the shortest first, else as given."""
        return sorted(range(len(windows)), key=lambda index: len(windows[index].ids))

    def to(self, device: torch.device) -> "Packed":
        """The same sequences on another device."""
        return Packed(
            ids=self.ids.to(device),
            segments=self.segments.to(device),
            positions=self.positions.to(device),
            lengths=self.lengths,
            restore=self.restore.to(device),
        )

    @property
    def runs(self) -> Iterator[Run]:
        """The stretches of equal length, in order."""
        start = 0
        for length, group in groupby(self.lengths):
            count = sum(1 for _ in group)
            yield Run(start, count, length)
            start += count * length


def packed_attention(
    query: Float[Tensor, "tokens heads depth"],
    *,
    key: Float[Tensor, "tokens heads depth"],
    value: Float[Tensor, "tokens heads depth"],
    runs: Sequence[Run],
    causal: bool,
    bias: Float[Tensor, "heads longest longest"] | None = None,
) -> Float[Tensor, "tokens heads depth"]:
    """Self-attention within each packed sequence, never across two.

    On CUDA in half precision this is one variable-length kernel; elsewhere one ordinary
    attention per run of equal lengths.

    Args:
        query: Of every token.
        key: Of every token.
        value: Of every token.
        runs: Where the sequences lie.
        causal: Whether a token sees only itself and earlier ones; not together with a bias.
        bias: Added to the scaled scores, from the first positions on; at least the longest
            sequence wide.
    """
    # The variable-length kernel takes no bias.
    if query.is_cuda and query.dtype in HALF_PRECISION and bias is None:
        return _varlen_attention(query, key=key, value=value, runs=runs, causal=causal)
    parts = []
    for run in runs:
        stop = run.start + run.count * run.length
        q, k, v = (
            tensor[run.start : stop].view(run.count, run.length, *tensor.shape[1:]).transpose(1, 2)
            for tensor in (query, key, value)
        )
        mask = None if bias is None else bias[:, : run.length, : run.length].to(q.dtype)
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        parts.append(attended.transpose(1, 2).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _varlen_attention(
    query: Float[Tensor, "tokens heads depth"],
    *,
    key: Float[Tensor, "tokens heads depth"],
    value: Float[Tensor, "tokens heads depth"],
    runs: Sequence[Run],
    causal: bool,
) -> Float[Tensor, "tokens heads depth"]:
    lengths = [run.length for run in runs for _ in range(run.count)]
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    offsets = torch.from_numpy(bounds).to(query.device, non_blocking=True)
    longest = max(lengths)
    # torch 2.11 to 2.13 moved causality from `is_causal` to `window_size`; the range starts at
    # 2.11, whose signature has `window_size` already.
    window = (-1, 0) if causal else (-1, -1)
    attended = varlen_attn(
        query, key, value, offsets, offsets, longest, longest, window_size=window
    )
    return cast("Tensor", attended)


def _second(segments: Sequence[int]) -> tuple[int, int]:
    """Where the second text begins and ends."""
    if 1 not in segments:
        return 0, 0
    start, count = segments.index(1), sum(segments)
    if any(segment != 1 for segment in segments[start : start + count]):
        raise ValueError(f"segments {segments}: expected the second text in one stretch")
    return start, start + count
