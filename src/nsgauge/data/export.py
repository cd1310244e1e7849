"""A data folder as one generic table: a row a verdict, and one for a triple that has none.

`nsgauge import table ROWS --image-root DATA` makes the same data folder of it again.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nsgauge.data.folders import new_file
from nsgauge.data.tables import read_triples, read_verdicts, triples_of, verdicts_of
from nsgauge.errors import SettingsError
from nsgauge.records import TRIPLES_SCHEMA, VERDICTS_SCHEMA, Verdict

_VERDICT_FIELDS = [field for field in VERDICTS_SCHEMA if field.name != "triple_id"]
ROWS_SCHEMA: pa.Schema = pa.schema(
    [*TRIPLES_SCHEMA, *(field.with_nullable(True) for field in _VERDICT_FIELDS)]  # noqa: FBT003
)
"""The columns of the table; those of the verdict are null where there is none."""


def export_rows(data: Path, *, out: Path, overwrite: bool = False) -> int:
    """Write the triples and verdicts of a data folder as one table file.

    Args:
        data: The data folder.
        out: The new file: `.jsonl` or `.parquet`.
        overwrite: Replace it.

    Returns:
        How many rows it has.

    Raises:
        SettingsError: another suffix.
        DataError: the data folder can't be read, or `out` is taken.
    """
    writer = _WRITERS.get(out.suffix.lower())
    if writer is None:
        raise SettingsError(f"{out}: suffix {out.suffix!r}; wanted {' or '.join(_WRITERS)}")
    rows = list(_rows(data))
    with new_file(out, overwrite=overwrite) as part:
        writer(part, rows)
    return len(rows)


def _rows(data: Path) -> Iterator[dict[str, Any]]:
    votes: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts_of(read_verdicts(data)):
        votes[verdict.triple_id].append(verdict)
    silence: dict[str, Any] = dict.fromkeys(field.name for field in _VERDICT_FIELDS)
    for triple in triples_of(read_triples(data)):
        said = [asdict(verdict) for verdict in votes[triple.triple_id]]
        for columns in said or [silence]:
            yield {**asdict(triple), **columns}


def _write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(chain.from_iterable((json.dumps(row), "\n") for row in rows))


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=ROWS_SCHEMA), path)


_WRITERS: dict[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
