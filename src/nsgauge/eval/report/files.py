"""Writing a report's files: strict JSON, CSV that no spreadsheet executes, each written whole."""

import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")

Cell = str | int | float | bool | None
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvTable:
    """One table: a header and rows of the same width."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def plain(value: Any) -> Any:
    """A result object as JSON types: fields by name, arrays as lists, NaN as null.

    Example:
        >>> plain({"share": float("nan"), "counts": np.array([1, 2])})
        {'share': None, 'counts': [1, 2]}

    Raises:
        TypeError: a type that has no place in a report.
    """
    if type(value) in _SCALARS:
        return _scalar(value)
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        fields = value._asdict() if hasattr(value, "_asdict") else None
        return [plain(entry) for entry in value] if fields is None else plain(fields)
    named = _named(value)
    if named is not None:
        return {str(plain(key)): plain(entry) for key, entry in named.items()}
    return _scalar(value)


def _named(value: Any) -> Mapping[Any, Any] | None:
    """The fields of anything that has names for them."""
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _scalar(value: Any) -> Cell:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"a report can't hold a {type(value).__name__}")


def json_text(value: Any) -> str:
    """`value` as strict, safe JSON text with a newline at its end.

    `<`, `>`, `&` and the line separators U+2028/9 are escaped, so that the text may stand inside a
    page; lone surrogates stay escaped.
    """
    text = json.dumps(plain(value), allow_nan=False, ensure_ascii=True, indent=1)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text + "\n"


def csv_text(table: CsvTable) -> str:
    r"""A table as CSV (RFC 4180); text that a spreadsheet would run gets a `'` before it.

    Numbers are written in full and never quoted; None and NaN are empty cells.

    Example:
        >>> csv_text(CsvTable(header=("vllm", "rate"), rows=(("=1+1", -0.5),)))
        "vllm,rate\r\n'=1+1,-0.5\r\n"
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow([_csv_cell(name) for name in table.header])
    writer.writerows([[_csv_cell(cell) for cell in row] for row in table.rows])
    return buffer.getvalue()


def _csv_cell(cell: Cell) -> str | int | float:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, str):
        text = cell.replace("\x00", "")
        return f"'{text}" if text.startswith(_FORMULA_SIGNS) else text
    return cell


def write_whole(path: Path, *, text: str) -> None:
    """Write UTF-8 text beside `path`, then rename: a file that exists is complete.

    Lone surrogates, which UTF-8 has no place for, become question marks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode("utf-8", errors="replace")
    with NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
        part.write(data)
        part.flush()
        os.fsync(part.fileno())
    beside = Path(part.name)
    beside.chmod(0o644)
    beside.replace(path)
