"""Forwards that outgrow the memory: cut in halves, and grown again when it is there again."""

from collections import deque
from collections.abc import Callable, Sequence

import torch

from nsgauge.errors import ScoringError
from nsgauge.models.prediction import batches_under_budget

FORWARDS_BEFORE_GROWTH = 16


class Budget:
    """How many tokens one forward takes.

    Args:
        tokens: At most, while the memory lasts.
    """

    def __init__(self, tokens: int) -> None:
        self._most = tokens
        self._now = tokens
        self._since = 0

    @property
    def tokens(self) -> int:
        """At most, as things are."""
        return self._now

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
