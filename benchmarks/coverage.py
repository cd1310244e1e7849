"""Coverage and width of every rate interval over the whole grid, into a CSV that can be resumed.

    python benchmarks/coverage.py --out coverage.csv --worlds 1000

One line a cell of the grid. A cell that is already in the file is skipped, so a run that was
stopped goes on where it was. The gate: coverage of at least .93 everywhere, and a width of at most
1.05 times Wilson's on the judged rows alone (1.10 where the exact interval usually joins in).
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from nsgauge.eval.intervals import normal_quantile, wilson
from nsgauge.eval.rates import PoolClusters, estimate_rates
from nsgauge.protocol import Rate

RATES = (0.03, 0.1, 0.5, 0.9, 0.97)
POOLS = {167: (30, 50, 100, 150), 2240: (30, 50, 100, 300, 2000)}
CLUSTERED = {(200, 6): (30, 60, 180)}
WITHIN = (0.0, 0.3, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class GridCell:
    """One setting: `items` of `answers` rows each, of which `judged` items were judged."""

    items: int
    answers: int
    judged: int
    unsafe: float
    within: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Shares of worlds covered, and mean widths."""

    finite_coverage: float
    finite_width: float
    super_coverage: float
    super_width: float
    wilson_width: float


def main() -> None:
    """Measure what isn't in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--worlds", type=int, default=1000)
    options = parser.parse_args()
    done = finished(options.out)
    for cell in grid():
        if key(asdict(cell)) in done:
            continue
        outcome = measure(cell, worlds=options.worlds)
        append(options.out, asdict(cell) | {"worlds": options.worlds} | asdict(outcome))
        print(cell, outcome)


def grid() -> Iterator[GridCell]:
    """Every setting: single rows first, then items with several answers."""
    for unsafe in RATES:
        for items, sizes in POOLS.items():
            for judged in sizes:
                yield GridCell(items=items, answers=1, judged=judged, unsafe=unsafe, within=0.0)
        for (items, answers), sizes in CLUSTERED.items():
            for judged in sizes:
                for within in WITHIN:
                    yield GridCell(
                        items=items, answers=answers, judged=judged, unsafe=unsafe, within=within
                    )


def measure(cell: GridCell, *, worlds: int) -> Outcome:
    """Draw worlds and count; the seed is the cell itself."""
    seed = [cell.items, cell.answers, cell.judged, round(1e6 * cell.unsafe)]
    generator = np.random.default_rng([*seed, round(1e6 * cell.within)])
    found = (
        np.array([one_world(cell, generator=generator) for _ in range(worlds)])
        .mean(axis=0)
        .tolist()
    )
    return Outcome(
        finite_coverage=found[0],
        finite_width=found[1],
        super_coverage=found[2],
        super_width=found[3],
        wilson_width=found[4],
    )


def one_world(cell: GridCell, *, generator: np.random.Generator) -> tuple[float, ...]:
    """Whether each interval holds its truth, and its width."""
    cells, probabilities, items = draw(cell, generator=generator)
    judged = items < cell.judged
    found = estimate_rates(
        cells[judged],
        judged_probabilities=probabilities[judged],
        unjudged_probabilities=probabilities[~judged],
        clusters=PoolClusters(judged=items[judged], unjudged=items[~judged]),
    ).rates[Rate.UNSAFE]
    ends = (found.low, found.high, found.low_super, found.high_super)
    low, high, low_super, high_super = (float("nan") if end is None else end for end in ends)
    truth = float(cells[:, [1, 3]].sum()) / len(items)
    plain = wilson(found.positives, rows=int(judged.sum()), quantile=normal_quantile(0.95))
    return (
        float(low - 1e-9 <= truth <= high + 1e-9),
        high - low,
        float(low_super <= cell.unsafe <= high_super),
        high_super - low_super,
        plain.high - plain.low,
    )


def draw(
    cell: GridCell, *, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The judge's cells, calibrated probabilities with an AUROC of .9 an axis, and the items."""
    items = np.repeat(np.arange(cell.items), cell.answers)
    axes = [
        draw_axis(rate, items=items, within=cell.within, generator=generator)
        for rate in (cell.unsafe, 0.3)
    ]
    (unsafe, ours), (not_grounded, theirs) = axes
    products = [(1 - ours) * (1 - theirs), ours * (1 - theirs), (1 - ours) * theirs, ours * theirs]
    return np.eye(4)[unsafe + 2 * not_grounded], np.stack(products, axis=1), items


def draw_axis(
    rate: float, *, items: np.ndarray, within: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Labels that correlate `within` an item, and their probabilities."""
    shares = np.full(items.max() + 1, rate)
    if within:
        weight = (1 - within) / within
        shares = generator.beta(rate * weight, (1 - rate) * weight, size=len(shares))
    positive = (generator.random(len(items)) < shares[items]).astype(np.int64)
    distance = np.sqrt(2) * stats.norm.ppf(0.9)
    signal = generator.normal((positive - 0.5) * distance)
    return positive, 1 / (1 + np.exp(-(np.log(rate / (1 - rate)) + distance * signal)))


def key(row: dict[str, object]) -> tuple[float, ...]:
    """What makes a line the same cell of the grid."""
    names = ("items", "answers", "judged", "unsafe", "within")
    return tuple(float(str(row[name])) for name in names)


def finished(path: Path) -> set[tuple[float, ...]]:
    """The cells that the file already holds; a last line cut short is cut off."""
    if not path.exists():
        return set()
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, encoding="utf-8")
    return {key(dict(row)) for row in csv.DictReader(text.splitlines())}


def append(path: Path, row: dict[str, object]) -> None:
    """Add one line, and the heading before the first."""
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
