"""Tables of triples in any columns, of any kind of file that `readers` knows, with a mapping."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, ImportOptions
from nsgauge.data.importers.mapping import REQUIRED, Mapping, by_field, parse_mapping
from nsgauge.data.importers.reading.readers import SUFFIXES, read_records
from nsgauge.data.importers.reading.records import Record, Rows, peeked, records_of
from nsgauge.data.importers.reading.sources import (
    digests,
    first_files,
    image_root,
    source_files,
)
from nsgauge.data.importers.reading.workbook import CUT_COLUMN
from nsgauge.data.importers.rows import RowSource, import_rows
from nsgauge.errors import DataError

FILE_COLUMN = "file"
"""A column that every table has: the name of the row's file, without its suffix."""

_COLUMNS_NAMED = 12


def import_table(source: Path, *, options: ImportOptions, images: ImageStore) -> Imported:
    """Start the import of a table file, or of a folder of them, read one after the other.

    The rows are read as `Imported.triples` is.

    Raises:
        SettingsError: the mapping or a label isn't of its form.
        DataError: an unknown kind of file, no rows, or a mapped column that isn't there. While
            reading: as `import_rows`.
    """
    files = source_files(source, suffixes=SUFFIXES) if source.is_dir() else [source]
    if not files:
        raise DataError(f"{source}: holds no file of {', '.join(sorted(SUFFIXES))}")
    named = FILE_COLUMN in by_field(options.mapping).values()
    early = [row for path in files for row in peeked(_records(path, named=named))[0]]
    # Of every file, for one may have columns, labels among them, that the first lacks.
    present = list(dict.fromkeys(column for row in records_of(early) for column in row.values))
    if not present:
        raise DataError(f"{source}: no readable rows ({len(early)} unreadable)")
    mapping = _with_names(
        parse_mapping(options.mapping, labels=options.labels, present=present), options=options
    )
    return import_rows(
        RowSource(
            rows=chain.from_iterable(_records(path, named=named) for path in files),
            mapping=mapping,
            image_root=image_root(source, given=options.image_root),
            files=digests(files, source=source),
            benchmark=options.benchmark,
            notes=_notes(mapping, present=present),
        ),
        images=images,
    )


def recognises_table(source: Path) -> bool:
    """Whether `source` is a table with columns named like the required fields, or has one."""
    files = first_files(source, suffixes=SUFFIXES)[:1]
    early = [row for path in files for row in peeked(read_records(path), rows_count=1)[0]]
    return any(set(REQUIRED) <= set(row.values) for row in records_of(early))


def holds_table(source: Path) -> bool:
    """Whether `source` is a file of a kind that tables are in, or a folder with one."""
    return bool(first_files(source, suffixes=SUFFIXES))


def _records(path: Path, *, named: bool) -> Rows:
    rows = read_records(path)
    if not named:
        yield from rows
        return
    for row in rows:
        if isinstance(row, Record):
            yield Record(row.where, {FILE_COLUMN: path.stem, **row.values})
        else:
            yield row


def _with_names(mapping: Mapping, *, options: ImportOptions) -> Mapping:
    """With the VLLM and the judge that the user names, where no column does."""
    given = {"vllm": options.vllm, "judge": options.judge}
    added = {name: said for name, said in given.items() if said and name not in mapping.fields}
    return replace(mapping, constants={**mapping.constants, **added})


def _notes(mapping: Mapping, *, present: Sequence[str]) -> list[str]:
    """Columns that nobody said a word of may be a label that was forgotten."""
    columns = mapping.columns.values()
    read = {CUT_COLUMN, *columns, *(column.partition(".")[0] for column in columns)}
    left = [column for column in present if column not in read]
    if not left:
        return []
    more = f" and {len(left) - _COLUMNS_NAMED} more" if len(left) > _COLUMNS_NAMED else ""
    listed = ", ".join(left[:_COLUMNS_NAMED])
    return [f"columns kept as extras, read as no field: {listed}{more}"]
