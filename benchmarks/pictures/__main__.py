r"""The picture world: fetch the drawings once, then train and measure; resumable.

    python -m benchmarks.pictures fetch --out runs/pictures-source
    python -m benchmarks.pictures run --source runs/pictures-source --methods words alignment \
        classifier --seeds 7 8 9 --captions 0 2 --out benchmarks/results/pictures.csv

`fetch` needs npm, downloads 270 MB of the npm registry and keeps 18 MB. A run that is in the file
isn't done again; each run has a row for unseen drawings of known things and one for unseen things.
"""

import argparse
import csv
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path

from rich.console import Console
from torch import Tensor

from benchmarks.pictures.runs import METHODS, Row, Run, perform
from benchmarks.pictures.source import fetch
from nsgauge.data.folders import new_file
from nsgauge.errors import NsgaugeError

WHICH = ("method", "captions", "seed", "overrides")
"""What tells runs apart."""
LIBRARIES = ("nsgauge", "numpy", "torch", "transformers")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch or run; 0 if it went through, 2 if the user can mend it."""
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(words)
    try:
        if options.command == "fetch":
            fetch(options.out)
        else:
            _run(options, command=shlex.join(["python", "-m", "benchmarks.pictures", *words]))
    except NsgaugeError as error:
        Console(stderr=True).print(str(error), markup=False)
        return 2
    return 0


def _run(options: argparse.Namespace, *, command: str) -> None:
    rows: list[Row] = []
    if options.out.exists():
        with options.out.open(encoding="utf-8", newline="") as file:
            rows.extend(csv.DictReader(file))
    overrides = " ".join(options.overrides)
    done = {tuple(str(row[name]) for name in WHICH) for row in rows}
    note: Row = {
        "overrides": overrides,
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        "command": command,
    }
    vectors: dict[str, Tensor] = {}
    for method, captions, seed in product(options.methods, options.captions, options.seeds):
        if (method, str(captions), str(seed), overrides) in done:
            continue
        run = Run(method=method, captions=captions, seed=seed, overrides=tuple(options.overrides))
        measured = perform(run, source=options.source, vectors=vectors)
        rows += [row | note for row in measured]
        _write(options.out, rows=rows)
        for row in measured:
            Console().print({key: _shown(value) for key, value in row.items()})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The picture world.")
    commands = parser.add_subparsers(dest="command", required=True)
    source = commands.add_parser("fetch", help="download the drawings")
    source.add_argument("--out", type=Path, required=True, help="the new folder")
    run = commands.add_parser("run", help="train and measure what is missing in the table")
    run.add_argument("--source", type=Path, required=True, help="what `fetch` wrote")
    run.add_argument("--out", type=Path, required=True, help="the CSV file")
    run.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    run.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    run.add_argument(
        "--captions",
        type=int,
        nargs="+",
        default=[0],
        help="captioned rows for each drawing of other things; one run for each number",
    )
    run.add_argument(
        "--overrides", nargs="*", default=[], metavar="KEY=VALUE", help="of the recipe"
    )
    return parser


def _shown(value: float | str) -> float | str:
    return round(value, 4) if isinstance(value, float) else value


def _write(out: Path, *, rows: list[Row]) -> None:
    names = dict.fromkeys(name for row in rows for name in row)
    with new_file(out, overwrite=True) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _shown(value) for name, value in row.items()} for row in rows)


if __name__ == "__main__":
    sys.exit(main())
