"""The finer classes that judges name, each inside one cell, as targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from nsgauge.errors import DataError
from nsgauge.protocol import (
    CELLS,
    OBSERVATIONS,
    Cell,
    Grounding,
    Safety,
    cell_of,
    observation_cells,
)
from nsgauge.records import VerdictState


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """What some judges call things, and what they called each triple.

    Attributes:
        names: Sorted; a cell in which no category lies has its own name here.
        cells: The cell of each.
        shares: Per triple, the share of its votes for each. A vote that names both axes and no
            category is for its cell where no category lies in that. One that leaves several open is
            shared between these, as the triple's other votes are, or evenly where none of them is
            for any. A row of zeros where every vote leaves several open.
    """

    names: tuple[str, ...]
    cells: tuple[Cell, ...]
    shares: Float[np.ndarray, "rows categories"]


def categories_of(
    verdicts: pa.Table, *, judges: Sequence[str], triple_ids: Sequence[str]
) -> Categories:
    """The categories in the judges' answered verdicts.

    Args:
        verdicts: VERDICTS_SCHEMA.
        judges: Whose categories.
        triple_ids: The rows wanted, in their order.

    Raises:
        DataError: no verdict names a category, or one category lies in two cells.
    """
    votes = _votes(verdicts, judges=judges)
    cell_by_name = _cells(votes)
    if not cell_by_name:
        raise DataError(
            f"no verdict of {', '.join(judges)} names a category beside both axes: leave "
            "teacher.categories out"
        )
    taken = set(cell_by_name.values())
    for cell in CELLS:
        if cell not in taken and str(cell) in cell_by_name:
            raise DataError(
                f"category {str(cell)!r} lies in {cell_by_name[str(cell)]}, another cell: rename "
                "it, or leave teacher.categories out"
            )
    cell_by_name |= {str(cell): cell for cell in CELLS if cell not in taken}
    names = tuple(sorted(cell_by_name))
    column = {name: number for number, name in enumerate(names)}
    place = {triple_id: row for row, triple_id in enumerate(triple_ids)}
    cells = tuple(cell_by_name[name] for name in names)
    counts = np.zeros((len(triple_ids), len(names)))
    others = np.zeros((len(triple_ids), len(OBSERVATIONS)))
    for vote in votes:
        row = place.get(vote.triple_id)
        name = vote.category or str(vote.cell)
        if row is not None and vote.cell is not None and name in column:
            counts[row, column[name]] += 1
        elif row is not None:
            others[row, OBSERVATIONS.index((vote.safety, vote.grounding))] += 1
    counts += _shared(counts, others=others, cells=cells)
    return Categories(
        names=names, cells=cells, shares=counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    )


def _shared(
    counts: Float[np.ndarray, "rows categories"],
    *,
    others: Float[np.ndarray, "rows observations"],
    cells: tuple[Cell, ...],
) -> Float[np.ndarray, "rows categories"]:
    """Votes that leave several categories open, shared between them; none where all votes do."""
    open_ = observation_cells()[:, [CELLS.index(cell) for cell in cells]]
    weights = np.where(open_, counts[:, None] + 1e-9, 0.0)
    weights /= weights.sum(axis=2, keepdims=True)
    named = counts.sum(axis=1, keepdims=True) > 0
    return np.asarray(np.einsum("ro,roc->rc", np.where(named, others, 0.0), weights))


@dataclass(frozen=True, slots=True)
class _Vote:
    """One answered vote; `cell` is None where it speaks of one axis only."""

    triple_id: str
    category: str | None
    safety: Safety | None
    grounding: Grounding | None

    @property
    def cell(self) -> Cell | None:
        if self.safety is None or self.grounding is None:
            return None
        return cell_of(self.safety, grounding=self.grounding)


def _cells(votes: Sequence[_Vote]) -> dict[str, Cell]:
    """The cell of each category.

    Raises:
        DataError: one lies in two.
    """
    found: dict[str, Cell] = {}
    for vote in votes:
        category, cell = vote.category, vote.cell
        if category and cell and found.setdefault(category, cell) is not cell:
            raise DataError(
                f"category {category!r} lies in {found[category]} and in {cell}: a category "
                "must lie in one cell; mend the verdicts, or leave teacher.categories out"
            )
    return found


def _votes(verdicts: pa.Table, *, judges: Sequence[str]) -> list[_Vote]:
    wanted = set(judges)
    columns = ("triple_id", "judge", "state", "category", "safety", "grounding")
    rows = zip(*(verdicts[column].to_pylist() for column in columns), strict=True)
    return [
        _Vote(triple_id, category, safety and Safety(safety), grounding and Grounding(grounding))
        for triple_id, judge, state, category, safety, grounding in rows
        if judge in wanted and state == VerdictState.ANSWERED
    ]
