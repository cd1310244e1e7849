"""Parquet files whose rows have a schema of ours: written in groups, checked when read.

A file from elsewhere may have drifted: a further column is logged and left out, wider integers,
large strings and dictionaries are cast, anything else that differs is an error before any work.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nsgauge.errors import DataError
from nsgauge.records import LATER_COLUMNS, Triple, Verdict

ROWS_PER_GROUP = 16_384
"""Rows in one row group: what a reader holds in memory at once."""

Row = TypeVar("Row", Triple, Verdict)
Words = Mapping[str, type[StrEnum]]
"""Columns whose values must be words of an enumeration (or null where the schema allows it)."""

_log = logging.getLogger(__name__)


def write_rows(path: Path, rows: Iterable[Row], *, schema: pa.Schema) -> int:
    """Write rows in groups of `ROWS_PER_GROUP`; how many there were.

    Raises:
        DataError: a text holds a lone surrogate, which no file can.
    """
    count, remaining = 0, iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(remaining, ROWS_PER_GROUP)):
            writer.write_table(_table(group, schema=schema))
            count += len(group)
    return count


@contextmanager
def opened_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file, with its failures in our words.

    Raises:
        DataError: no such file, not Parquet, or damaged where it is being read.
    """
    try:
        # What is pre-buffered stays in memory until the file is closed: in the end, all of it.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield file
    except FileNotFoundError as error:
        wanted = "give a data folder, as `nsgauge import` makes"
        raise DataError(f"{path}: no such file; {wanted}") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}); make it anew") from error


def read_parquet(path: Path) -> pa.Table:
    """The whole file as one table.

    Raises:
        DataError: as `opened_parquet`.
    """
    with opened_parquet(path) as file:
        return file.read()


def checked(table: pa.Table, *, schema: pa.Schema, words: Words, where: str) -> pa.Table:
    """The table with exactly `schema`, after the drift that the module allows is undone.

    Args:
        table: As read.
        schema: The schema wanted.
        words: The columns with a fixed vocabulary.
        where: What to call the table in an error.

    Raises:
        DataError: a column is missing, of another type, out of bounds, null where it must not be,
            or has a word that its vocabulary lacks.
    """
    for field in schema:
        if field.name in LATER_COLUMNS and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    present = table.column_names
    missing = [name for name in schema.names if name not in present]
    if missing or len(set(present)) < len(present):
        found = f"columns {', '.join(present)}"
        raise DataError(f"{where}: {found}; wanted once each, missing: {', '.join(missing)}")
    extra = sorted(set(present) - set(schema.names))
    if extra:
        _log.warning("%s: columns left out: %s", where, ", ".join(extra))
    columns = [_cast(table[field.name], field=field, where=where) for field in schema]
    for name, vocabulary in words.items():
        _check_words(columns[schema.get_field_index(name)], vocabulary, where=f"{where}: {name}")
    return pa.table(columns, schema=schema)


def _table(rows: Sequence[Row], *, schema: pa.Schema) -> pa.Table:
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    try:
        return pa.table(columns, schema=schema)
    except UnicodeEncodeError as error:
        ids = f"between {rows[0].triple_id!a} and {rows[-1].triple_id!a}"
        wanted = "replace them with U+FFFD first"
        raise DataError(f"a text has lone surrogates ({ids}): {wanted}") from error


def _cast(column: pa.ChunkedArray, *, field: pa.Field, where: str) -> pa.ChunkedArray:
    found = f"{where}: column {field.name} is {column.type}, wanted {field.type}"
    if not _castable(column.type, wanted=field.type):
        raise DataError(f"{found}: write it with that type")
    try:
        cast = column.cast(field.type)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{found}: {error}") from error
    if cast.null_count and not field.nullable:
        raise DataError(f"{where}: column {field.name} has {cast.null_count} nulls, wanted none")
    return cast


def _castable(found: pa.DataType, *, wanted: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_string(wanted):
        texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        return any(is_kind(found) for is_kind in (*texts, pa.types.is_null))
    if pa.types.is_integer(wanted):
        return bool(pa.types.is_integer(found))
    return bool(found == wanted or pa.types.is_null(found))


def _check_words(column: pa.ChunkedArray, vocabulary: type[StrEnum], *, where: str) -> None:
    known = {str(word) for word in vocabulary}
    strange = [word for word in pc.unique(column).to_pylist() if word not in {None, *known}]
    if strange:
        listed = ", ".join(repr(word) for word in strange[:5])
        raise DataError(f"{where}: {listed}; known: {', '.join(sorted(known))}")
