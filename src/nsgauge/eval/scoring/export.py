"""A score folder as one table: a row a triple, in the order of the data folder."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from nsgauge.data.folders import new_file
from nsgauge.errors import SettingsError
from nsgauge.eval.scoring.shards import finished, read_shard
from nsgauge.records import SCORES_SCHEMA

SUFFIXES = (".csv", ".jsonl", ".parquet")


def export_scores(scores: Path, *, out: Path, overwrite: bool = False) -> int:
    """Write a finished score folder as one file, shard after shard.

    Args:
        scores: The score folder.
        out: The new file: `.csv`, `.jsonl` or `.parquet`.
        overwrite: Replace it.

    Returns:
        How many rows it has.

    Raises:
        SettingsError: another suffix.
        ScoringError: the run isn't finished, or a shard is missing or damaged.
        DataError: a shard isn't a table of scores, or `out` is taken.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingsError(f"{out}: suffix {out.suffix!r}; wanted {' or '.join(SUFFIXES)}")
    manifest = finished(scores)
    tables = (read_shard(scores, shard=shard) for shard in manifest.shards)
    with new_file(out, overwrite=overwrite) as part:
        if suffix == ".jsonl":
            with part.open("w", encoding="utf-8") as file:
                file.writelines(_lines(tables))
        else:
            _write(tables, part=part, as_csv=suffix == ".csv")
    return manifest.rows


def _lines(tables: Iterable[pa.Table]) -> Iterator[str]:
    for table in tables:
        for batch in table.to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                yield json.dumps(row) + "\n"


def _write(tables: Iterable[pa.Table], *, part: Path, as_csv: bool) -> None:
    if as_csv:
        with pyarrow.csv.CSVWriter(part, SCORES_SCHEMA) as writer:
            for table in tables:
                writer.write_table(table)
        return
    with pq.ParquetWriter(part, SCORES_SCHEMA) as writer:
        for table in tables:
            writer.write_table(table)
