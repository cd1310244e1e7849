"""Rows of CSV and TSV files: every cell as it was typed, nothing coerced."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nsgauge.data.importers.reading.records import Record, Rows
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError

_DELIMITERS = (",", ";", "\t")
_FIELD_CHARACTERS = 2**31 - 1


def read_csv(path: Path, *, delimiter: str | None = None) -> Rows:
    """The rows of a CSV file in UTF-8, with or without a byte order mark, every value as text.

    Args:
        path: The file.
        delimiter: Between cells; None takes the comma, or, where the header has none, the semicolon
            or the tab that it has: Excel writes those where the comma stands before decimals.

    Raises:
        DataError: not UTF-8, or no header, or a header with a name twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file, _any_field_length():
            header = file.readline()
            file.seek(0)
            found = next((sign for sign in _DELIMITERS if sign in header), ",")
            rows = csv.reader(file, delimiter=delimiter or found, strict=True)
            columns = next(rows, [])
            if not columns or len(set(columns)) < len(columns):
                raise DataError(f"{path}: header {columns}; wanted distinct column names")
            for number, cells in enumerate((row for row in rows if row), start=1):
                where = f"{path.name} row {number}"
                if len(cells) == len(columns):
                    yield Record(where, dict(zip(columns, cells, strict=True)))
                else:
                    ragged = f"{len(cells)} cells for {len(columns)} columns"
                    yield Reject(where, "ragged_row", f"{ragged}: quote cells with separators")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: not CSV ({error})") from error


def read_tsv(path: Path) -> Rows:
    """As `read_csv`, of a file whose cells are apart by tabs."""
    return read_csv(path, delimiter="\t")


@contextmanager
def _any_field_length() -> Iterator[None]:
    """Lift the csv module's process-wide limit of 131,072 characters for the time of one file."""
    before = csv.field_size_limit(_FIELD_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)
