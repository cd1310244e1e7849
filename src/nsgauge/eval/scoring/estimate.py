"""What a whole run will take, from a few rows of it."""

import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nsgauge.data.tables import count_triples, iter_triples
from nsgauge.errors import ScoringError
from nsgauge.eval.scoring.engine import Engine

ROWS_READ_AT_ONCE = 8192
SLICES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What scoring a data folder will take on this machine, with nothing in the cache.

    Attributes:
        rows: Triples.
        pictures: Distinct paths of pictures.
        tokens: That the text tower reads, windows that repeat within a slice counted once.
        seconds: Expected.
        seconds_low: If all rows were like those of the fastest slice measured.
        seconds_high: Likewise of the slowest.
        score_bytes: Of the score folder, without controls.
    """

    rows: int
    pictures: int
    tokens: int
    seconds: float
    seconds_low: float
    seconds_high: float
    score_bytes: int

    def lines(self) -> list[str]:
        """In words."""
        rate = self.rows / max(self.seconds, 1e-9)
        return [
            f"{self.rows:,} rows, {self.pictures:,} pictures, {self.tokens / 1e6:,.1f} M tokens",
            f"about {_span(self.seconds)} ({_span(self.seconds_low)} to "
            f"{_span(self.seconds_high)}), {rate:,.1f} rows/s; scores take "
            f"{self.score_bytes / 1e6:,.1f} MB",
            "with an empty cache and without the control runs; the rows were measured on this "
            "machine as it is now",
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """Of one slice: seconds a row and a picture, tokens and bytes a row."""

    row_seconds: float
    picture_seconds: float
    row_tokens: float
    row_bytes: float


def estimate(engine: Engine, *, data: Path, rows: int = 256) -> Estimate:
    """Score a few rows from several places of a data folder, and reckon from them.

    Args:
        engine: Without a cache, else what is in it is taken for granted.
        data: Data folder.
        rows: How many are scored in all.

    Raises:
        ScoringError: the data folder has no rows.
        DataError: it can't be read.
    """
    total = count_triples(data)
    if not total:
        raise ScoringError(f"{data}: no rows to score")
    slices, pictures = _slices(data, total=total, rows=max(1, rows // SLICES))
    engine.score_table(slices[0].slice(0, 8))
    found = [_measure(engine, table=table) for table in slices]
    picture_seconds = float(np.median([slice_.picture_seconds for slice_ in found]))
    seconds = [total * one.row_seconds + pictures * picture_seconds for one in found]
    return Estimate(
        rows=total,
        pictures=pictures,
        tokens=round(total * float(np.mean([one.row_tokens for one in found]))),
        seconds=float(np.mean(seconds)),
        seconds_low=min(seconds),
        seconds_high=max(seconds),
        score_bytes=round(total * float(np.mean([one.row_bytes for one in found]))),
    )


def _slices(data: Path, *, total: int, rows: int) -> tuple[list[pa.Table], int]:
    """Some rows from as many places as there are, and how many pictures all rows have."""
    starts = [place * total // SLICES for place in range(SLICES)]
    slices: list[pa.Table] = []
    paths = pa.array([], pa.string())
    done = 0
    for table in iter_triples(data, rows=ROWS_READ_AT_ONCE):
        while starts and starts[0] < done + table.num_rows:
            slices.append(table.slice(starts.pop(0) - done, rows))
        done += table.num_rows
        paths = pc.unique(pa.concat_arrays([paths, *table["image"].chunks]))
    return slices, len(paths.drop_null())


def _measure(engine: Engine, *, table: pa.Table) -> _Measured:
    began = time.perf_counter()
    rows = engine.look(table)
    looked = time.perf_counter()
    if rows.digests:
        engine.see(rows, block=np.arange(len(rows)))
    seen = time.perf_counter()
    scores = engine.score(rows)
    scored = time.perf_counter()
    file = BytesIO()
    pq.write_table(scores, file, compression="zstd")
    first = list({key: place for place, key in enumerate(rows.keys)}.values())
    # A run reads the next shard while it computes one.
    spent = max(looked - began, scored - seen)
    return _Measured(
        row_seconds=spent / len(rows),
        picture_seconds=(seen - looked) / max(1, len(rows.digests)),
        row_tokens=float(rows.texts.windows.lengths[first].sum()) / len(rows),
        row_bytes=len(file.getbuffer()) / len(rows),
    )


def _span(seconds: float) -> str:
    """In the unit that suits.

    Example:
        >>> [_span(seconds) for seconds in (8.4, 600.0, 7200.0)]
        ['8 s', '10.0 min', '2.0 h']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
