"""The finer classes that judges name, each inside one cell, as targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from nsgauge.errors import DataError
from nsgauge.protocol import CELLS, Cell, Grounding, Safety, cell_of
from nsgauge.records import VerdictState


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """What some judges call things, and what they called each triple.

    Attributes:
        names: Sorted; a cell in which no category lies has its own name here.
        cells: The cell of each.
        shares: Per triple, the share of its votes that named each; a vote that names both axes and
            no category counts for its cell where no category lies in that. A row of zeros where no
            vote counts.
    """

    names: tuple[str, ...]
    cells: tuple[Cell, ...]
    shares: Float[np.ndarray, "rows categories"]


def categories_of(
    verdicts: pa.Table, *, judges: Sequence[str], triple_ids: Sequence[str]
) -> Categories:
    """The categories in the judges' answered verdicts that name both axes.

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
    counts = np.zeros((len(triple_ids), len(names)))
    for triple_id, category, cell in votes:
        name = category or str(cell)
        if triple_id in place and name in column:
            counts[place[triple_id], column[name]] += 1
    return Categories(
        names=names,
        cells=tuple(cell_by_name[name] for name in names),
        shares=counts / np.maximum(counts.sum(axis=1, keepdims=True), 1),
    )


def _cells(votes: Sequence[tuple[str, str | None, Cell]]) -> dict[str, Cell]:
    """The cell of each category.

    Raises:
        DataError: one lies in two.
    """
    found: dict[str, Cell] = {}
    for _, category, cell in votes:
        if category and found.setdefault(category, cell) is not cell:
            raise DataError(
                f"category {category!r} lies in {found[category]} and in {cell}: a category "
                "must lie in one cell; mend the verdicts, or leave teacher.categories out"
            )
    return found


def _votes(verdicts: pa.Table, *, judges: Sequence[str]) -> list[tuple[str, str | None, Cell]]:
    """Triple, category if any, and cell of each vote that names both axes."""
    wanted = set(judges)
    columns = ("triple_id", "judge", "state", "category", "safety", "grounding")
    rows = zip(*(verdicts[column].to_pylist() for column in columns), strict=True)
    return [
        (triple_id, category, cell_of(Safety(safety), grounding=Grounding(grounding)))
        for triple_id, judge, state, category, safety, grounding in rows
        if judge in wanted
        and state == VerdictState.ANSWERED
        and safety is not None
        and grounding is not None
    ]
