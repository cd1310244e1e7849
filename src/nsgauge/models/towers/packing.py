"""Packed sequences: texts of different lengths laid end to end, without padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from nsgauge.models.stretches import gathered, places_within


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
        return runs_of(self.lengths)


def runs_of(lengths: Sequence[int]) -> Iterator[Run]:
    """The stretches of equal length among sequences laid end to end, in order."""
    start = 0
    for length, group in groupby(lengths):
        count = sum(1 for _ in group)
        yield Run(start, count, length)
        start += count * length


def _second(segments: Sequence[int]) -> tuple[int, int]:
    """Where the second text begins and ends."""
    if 1 not in segments:
        return 0, 0
    start, count = segments.index(1), sum(segments)
    if any(segment != 1 for segment in segments[start : start + count]):
        raise ValueError(f"segments {segments}: expected the second text in one stretch")
    return start, start + count
