"""Two ways of doing one thing, measured in turns: the ratio of each round, and its parity."""

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROUNDS = 7
RESULTS = Path(__file__).resolve().parents[1] / "results"

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One ratio.

    Attributes:
        id: Of the row in the notes.
        name: What is compared.
        a: What is above.
        b: What is below.
        ratio_median: Over the rounds.
        ratio_min: Likewise.
        ratio_max: Likewise.
        rounds: How many.
        floor: What was to be reached, in words.
        met: Whether it was.
        parity: How far the two differ in what they give, in words.
    """

    id: str
    name: str
    a: str
    b: str
    ratio_median: float
    ratio_min: float
    ratio_max: float
    rounds: int
    floor: str
    met: bool
    parity: str


def compared(
    a: Callable[[], object],
    b: Callable[[], object],
    *,
    rounds: int = ROUNDS,
    clock: Clock = time.process_time,
) -> list[float]:
    """Time of `a` over time of `b`, round by round; both run once before."""
    a(), b()
    ratios = []
    for _ in range(rounds):
        first = _seconds(a, clock=clock)
        ratios.append(first / _seconds(b, clock=clock))
    return ratios


def _seconds(run: Callable[[], object], *, clock: Clock) -> float:
    began = clock()
    run()
    return clock() - began


def row(  # noqa: PLR0913 - a row of a table
    id_: str,
    name: str,
    *,
    sides: tuple[str, str],
    ratios: list[float],
    parity: str,
    least: float | None = None,
    most: float | None = None,
    parity_holds: bool = True,
) -> Row:
    """A row from its rounds; parity fails it before speed does."""
    median = float(np.median(ratios))
    met = parity_holds and (least is None or median >= least) and (most is None or median <= most)
    floor = f">= {least:g}" if least is not None else f"<= {most:g}" if most is not None else "-"
    return Row(
        id=id_,
        name=name,
        a=sides[0],
        b=sides[1],
        ratio_median=round(median, 4),
        ratio_min=round(min(ratios), 4),
        ratio_max=round(max(ratios), 4),
        rounds=len(ratios),
        floor=floor,
        met=met,
        parity=parity,
    )


def write(rows: list[Row], *, name: str, command: str, notes: Mapping[str, object]) -> Path:
    """Keep rows with command, versions and date."""
    packages = ("nsgauge", "numpy", "pillow", "pyarrow", "tokenizers", "torch")
    content = {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.processor() or platform.machine(),
        "versions": {package: version(package) for package in packages},
        "notes": dict(notes),
        "rows": [asdict(entry) for entry in rows],
    }
    path = RESULTS / name
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def shown(entry: Row) -> str:
    """A row as a line."""
    mark = "met" if entry.met else "MISSED"
    return (
        f"{entry.id:4} {entry.name}: {entry.a} / {entry.b} = {entry.ratio_median:.3f} "
        f"({entry.ratio_min:.3f} to {entry.ratio_max:.3f}, {entry.rounds} rounds; "
        f"wanted {entry.floor}: {mark}); {entry.parity}"
    )
