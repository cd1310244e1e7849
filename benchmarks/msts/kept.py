"""Runs that are kept: what each said, one file a run, with what it was made of."""

import hashlib
import platform
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import benchmarks.msts
import nsgauge
from benchmarks.msts.measures import Told
from benchmarks.msts.methods import METHODS
from benchmarks.msts.rows import AXES, Rows, lesson
from benchmarks.msts.runs import TEACHERS, Run
from benchmarks.msts.task import Opinion, Task
from nsgauge.data.folders import new_file
from nsgauge.data.tables import data_fingerprint
from nsgauge.errors import DataError


def _code() -> str:
    """SHA-256 of the package and of this experiment, recipes included."""
    code = hashlib.sha256()
    for module in (nsgauge, benchmarks.msts):
        folder = Path(str(module.__file__)).parent
        for path in sorted(p for p in folder.rglob("*") if p.suffix in {".py", ".yaml"}):
            code.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return code.hexdigest()


# Now, for what runs is what is loaded now.
CODE = _code()
LIBRARIES = ("nsgauge", "numpy", "scikit-learn", "torch", "transformers")
Kept = dict[tuple[Run, str], Told]


def perform(run: Run, *, data: Path, rows: Rows, work: Path) -> None:
    """Do one run and keep its opinions."""
    split = run.split(rows.vllms)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        opinion = METHODS[run.method](
            Task(
                rows=rows,
                lesson=lesson(data, rows=rows, teacher=TEACHERS[run.teacher]),
                sides=rows.sides(split),
                split=split,
                teacher=run.teacher,
                seed=run.seed,
                data=data,
                scratch=Path(scratch),
                cache=work / "cache",
            )
        )
    cells = rows.cells(split)
    table = opinion_table(opinion, cells=cells, rows=rows)
    note = {**origin(data), "seconds": f"{time.monotonic() - begun:.1f}"}
    with new_file(work / f"{run.name}.parquet", overwrite=True) as part:
        pq.write_table(table.replace_schema_metadata(note), part)


def opinion_table(opinion: Opinion, *, cells: Sequence[str], rows: Rows) -> pa.Table:
    """What was said of the rows that are new in any way."""
    at = [row for row, cell in enumerate(cells) if cell]
    columns: dict[str, object] = {
        "triple_id": [rows.triples[row].triple_id for row in at],
        "cell": [cells[row] for row in at],
    }
    for axis in opinion.probability:
        columns[axis] = opinion.probability[axis][at]
        columns[f"{axis}_verdict"] = opinion.verdict[axis][at]
    return pa.table(columns)


def kept_opinions(run: Run, *, work: Path, rows: Rows) -> Kept:
    """The opinions of a run by cell; with unseen VLLMs, what is unseen in items alone is left."""
    place = {triple.triple_id: row for row, triple in enumerate(rows.triples)}
    table = pq.read_table(work / f"{run.name}.parquet").to_pydict()
    wanted = ("item",) if run.design == "items" else ("vllm", "both")
    found: Kept = {}
    for cell in wanted:
        at = [number for number, name in enumerate(table["cell"]) if name == cell]
        axes = [axis for axis in AXES if axis in table]
        found[run, cell] = Told(
            rows=np.array([place[table["triple_id"][n]] for n in at], dtype=np.int64),
            probability={axis: np.array(table[axis])[at] for axis in axes},
            verdict={axis: np.array(table[f"{axis}_verdict"])[at] for axis in axes},
        )
    return found


def whole_designs(runs: Sequence[Run], *, work: Path) -> list[Run]:
    """The runs that are kept, less those whose design misses a fold or a group of VLLMs."""
    missing = {
        (run.method, run.teacher, run.design, run.seed)
        for run in runs
        if not (work / f"{run.name}.parquet").exists()
    }
    return [run for run in runs if (run.method, run.teacher, run.design, run.seed) not in missing]


def origin(data: Path) -> dict[str, str]:
    """What a run is made of: data, code, versions; and the day."""
    return {
        "data_sha256": data_fingerprint(data),
        "code_sha256": CODE,
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


def origins(runs: Sequence[Run], *, work: Path, data: Path) -> dict[Run, dict[str, str]]:
    """What each of the runs that are kept was made of.

    Raises:
        DataError: one is of other data, or doesn't say of which.
    """
    wanted = data_fingerprint(data)
    found: dict[Run, dict[str, str]] = {}
    for run in runs:
        path = work / f"{run.name}.parquet"
        if not path.exists():
            continue
        note = pq.read_schema(path).metadata or {}
        found[run] = {key.decode(): value.decode() for key, value in note.items()}
        own = found[run].get("data_sha256")
        if own != wanted:
            fault = f"is of other data than {data}" if own else "doesn't say of which data it is"
            raise DataError(f"{path}: {fault}: delete it, or name another --work")
    return found
