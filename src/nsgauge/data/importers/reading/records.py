"""Records: the rows of a source as they are, and what is said of a row that can't be read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from nsgauge.data.tables import Reject

NESTING_LIMIT = 100
"""A row nested deeper than this many levels is a reject: further on it could not be written."""

_PEEKED_ROWS = 100


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a source.

    Attributes:
        where: File and row (from 1, the header not counted) or line.
        values: By column; in CSV, TSV and xlsx all are text.
    """

    where: str
    values: dict[str, Any]


Rows = Iterator[Record | Reject]


def peeked(rows: Rows, *, rows_count: int = _PEEKED_ROWS) -> tuple[list[Record | Reject], Rows]:
    """The first rows, and the others: `chain(*peeked(rows))` is `rows` again."""
    return list(islice(rows, rows_count)), rows


def records_of(rows: Iterable[Record | Reject]) -> list[Record]:
    """The rows that can be read."""
    return [row for row in rows if isinstance(row, Record)]


def as_record(value: Any, *, where: str) -> Record | Reject:
    """A parsed value as a row, which must be an object within `NESTING_LIMIT`."""
    if not isinstance(value, dict):
        return Reject(where, "not_an_object", f"holds {type(value).__name__}, wanted an object")
    if is_too_deep(value):
        return Reject(where, "too_deep", f"nested deeper than {NESTING_LIMIT} levels")
    return Record(where, value)


def is_too_deep(value: Any, *, levels: int = NESTING_LIMIT) -> bool:
    """Whether lists and objects are nested in more levels than that.

    Example:
        >>> is_too_deep([[1]], levels=2), is_too_deep([[[]]], levels=2)
        (False, True)
    """
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_too_deep(one, levels=levels - 1) for one in inner)
