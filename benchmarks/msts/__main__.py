r"""The standing experiment on MSTS, one command, resumable.

    nsgauge import msts SOURCE --out runs/msts
    python -m benchmarks.msts --data runs/msts --work runs/msts-experiment --methods words \
        --teachers human gpt-4o consensus --designs items vllms --out benchmarks/results

Every run's opinions are kept under `--work`, one file a run; a run that is there isn't done again.
`msts-runs.csv` has a row a run and cell, `msts-table.csv` the means over folds and seeds, and their
differences to those of `--against`, paired by item; both say which data, code and versions each run
was made of. Truth is what people say; with another teacher, the agreement with that teacher is
measured too.

On one core a run of `words` takes about 10 s, of `finetuned` ten minutes, of `mpnet` two, once the
first has read the rows (50 minutes).
"""

import argparse
import csv
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.msts.kept import Kept, kept_opinions, origins, perform, whole_designs
from benchmarks.msts.measures import measures
from benchmarks.msts.methods import METHODS
from benchmarks.msts.rows import TRUTH, lesson, load_rows
from benchmarks.msts.runs import DESIGNS, TEACHERS, Run, all_runs
from benchmarks.msts.table import summary
from nsgauge.data.folders import new_file
from nsgauge.errors import NsgaugeError


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
        origins(runs, work=options.work, data=options.data)
        for number, run in enumerate(runs, start=1):
            if not (options.work / f"{run.name}.parquet").exists():
                Console(stderr=True).print(f"{number} of {len(runs)}: {run.name}")
                perform(run, data=options.data, rows=rows, work=options.work)
        made = origins(runs, work=options.work, data=options.data)
        kept: Kept = {}
        for run in runs:
            kept |= kept_opinions(run, work=options.work, rows=rows)
        lessons = {
            teacher: lesson(options.data, rows=rows, teacher=TEACHERS[teacher])
            for teacher in options.teachers
            if teacher != TRUTH
        }
    except NsgaugeError as error:
        Console(stderr=True).print(str(error), markup=False)
        return 2
    words = ["python", "-m", "benchmarks.msts", *(sys.argv[1:] if arguments is None else arguments)]
    command = {"command": shlex.join(words)}
    each = [
        {**{name: getattr(run, name) for name in Run.__slots__}, "cell": cell}
        | measures(told, rows=rows, lesson=lessons.get(run.teacher))
        | made[run]
        | command
        for (run, cell), told in kept.items()
    ]
    lines = [
        {**line, **_together(line, made=made), **command}
        for line in summary(kept, rows=rows, lessons=lessons, against=options.against)
    ]
    _write(options.out / "msts-runs.csv", each)
    _write(options.out / "msts-table.csv", lines)
    _show(lines)
    return 0


def _together(line: dict[str, object], *, made: dict[Run, dict[str, str]]) -> dict[str, str]:
    """What the runs of one line of the table were made of; where they differ, all of it."""
    names = ("method", "teacher", "design")
    own = [
        origin
        for run, origin in made.items()
        if all(getattr(run, name) == line[name] for name in names)
    ]
    keys = [key for key in own[0] if key != "seconds"]
    return {key: " ".join(sorted({origin[key] for origin in own})) for key in keys}


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
