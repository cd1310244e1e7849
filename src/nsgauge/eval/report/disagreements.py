"""Which disagreements of classifier and reference are shown, by what rule."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import product

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from nsgauge.eval.report.columns import JudgeColumns, ScoreColumns
from nsgauge.eval.report.comparison import AXES
from nsgauge.eval.report.inputs import Rows
from nsgauge.protocol import CELLS

KINDS = 4
"""Kinds of disagreement: on each axis, called or missed."""
MOST_CASES = 48
"""The page shows at most so many."""


class Chosen(StrEnum):
    """Why a case is shown."""

    SUREST = "surest"
    """The classifier was surest of these: where one side made a plain mistake."""
    RANDOM = "random"
    """Drawn at random from the rest: what a usual disagreement looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One disagreement; its texts and its picture are not here but in an `Exhibit`.

    Attributes:
        triple_id: The row.
        benchmark: Of the row.
        vllm: Who answered.
        chosen: Why it is shown.
        cells: The classifier's probabilities by cell.
        unsafe: What the reference says; None where it doesn't.
        not_grounded: Likewise.
    """

    triple_id: str
    benchmark: str
    vllm: str
    chosen: Chosen
    cells: dict[str, float]
    unsafe: bool | None
    not_grounded: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DisagreementKind:
    """Unseen rows on which the verdicts differ in one way.

    Attributes:
        axis: `unsafe` or `not_grounded`.
        called: Whether the classifier says so and the reference doesn't, or the reverse.
        compared: Unseen rows with both verdicts.
        rows: Of those, the ones that differ in this way.
        cases: Some of them, no two of one item.
    """

    axis: str
    called: bool
    compared: int
    rows: int
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreements:
    """The kinds that occur, of the classifier against one judge."""

    judge: str
    kinds: tuple[DisagreementKind, ...]

    @property
    def triple_ids(self) -> list[str]:
        """The rows shown; a row that differs on both axes is shown under both."""
        return sorted({case.triple_id for kind in self.kinds for case in kind.cases})


def disagreements(
    rows: Rows,
    *,
    ids: pa.ChunkedArray,
    scores: ScoreColumns,
    reference: JudgeColumns,
    wanted: int,
    seed: int,
) -> Disagreements | None:
    """Choose cases: of each kind the surest half, and as many again at random, from other items.

    Args:
        rows: The joined columns.
        ids: The triple id of each row.
        scores: The classifier's.
        reference: Whose answers count.
        wanted: How many cases over all kinds, at most `MOST_CASES`; each kind gets a quarter.
        seed: Of the random half.

    Returns:
        None where nobody disagrees, or no case is wanted.
    """
    generator = np.random.default_rng(seed)
    kinds = []
    for axis, called in product(AXES, (True, False)):
        compared = np.flatnonzero(scores.fresh & reference.known(axis))
        verdict, positive = scores.verdict(axis)[compared], reference.positive(axis)[compared]
        differ = compared[(verdict == called) & (positive != called)]
        if not wanted or not differ.size:
            continue
        probability = scores.probability(axis)[differ]
        sureness = probability if called else 1 - probability
        chosen = _choose(
            rows.item[differ],
            sureness=sureness,
            most=-(-min(wanted, MOST_CASES) // KINDS),
            generator=generator,
        )
        cases = tuple(
            _case(int(differ[at]), why=why, rows=rows, ids=ids, scores=scores, reference=reference)
            for at, why in chosen
        )
        kinds.append(
            DisagreementKind(
                axis=axis, called=called, compared=compared.size, rows=differ.size, cases=cases
            )
        )
    return Disagreements(judge=reference.judge, kinds=tuple(kinds)) if kinds else None


def _choose(
    item: Int[np.ndarray, " differing"],
    *,
    sureness: Float[np.ndarray, " differing"],
    most: int,
    generator: np.random.Generator,
) -> list[tuple[int, Chosen]]:
    """Positions and why, one an item: the surest first, then a draw."""
    order = np.argsort(-sureness, kind="stable")
    surest = _one_an_item(order, item=item)[: -(-most // 2)]
    shuffled = generator.permutation(len(item))
    others = _one_an_item(shuffled[~np.isin(item[shuffled], item[surest])], item=item)
    drawn = others[: most - len(surest)]
    return [(int(at), Chosen.SUREST) for at in surest] + [(int(at), Chosen.RANDOM) for at in drawn]


def _one_an_item(
    order: Int[np.ndarray, " some"], *, item: Int[np.ndarray, " differing"]
) -> Int[np.ndarray, " fewer"]:
    """The first of each item, in the given order."""
    _, first = np.unique(item[order], return_index=True)
    return np.asarray(order[np.sort(first)])


def _case(
    row: int,
    *,
    why: Chosen,
    rows: Rows,
    ids: pa.ChunkedArray,
    scores: ScoreColumns,
    reference: JudgeColumns,
) -> Case:
    unsafe, not_grounded = (
        bool(reference.positive(axis)[row]) if reference.known(axis)[row] else None for axis in AXES
    )
    return Case(
        triple_id=ids[row].as_py(),
        benchmark=rows.benchmarks[rows.benchmark[row]],
        vllm=rows.vllms[rows.vllm[row]],
        chosen=why,
        cells=dict(zip(map(str, CELLS), scores.cells[row].tolist(), strict=True)),
        unsafe=unsafe,
        not_grounded=not_grounded,
    )
