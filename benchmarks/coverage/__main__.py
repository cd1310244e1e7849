r"""Coverage and width of every rate interval over the whole grid, into a CSV that can be resumed.

    python -m benchmarks.coverage --out benchmarks/results/coverage.csv

One line a setting. A setting that is already in the file is skipped, so a run that was stopped
goes on where it was. The gate: coverage of at least .93, no interval without width, and cells that
sum to one within 1e-12. Where ppi-python is installed, its classical and PPI++ intervals stand
beside, for simple random draws.

1,000 worlds a setting take about 12 minutes on one core.
"""

import argparse
import csv
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.coverage.grid import Setting, grid
from benchmarks.coverage.measures import Outcome, measure
from benchmarks.coverage.rivals import rivals

WANTED = 0.93
EXACT = 1e-12
LIBRARIES = ("nsgauge", "numpy", "scipy", "ppi-python")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what isn't in the file yet; 1 if a setting misses the gate."""
    parser = argparse.ArgumentParser(description="Coverage of the rate intervals.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--designs", nargs="+", help="only these")
    options = parser.parse_args(arguments)
    words = [
        "python",
        "-m",
        "benchmarks.coverage",
        *(sys.argv[1:] if arguments is None else arguments),
    ]
    origin = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        **{library: _version(library) for library in LIBRARIES},
        "command": shlex.join(words),
    }
    done, missed, others = finished(options.out), 0, rivals()
    for setting in grid():
        if key(asdict(setting)) in done or setting.design not in (
            options.designs or [setting.design]
        ):
            continue
        outcome = measure(setting, count=options.worlds, rivals=others)
        missed += not passes(outcome)
        append(
            options.out, row=line(setting, outcome=outcome) | {"worlds": options.worlds} | origin
        )
        print("ok    " if passes(outcome) else "MISSED", setting, outcome, flush=True)
    return int(missed > 0)


def passes(outcome: Outcome) -> bool:
    """Whether the setting keeps to the gate."""
    covered = min(outcome.finite_coverage, outcome.super_coverage, outcome.joint_coverage)
    return covered >= WANTED and outcome.narrowest > 0 and outcome.cells_off <= EXACT


def line(setting: Setting, *, outcome: Outcome) -> dict[str, object]:
    """A row of the table."""
    found = asdict(setting) | asdict(outcome)
    others = found.pop("rivals")
    for name in ("classical", "ppi++"):
        values = others.get(name, ("", "", ""))
        found |= {
            f"{name}_{what}": value
            for what, value in zip(("coverage", "width", "failed"), values, strict=True)
        }
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in found.items()
    }


def key(row: dict[str, object]) -> tuple[str, ...]:
    """What makes a line the same setting of the grid."""
    names = ("design", "items", "answers", "judged", "human", "unsafe", "within")
    return tuple(str(row[name]) for name in names)


def finished(path: Path) -> set[tuple[str, ...]]:
    """The settings that the file already holds; a last line cut short is cut off."""
    if not path.exists():
        return set()
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, encoding="utf-8")
    return {key(dict(row)) for row in csv.DictReader(text.splitlines())}


def append(path: Path, *, row: dict[str, object]) -> None:
    """Add one line, and the heading before the first."""
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
