"""Does a Ray cluster write the score folder that the local engine writes? Row by row.

Tiny random towers score triples with pictures twice: here, and on two actors of a cluster that is
started on this machine. Needs the extra `ray`.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.scoring import world
from benchmarks.scoring.rounds import Row, row
from nsgauge.checkpoints.export_merged import export_merged, load_merged
from nsgauge.data.folders import TRIPLES_FILE
from nsgauge.data.parquet import ROWS_PER_GROUP
from nsgauge.eval.scoring.ray_engine import Cluster, RayResources, score_folder_on_ray
from nsgauge.eval.scoring.runner import Resources, score_folder
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.eval.scoring.shards import read_scores

ACTORS = 2
PICTURES = 200
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How two tables of scores differ.

    Attributes:
        rows: In each.
        largest: The largest difference of a probability.
        differing: Rows in which anything else differs, verdicts set aside.
        flips: Rows with another verdict on either axis.
    """

    rows: int
    largest: float
    differing: int
    flips: int


def agreement(first: pa.Table, *, second: pa.Table) -> Agreement:
    """Compare two tables with SCORES_SCHEMA row by row."""
    if first.num_rows != second.num_rows:
        raise ValueError(f"{first.num_rows} rows and {second.num_rows} rows")
    differing, flips = (np.zeros(first.num_rows, dtype=bool) for _ in range(2))
    largest = 0.0
    for field in first.schema:
        ours, theirs = (table[field.name] for table in (first, second))
        if pa.types.is_floating(field.type):
            gap = np.abs(ours.to_numpy() - theirs.to_numpy())
            largest = max(largest, float(np.nanmax(gap, initial=0.0)))
            continue
        other = np.array(ours.to_pylist(), object) != np.array(theirs.to_pylist(), object)
        (flips if field.name.endswith("_verdict") else differing)[other] = True
    return Agreement(
        rows=first.num_rows, largest=largest, differing=int(differing.sum()), flips=int(flips.sum())
    )


def agreed(rows: int) -> Row:
    """Score the same rows both ways and compare."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        bundle, data = work / "bundle", work / "data"
        export_merged(world.bundle_of(world.tiny_towers()), out=bundle)
        _write_data(data, rows=rows)
        settings = ScoringSettings(controls_rows=0)
        began = time.monotonic()
        score_folder(
            load_merged(bundle),
            data=data,
            out=work / "local",
            settings=settings,
            resources=Resources(device="cpu"),
        )
        local = time.monotonic() - began
        score_folder_on_ray(
            bundle,
            data=data,
            out=work / "ray",
            settings=settings,
            resources=RayResources(device="cpu", cluster=Cluster(actors=ACTORS)),
        )
        took = time.monotonic() - began - local
        found = agreement(read_scores(work / "local"), second=read_scores(work / "ray"))
    return row(
        "RAY",
        f"{rows:,} rows, {PICTURES} pictures, {ACTORS} actors on this machine",
        sides=(f"local, {local:.0f} s", f"Ray with its start, {took:.0f} s"),
        ratios=[local / took],
        parity=(
            f"largest difference {found.largest:.1e}, {found.flips} verdicts, "
            f"{found.differing} of {found.rows} rows otherwise different"
        ),
        parity_holds=found.largest <= TOLERANCE and not found.differing and found.rows == rows,
    )


def _write_data(data: Path, *, rows: int) -> None:
    """Texts of real lengths, six responses to a prompt, and pictures that items share."""
    world.write_pictures(data, count=PICTURES, size=(64, 48))
    made = world.triples(rows, images=PICTURES)
    pq.write_table(made, data / TRIPLES_FILE, row_group_size=ROWS_PER_GROUP)
