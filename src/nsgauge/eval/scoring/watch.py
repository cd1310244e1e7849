"""Where the time of a run goes, and what needn't be done twice."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Literal

Activity = Literal["reading", "tokenizing", "computing", "writing"]
Reuse = Literal["images", "texts"]


class Watch:
    """Seconds by activity, and how often a cache helped; safe to use from several threads.

    Activities overlap, so their seconds may exceed the run's.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._began = time.monotonic()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._asked: Counter[str] = Counter()
        self._hits: Counter[str] = Counter()
        self.rows = 0

    @contextmanager
    def during(self, activity: Activity) -> Iterator[None]:
        """Count the block's time to an activity."""
        began = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[activity] += time.monotonic() - began

    def reused(self, kind: Reuse, *, hits: int, asked: int) -> None:
        """Count what was asked of a cache, and what it had."""
        with self._lock:
            self._hits[kind] += hits
            self._asked[kind] += asked

    def scored(self, rows: int) -> None:
        """Count rows that are done."""
        with self._lock:
            self.rows += rows

    @property
    def seconds(self) -> float:
        """Since the watch was made."""
        return time.monotonic() - self._began

    @property
    def shares(self) -> dict[str, float]:
        """Of the time of all activities together, the share of each, in [0, 1]."""
        whole = sum(self._seconds.values())
        return {name: spent / whole for name, spent in self._seconds.items()} if whole else {}

    @property
    def hit_shares(self) -> dict[str, float]:
        """Of what was asked of each cache, the share that it had, in [0, 1]."""
        return {kind: self._hits[kind] / asked for kind, asked in self._asked.items() if asked}

    def words(self) -> str:
        """All of it in a line."""
        rate = f"{self.rows / max(self.seconds, 1e-9):,.1f} rows/s"
        spent = [f"{name} {share:.0%}" for name, share in self.shares.items()]
        hits = [f"{kind} from cache {share:.0%}" for kind, share in self.hit_shares.items()]
        return ", ".join([rate, *spent, *hits])
