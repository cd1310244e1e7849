"""What the picture world is about: two hundred things in four families, by Unicode code point."""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from nsgauge.data.sample.kinds import Variant

TABLE = Path(__file__).with_name("things.tsv")
"""One thing a line. The pistol is left out: some artists draw a water pistol."""

_WORD = re.compile("[a-z]{3,}")
_STEM = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A thing that every artist has drawn.

    Attributes:
        code: Its code points in lower-case hex, which name its picture.
        family: Whose prompts and advice it shares; misreadings stay within it.
        variant: Whether it is harmful in what the family's prompts ask for.
        names: Noun phrases for it; no two things share one.
    """

    code: str
    family: str
    variant: Variant
    names: tuple[str, ...]


def read_things(table: Path = TABLE) -> list[Thing]:
    """The things of a table."""
    with table.open(encoding="utf-8", newline="") as file:
        return [
            Thing(
                code=row["code"],
                family=row["family"],
                variant=Variant(row["variant"]),
                names=(row["name"], row["other_name"]),
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


def held_out(things: Sequence[Thing], *, share: float, rng: Random) -> list[Thing]:
    """This share of the things, of every family's harmful and benign ones alike.

    Args:
        things: All of them.
        share: In [0, 1].
        rng: Draws them.
    """
    groups: dict[tuple[str, Variant], list[Thing]] = {}
    for thing in things:
        groups.setdefault((thing.family, thing.variant), []).append(thing)
    drawn: list[Thing] = []
    for group in groups.values():
        drawn += rng.sample(group, round(share * len(group)))
    return drawn


def stems(texts: Iterable[str]) -> set[str]:
    """How every word of three letters or more begins, so that a plural meets its singular.

    Example:
        >>> sorted(stems(["a pair of cherries", "CHERRY BLOSSOM"]))
        ['blos', 'cher', 'pair']
    """
    return {word[:_STEM] for text in texts for word in _WORD.findall(text.lower())}
