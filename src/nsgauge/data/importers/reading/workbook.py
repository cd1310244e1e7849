"""Rows of xlsx files, every cell as the text that a person would see."""

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import date, datetime, time
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from nsgauge.data.importers.reading.archive import opened_archive
from nsgauge.data.importers.reading.records import Record, Rows
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError

CELL_CHARACTERS_LIMIT = 32_767
"""A longer text is cut to this many characters by whatever writes xlsx, without a word."""
CUT_COLUMN = "cut_by_excel"
"""Where a row lists its columns whose text has exactly that length."""

_FAILURES = (
    *(AttributeError, BadZipFile, EOFError, InvalidFileException, KeyError, OSError),
    *(ParseError, TypeError, ValueError),
)
# XlsxWriter stores control characters, such as the CR of Windows line ends, in this form.
_ESCAPED_CONTROL = re.compile("_x00([01][0-9A-Fa-f])_")


def read_xlsx(path: Path) -> Rows:
    """The rows of the first sheet; empty cells read as empty text, empty rows are left out.

    A row with a cell of `CELL_CHARACTERS_LIMIT` characters has its columns listed in
    `CUT_COLUMN`.

    Raises:
        DataError: not an xlsx file, too large when unpacked, or no header of distinct names.
    """
    # An xlsx file is a ZIP file, and its shared texts are unpacked into memory at once.
    with opened_archive(path):
        pass
    try:
        with path.open("rb") as file:
            # Formulas stay as they were written: a response that starts with "=" was stored as
            # one, and has no value.
            book = load_workbook(file, read_only=True, data_only=False, keep_links=False)
            with closing(book):
                yield from _records(_sheet_rows(book), name=path.name)
    except _FAILURES as error:
        raise DataError(f"{path}: not a readable xlsx file: {error!r:.200}") from error


def _sheet_rows(book: Any) -> Iterator[tuple[int, list[str]]]:
    """The rows of the first sheet that aren't empty, with their number in the sheet."""
    sheet = book.worksheets[0]
    # Files are common whose stated extent is wrong; without it the rows are simply read.
    sheet.reset_dimensions()
    for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        texts = [cell_text(cell) for cell in cells]
        if any(texts):
            yield number, texts


def _records(rows: Iterator[tuple[int, list[str]]], *, name: str) -> Rows:
    number, header = next(rows, (0, []))
    columns = _trimmed(header)
    if not columns or len(set(columns)) < len(columns) or "" in columns:
        raise DataError(f"{name}: header {columns}; wanted distinct column names in its first row")
    first = number
    for number, cells in chain(rows):
        where = f"{name} row {number - first}"
        found = _trimmed(cells)
        if len(found) > len(columns):
            yield Reject(where, "ragged_row", f"{len(found)} cells for {len(columns)} columns")
            continue
        padded = [*found, *[""] * (len(columns) - len(found))]
        values: dict[str, Any] = dict(zip(columns, padded, strict=True))
        cut = [key for key, text in values.items() if len(text) == CELL_CHARACTERS_LIMIT]
        yield Record(where, {**values, CUT_COLUMN: cut} if cut else values)


def cell_text(value: object) -> str:
    """A cell's value in words: 1 for 1.0, TRUE for true, nothing for an empty cell.

    Example:
        >>> [cell_text(value) for value in ("007", 7.0, 0.1, True, None)]
        ['007', '7', '0.1', 'TRUE', '']
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return _ESCAPED_CONTROL.sub(lambda match: chr(int(match.group(1), 16)), str(value))


def _trimmed(cells: Iterable[str]) -> list[str]:
    """Without the empty cells at the end."""
    texts = list(cells)
    while texts and not texts[-1]:
        texts.pop()
    return texts
