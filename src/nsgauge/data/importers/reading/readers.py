"""Rows of any table file, by its suffix: nothing coerced, nothing guessed."""

from collections.abc import Callable
from pathlib import Path

from nsgauge.data.importers.reading.delimited import read_csv, read_tsv
from nsgauge.data.importers.reading.json_files import (
    listed,
    read_json,
    read_json_document,
    read_jsonl,
)
from nsgauge.data.importers.reading.records import Rows, as_record
from nsgauge.data.importers.reading.workbook import read_xlsx
from nsgauge.data.parquet import opened_parquet
from nsgauge.errors import DataError

_ROWS_PER_BATCH = 1024


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


def rows_in(path: Path, *, key: str) -> Rows:
    """As `read_records`, where a JSON file may also hold an object with the list under `key`.

    Raises:
        DataError: as `read_records`.
    """
    if path.suffix.lower() == ".json":
        return listed(read_json_document(path), key=key, path=path)
    return read_records(path)


def _read_parquet(path: Path) -> Rows:
    with opened_parquet(path) as file:
        number = 0
        for batch in file.iter_batches(batch_size=_ROWS_PER_BATCH):
            for values in batch.to_pylist():
                number += 1
                yield as_record(values, where=f"{path.name} row {number}")


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".csv": read_csv,
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": _read_parquet,
    ".tsv": read_tsv,
    ".xlsx": read_xlsx,
}

SUFFIXES = frozenset(_READERS)
"""The suffixes that `read_records` knows."""
