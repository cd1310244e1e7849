"""How much goes into a forward: less when it outgrows the memory, and more again later."""

from collections import deque
from collections.abc import Callable, Sequence

import torch

from nsgauge.errors import ScoringError
from nsgauge.models.prediction import batches_under_budget
from nsgauge.models.towers.fixed import Room
from nsgauge.models.towers.packing import Packed

FORWARDS_BEFORE_GROWTH = 16
SHORT_TOKENS = 48
"""Windows up to this length come again and again: prompts, refusals. They are kept."""
LEAST_SHORT = 8
"""Shorter windows than this are counted as so long: they would be many in a forward."""


class Budget:
    """How many tokens one forward takes.

    Args:
        tokens: At most, while the memory lasts.
        short_tokens: About so many are in a forward of short windows, all of one length and always
            as many: what such a window's vector is can't depend on the others, so it may be kept
            beyond its shard. Never more than `tokens`.
    """

    def __init__(self, tokens: int, *, short_tokens: int = 256) -> None:
        self.short_tokens = min(short_tokens, tokens)
        self._most = tokens
        self._now = tokens
        self._since = 0

    @property
    def tokens(self) -> int:
        """At most, as things are."""
        return self._now

    def room(self, packed: Packed) -> Room:
        """The shape of the forward that reads some windows: one for short ones.

        For the rest as many tokens, or twice that, and so on: the least that holds them. Longer
        windows than short ones take up the tokens before the sequences.
        """
        tokens = self.short_tokens
        if packed.lengths[-1] <= SHORT_TOKENS and len(packed.ids) <= tokens:
            return Room(tokens=tokens, sequences=self.alike(1))
        while tokens < len(packed.ids):
            tokens *= 2
        return Room(tokens=tokens, sequences=tokens // SHORT_TOKENS)

    def alike(self, length: int) -> int:
        """How many short windows of one length are in a forward."""
        return max(1, self.short_tokens // max(length, LEAST_SHORT))

    def run(self, sizes: Sequence[int], *, forward: Callable[[list[int]], None]) -> None:
        """Run a forward over every number of `sizes` once, in batches under the budget.

        Args:
            sizes: Tokens of each member of a batch.
            forward: Given the numbers of a batch; may be given some of them again, after it ran
                out of memory.

        Raises:
            ScoringError: a batch of one doesn't fit the memory.
        """
        waiting = deque(batches_under_budget(sizes, tokens_per_batch=self._most))
        while waiting:
            batch = waiting.popleft()
            if len(batch) > 1 and sum(sizes[number] for number in batch) > self._now:
                waiting.extendleft(_halves(batch))
                continue
            try:
                forward(batch)
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                self._halve(batch, tokens=sum(sizes[number] for number in batch), error=error)
                waiting.appendleft(batch)
            else:
                self._grow()

    def _halve(self, batch: Sequence[int], *, tokens: int, error: Exception) -> None:
        if len(batch) == 1:
            raise ScoringError(
                f"out of memory on a single window of {tokens} tokens: free some, or score on "
                "another device (--device)"
            ) from error
        self._now, self._since = max(1, min(tokens, self._now) // 2), 0
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _grow(self) -> None:
        self._since += 1
        if self._now < self._most and self._since >= FORWARDS_BEFORE_GROWTH:
            self._now, self._since = min(self._most, 2 * self._now), 0


def _halves(batch: list[int]) -> tuple[list[int], list[int]]:
    """The second half first: a deque that is extended on the left turns them round."""
    middle = len(batch) // 2
    return batch[middle:], batch[:middle]


def _out_of_memory(error: Exception) -> bool:
    """Whether it is numpy's or torch's; torch has no class for the CPU's."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "can't allocate memory" in str(error)
