"""How many questions are under way at a time: as many as the server takes without complaint.

Additive increase, multiplicative decrease (Chiu and Jain, 1989), doubling until the first
complaint; a server that asks for a pause gets it from all questions, not just from one.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_START = 4


class Throttle:
    """Lets questions through.

    Args:
        most: Never more than this at a time.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._limit = float(min(_START, most))
        self._in_flight = 0
        self._complained = False
        self._paused_until = 0.0
        self._last_cut = float("-inf")
        self._changed = asyncio.Condition()

    @property
    def limit(self) -> int:
        """How many may be under way now."""
        return max(1, int(self._limit))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for a turn and hold it; yields the moment at which it began."""
        await self._enter()
        try:
            yield _now()
        finally:
            async with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def succeeded(self) -> None:
        """An answer came: more may be under way."""
        step = 1 / self._limit if self._complained else 1.0
        self._limit = min(float(self._most), self._limit + step)

    def complained(self, *, begun: float, pause: float | None) -> None:
        """The server is overloaded: fewer at a time, and none at all during the pause.

        Args:
            begun: When the question's turn began. What was sent before the last cut is no news.
            pause: Seconds that the server asks for; None if it doesn't say.
        """
        self._complained = True
        if begun > self._last_cut:
            self._limit = max(1.0, self._limit / 2)
            self._last_cut = _now()
        if pause is not None:
            self._paused_until = max(self._paused_until, _now() + pause)

    async def _enter(self) -> None:
        while True:
            pause = self._paused_until - _now()
            if pause > 0:
                await asyncio.sleep(pause)
                continue
            async with self._changed:
                if self._in_flight < self.limit:
                    self._in_flight += 1
                    return
                await self._changed.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()
