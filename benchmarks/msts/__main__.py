r"""The standing experiment on MSTS, one command, resumable.

    nsgauge import msts SOURCE --out runs/msts
    python -m benchmarks.msts --data runs/msts --work runs/msts-experiment --methods words \
        --teachers human gpt-4o consensus --designs items vllms --out benchmarks/results

Every run's opinions are kept under `--work`, one file a run; a run that is there isn't done again.
`msts-runs.csv` has a row a run and cell, `msts-table.csv` the means over folds and seeds, and the
differences in AUPRC and kappa to `--against`, paired by item. Truth is what people say; with
another teacher, the agreement with that teacher is measured too.

On one core a run of `words` takes about 15 s.
"""

import argparse
import csv
import platform
import shlex
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.msts.measures import (
    Told,
    auprc_of,
    kappa_of,
    measures,
    paired_difference,
    together,
)
from benchmarks.msts.methods import METHODS
from benchmarks.msts.rows import AXES, TRUTH, Lesson, Rows, lesson, load_rows
from benchmarks.msts.runs import DESIGNS, TEACHERS, Run, all_runs
from benchmarks.msts.task import Opinion, Task
from nsgauge.data.folders import new_file
from nsgauge.data.tables import data_fingerprint
from nsgauge.errors import NsgaugeError

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
    note = {b"seconds": f"{time.monotonic() - begun:.1f}".encode()}
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


def summary(
    kept: Kept, *, rows: Rows, lessons: dict[str, Lesson], against: str
) -> list[dict[str, object]]:
    """Per method, teacher, design and cell: all folds of a seed together, then the mean over seeds.

    Args:
        kept: Every run's opinions by cell.
        rows: All rows.
        lessons: What each teacher says, people excepted.
        against: The method that the others are compared with, on the same rows.
    """
    of_seed: dict[tuple[str, str, str, str], dict[int, list[Told]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for (run, cell), told in kept.items():
        of_seed[run.method, run.teacher, run.design, cell][run.seed].append(told)
    pooled = {
        key: {seed: together(folds) for seed, folds in seeds.items()}
        for key, seeds in of_seed.items()
    }
    lines = []
    for (method, teacher, design, cell), seeds in pooled.items():
        found = [measures(told, rows=rows, lesson=lessons.get(teacher)) for told in seeds.values()]
        line: dict[str, object] = {
            "method": method,
            "teacher": teacher,
            "design": design,
            "cell": cell,
            "seeds": len(seeds),
        }
        for name in found[0]:
            values = np.array([each[name] for each in found], dtype=np.float64)
            line[name] = float(values.mean())
            if len(seeds) > 1:
                line[f"{name}_sd"] = float(values.std(ddof=1))
        baseline = pooled.get((against, teacher, design, cell))
        if method != against and baseline is not None:
            line |= _differences(seeds, baseline, rows=rows, name=against)
        lines.append(line)
    return lines


def _differences(
    seeds: dict[int, Told], baseline: dict[int, Told], *, rows: Rows, name: str
) -> dict[str, object]:
    """AUPRC and kappa less the baseline's on the same rows, for the first seed of both."""
    ours, theirs = seeds[min(seeds)], baseline[min(baseline)]
    line: dict[str, object] = {}
    for axis in ours.probability:
        for what, measure in (
            ("auprc", auprc_of(axis, rows=rows)),
            ("kappa", kappa_of(axis, rows=rows)),
        ):
            value, low, high = paired_difference(
                ours, theirs, measure=measure, items=rows.items, seed=0
            )
            column = f"{axis}_{what}_less_{name}"
            line |= {column: value, f"{column}_low": low, f"{column}_high": high}
    return line


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is missing, then measure all; 0 if it went through, 2 if the user can mend it."""
    options = _parser().parse_args(arguments)
    try:
        rows = load_rows(options.data)
        runs = list(
            all_runs(
                methods=options.methods,
                teachers=options.teachers,
                designs=options.designs,
                seeds=options.seeds,
                vllms=rows.vllms,
            )
        )
        options.work.mkdir(parents=True, exist_ok=True)
        if options.kept:
            runs = whole_designs(runs, work=options.work)
        for number, run in enumerate(runs, start=1):
            if not (options.work / f"{run.name}.parquet").exists():
                Console(stderr=True).print(f"{number} of {len(runs)}: {run.name}")
                perform(run, data=options.data, rows=rows, work=options.work)
        kept: Kept = {}
        for run in runs:
            kept |= kept_opinions(run, work=options.work, rows=rows)
        lessons = {
            teacher: lesson(options.data, rows=rows, teacher=TEACHERS[teacher])
            for teacher in options.teachers
            if teacher != TRUTH
        }
        origin = _origin(options, arguments=arguments)
    except NsgaugeError as error:
        Console(stderr=True).print(str(error), markup=False)
        return 2
    each = [
        {**{name: getattr(run, name) for name in Run.__slots__}, "cell": cell}
        | measures(told, rows=rows, lesson=lessons.get(run.teacher))
        for (run, cell), told in kept.items()
    ]
    lines = summary(kept, rows=rows, lessons=lessons, against=options.against)
    _write(options.out / "msts-runs.csv", [{**line, **origin} for line in each])
    _write(options.out / "msts-table.csv", [{**line, **origin} for line in lines])
    _show(lines)
    return 0


def _origin(options: argparse.Namespace, *, arguments: Sequence[str] | None) -> dict[str, object]:
    words = ["python", "-m", "benchmarks.msts", *(sys.argv[1:] if arguments is None else arguments)]
    return {
        "data_sha256": data_fingerprint(options.data),
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        "command": shlex.join(words),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The standing experiment on MSTS.")
    parser.add_argument("--data", type=Path, required=True, help="MSTS as a data folder")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps every run")
    parser.add_argument("--out", type=Path, required=True, help="folder of the CSV files")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["words"])
    parser.add_argument("--teachers", nargs="+", choices=TEACHERS, default=["human"])
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=["items"])
    parser.add_argument("--against", choices=METHODS, default="words", help="compare with this one")
    parser.add_argument("--kept", action="store_true", help="measure what is kept, run nothing")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0")
    return parser


def _write(path: Path, lines: Sequence[dict[str, object]]) -> None:
    names = dict.fromkeys(name for line in lines for name in line)
    with new_file(path, overwrite=True) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(names), lineterminator="\n")
        writer.writeheader()
        for line in lines:
            writer.writerow(
                {name: round(v, 4) if isinstance(v, float) else v for name, v in line.items()}
            )


SHOWN = (
    *("method", "teacher", "design", "cell", "rows"),
    *("unsafe_auprc", "unsafe_kappa", "not_grounded_auprc", "not_grounded_kappa", "outcome_kappa"),
)


def _show(lines: Sequence[dict[str, object]]) -> None:
    table = Table(*(name.replace("_", " ") for name in SHOWN), box=box.SIMPLE)
    for line in lines:
        values = (line.get(name, "") for name in SHOWN)
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in values))
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(main())
