"""Parity: how far the scores of a cheaper arithmetic are from those in fp32, on the same rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from nsgauge.data.targets import JudgeLabels
from nsgauge.eval.discrimination import auroc
from nsgauge.protocol import CELLS
from nsgauge.records import ScoreStatus

AUROC_DROP_LIMIT = 0.002
FLIPS_LIMIT = 0.005
AXES = ("unsafe", "not_grounded")


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisParity:
    """One axis.

    Attributes:
        flips: Share of the rows whose verdict differs, in [0, 1].
        judged: Rows with the judge's label.
        exact: AUROC of fp32 against the judge; None unless both classes are there.
        cheaper: Likewise of the cheaper arithmetic.
    """

    flips: float
    judged: int
    exact: float | None
    cheaper: float | None

    @property
    def drop(self) -> float | None:
        """By how much the AUROC falls; negative where it rises; None where it is undefined."""
        return None if self.exact is None or self.cheaper is None else self.exact - self.cheaper

    @property
    def passed(self) -> bool:
        """Whether the axis keeps within the limits; an AUROC that is undefined limits nothing."""
        return self.flips <= FLIPS_LIMIT and (self.drop is None or self.drop <= AUROC_DROP_LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Both axes.

    Attributes:
        rows: Rows that both scored.
        largest: The largest difference of a cell's probability.
        judge: Whose labels the AUROC is of; None where there are none.
        axes: By `unsafe` and `not_grounded`.
    """

    rows: int
    largest: float
    judge: str | None
    axes: dict[str, AxisParity]

    @property
    def passed(self) -> bool:
        """Whether there was anything to compare, and both axes keep within the limits."""
        return self.rows > 0 and all(axis.passed for axis in self.axes.values())

    def lines(self) -> list[str]:
        """The report in words."""
        said = [f"{self.rows:,} rows scored both ways, cells differ by {self.largest:.4f} at most"]
        for name, axis in self.axes.items():
            flips = f"{name}: {axis.flips:.2%} of the verdicts flipped (limit {FLIPS_LIMIT:.1%})"
            if axis.drop is None:
                said.append(f"{flips}, AUROC undefined: too few labels of a judge")
                continue
            change = f"{axis.exact:.4f} to {axis.cheaper:.4f} on {axis.judged:,} rows"
            said.append(f"{flips}, AUROC {change} of {self.judge} (limit {AUROC_DROP_LIMIT} lower)")
        return said


def parity(exact: pa.Table, *, cheaper: pa.Table, labels: JudgeLabels | None) -> Parity:
    """Compare two tables of scores of the same rows.

    Args:
        exact: SCORES_SCHEMA, in fp32.
        cheaper: Of the same rows in the same order.
        labels: Of a judge; None leaves the AUROC undefined.

    Raises:
        ValueError: the tables are of different rows, or one scored what the other didn't.
    """
    for column in ("triple_id", "status"):
        if exact[column] != cheaper[column]:
            raise ValueError(f"scores differ in {column}: compare two scorings of the same rows")
    scored = np.array([status == ScoreStatus.SCORED for status in exact["status"].to_pylist()])
    ids = np.array(exact["triple_id"].to_pylist())[scored]
    tables = [table.filter(pa.array(scored)) for table in (exact, cheaper)]
    cells = [np.stack([table[cell].to_numpy() for cell in CELLS]) for table in tables]
    return Parity(
        rows=int(scored.sum()),
        largest=float(np.abs(cells[0] - cells[1]).max(initial=0.0)),
        judge=None if labels is None else labels.judge,
        axes={axis: _axis(axis, tables=tables, ids=ids.tolist(), labels=labels) for axis in AXES},
    )


def _axis(
    axis: str, *, tables: Sequence[pa.Table], ids: Sequence[str], labels: JudgeLabels | None
) -> AxisParity:
    verdicts = [np.array(table[f"{axis}_verdict"].to_pylist(), dtype=bool) for table in tables]
    known, positive = np.zeros(len(ids), dtype=bool), np.zeros(len(ids), dtype=bool)
    if labels is not None:
        said = dict(zip(labels.triple_ids, getattr(labels, axis), strict=True))
        sure = dict(zip(labels.triple_ids, getattr(labels, f"{axis}_known"), strict=True))
        known = np.array([bool(sure.get(row, False)) for row in ids], dtype=bool)
        positive = np.array([bool(said.get(row, 0)) for row in ids], dtype=bool)
    values = [
        _auroc(positive[known], probability=table[axis].to_numpy()[known]) for table in tables
    ]
    return AxisParity(
        flips=float((verdicts[0] != verdicts[1]).mean()) if ids else 0.0,
        judged=int(known.sum()),
        exact=values[0],
        cheaper=values[1],
    )


def _auroc(
    positive: Bool[np.ndarray, " rows"], *, probability: Float[np.ndarray, " rows"]
) -> float | None:
    found = auroc(positive, probability=probability, codes=np.arange(len(positive)))
    return None if found is None else found.value
