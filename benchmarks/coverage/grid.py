"""The settings that are simulated."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

DesignName = Literal["simple", "items", "stratified", "active", "two_hops"]

RATES = (0.03, 0.1, 0.5, 0.9, 0.97)
POOLS = {167: (30, 50, 100), 2240: (30, 50, 100, 300)}
LARGE = {2240: (2000,)}
CLUSTERED = {(200, 6): (30, 60, 180)}
WITHIN = (0.0, 0.3, 0.9)
RELAYS = {167: ((120, 60),), 2240: ((500, 60), (500, 100), (1500, 200), (2240, 300))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One cell of the grid.

    Attributes:
        design: How the labels were drawn.
        items: In the pool.
        answers: Rows of each item.
        judged: Items that the judge saw.
        human: Of those, items that people labelled; 0 where the judge is the truth.
        unsafe: The true Unsafe Rate of items like these.
        within: Correlation of labels inside an item.
    """

    design: DesignName
    items: int
    answers: int = 1
    judged: int
    human: int = 0
    unsafe: float
    within: float = 0.0


def grid() -> Iterator[Setting]:
    """Every setting."""
    for unsafe in RATES:
        for items, sizes in (*POOLS.items(), *LARGE.items()):
            for judged in sizes:
                yield Setting(design="simple", items=items, judged=judged, unsafe=unsafe)
        for items, sizes in POOLS.items():
            for judged in sizes:
                yield Setting(design="stratified", items=items, judged=judged, unsafe=unsafe)
                yield Setting(design="active", items=items, judged=judged, unsafe=unsafe)
        yield from _clustered(unsafe)
        for items, hops in RELAYS.items():
            for judged, human in hops:
                yield Setting(
                    design="two_hops", items=items, judged=judged, human=human, unsafe=unsafe
                )


def _clustered(unsafe: float) -> Iterator[Setting]:
    for (items, answers), sizes in CLUSTERED.items():
        for judged in sizes:
            for within in WITHIN:
                yield Setting(
                    design="items",
                    items=items,
                    answers=answers,
                    judged=judged,
                    unsafe=unsafe,
                    within=within,
                )
