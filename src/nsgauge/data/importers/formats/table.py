"""Tables of triples in any columns, of any kind of file that `readers` knows, with a mapping."""

from itertools import chain
from pathlib import Path

from nsgauge.data.folders import file_digest
from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, ImportOptions
from nsgauge.data.importers.mapping import REQUIRED, parse_mapping
from nsgauge.data.importers.reading.readers import SUFFIXES, read_records
from nsgauge.data.importers.reading.records import peeked, records_of
from nsgauge.data.importers.rows import RowSource, import_rows
from nsgauge.errors import DataError


def import_table(source: Path, *, options: ImportOptions, images: ImageStore) -> Imported:
    """Start the import of one table file; its rows are read as `Imported.triples` is.

    Raises:
        SettingsError: the mapping or a label isn't of its form.
        DataError: an unknown kind of file, no rows, or a mapped column that isn't there. While
            reading: as `import_rows`.
    """
    early, rows = peeked(read_records(source))
    present = dict.fromkeys(column for row in records_of(early) for column in row.values)
    if not present:
        raise DataError(f"{source}: no readable rows ({len(early)} unreadable)")
    return import_rows(
        RowSource(
            rows=chain(early, rows),
            mapping=parse_mapping(options.mapping, labels=options.labels, present=list(present)),
            image_root=options.image_root or source.parent,
            files={source.name: file_digest(source)},
            benchmark=options.benchmark,
        ),
        images=images,
    )


def recognises_table(source: Path) -> bool:
    """Whether `source` is a table file with columns that are named like the required fields."""
    if source.suffix.lower() not in SUFFIXES or not source.is_file():
        return False
    early, _ = peeked(read_records(source), rows_count=1)
    return any(set(REQUIRED) <= set(row.values) for row in records_of(early))
