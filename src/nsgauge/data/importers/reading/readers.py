"""Rows of CSV, TSV, JSONL, JSON and Parquet files as they are: nothing coerced, nothing guessed."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from nsgauge.data.parquet import opened_parquet
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError

_FIELD_CHARACTERS = 2**31 - 1
_ROWS_PER_BATCH = 1024
_PEEKED_ROWS = 100


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a source.

    Attributes:
        where: File and row (from 1, the header not counted) or line.
        values: By column; in CSV and TSV all are text.
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


def read_records(path: Path) -> Rows:
    """The rows of a table file, by its suffix; a row that can't be read is a Reject.

    Raises:
        DataError: an unknown suffix, or a file that isn't what its suffix says.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise DataError(f"{path}: unknown suffix {path.suffix!r}; known: {known}")
    if not path.is_file():
        raise DataError(f"{path}: not a file")
    return reader(path)


def read_csv(path: Path, *, delimiter: str = ",") -> Rows:
    """The rows of a CSV file in UTF-8, with or without a byte order mark, every value as text.

    Raises:
        DataError: not UTF-8, or no header, or a header with a name twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file, _any_field_length():
            rows = csv.reader(file, delimiter=delimiter, strict=True)
            columns = next(rows, [])
            if not columns or len(set(columns)) < len(columns):
                raise DataError(f"{path}: header {columns}; wanted distinct column names")
            for number, cells in enumerate((row for row in rows if row), start=1):
                where = f"{path.name} row {number}"
                if len(cells) == len(columns):
                    yield Record(where, dict(zip(columns, cells, strict=True)))
                else:
                    found = f"{len(cells)} cells for {len(columns)} columns"
                    yield Reject(where, "ragged_row", f"{found}: quote cells with separators")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: not CSV ({error})") from error


@contextmanager
def _any_field_length() -> Iterator[None]:
    """Lift the csv module's process-wide limit of 131,072 characters for the time of one file."""
    before = csv.field_size_limit(_FIELD_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_tsv(path: Path) -> Rows:
    return read_csv(path, delimiter="\t")


def _read_jsonl(path: Path) -> Rows:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _parsed_line(line, where=f"{path.name}:{number}")


def _parsed_line(content: bytes, *, where: str) -> Record | Reject:
    try:
        value = parse_json(content)
    except UnicodeDecodeError as error:
        return Reject(where, "bad_utf8", f"not UTF-8: {error.reason} at byte {error.start}")
    except (ValueError, RecursionError) as error:
        return Reject(where, "bad_json", f"not one JSON object: {_brief(error)}")
    return _record(value, where=where)


def read_json_document(path: Path) -> Any:
    """What a JSON file in UTF-8 holds, with or without a byte order mark; NaN is the text "NaN".

    Raises:
        DataError: not such a file, or an object in it has a key twice.
    """
    try:
        return parse_json(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON in UTF-8: {_brief(error)}") from error


def parse_json(content: bytes) -> Any:
    """As `read_json_document`, of bytes.

    Raises:
        ValueError: it isn't JSON in UTF-8, or an object in it has a key twice.
        RecursionError: it is nested too deeply.
    """
    # NaN and Infinity become words: a label "NaN" then needs a meaning like any other value.
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    return json.loads(text, object_pairs_hook=_distinct_keys, parse_constant=str)


def _read_json(path: Path) -> Rows:
    value = read_json_document(path)
    if not isinstance(value, list):
        raise DataError(f"{path}: holds {type(value).__name__}, wanted a list of objects")
    for number, row in enumerate(value, start=1):
        yield _record(row, where=f"{path.name} row {number}")


def _read_parquet(path: Path) -> Rows:
    with opened_parquet(path) as file:
        number = 0
        for batch in file.iter_batches(batch_size=_ROWS_PER_BATCH):
            for values in batch.to_pylist():
                number += 1
                yield Record(f"{path.name} row {number}", values)


def _record(value: Any, *, where: str) -> Record | Reject:
    if isinstance(value, dict):
        return Record(where, value)
    return Reject(where, "not_an_object", f"holds {type(value).__name__}, wanted an object")


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key comes twice in one object")
    return values


def _brief(error: BaseException) -> str:
    """The parser's complaint without the text that it complains of."""
    return str(error).split(": '", maxsplit=1)[0][:200]


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".csv": read_csv,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
    ".tsv": _read_tsv,
}

SUFFIXES = frozenset(_READERS)
"""The suffixes that `read_records` knows."""
