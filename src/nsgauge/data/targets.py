"""From verdicts to what is learnt and what is measured against: soft targets and majority labels.

Both keep "no answer" apart from "no": a vote that wasn't answered adds nothing to a target, and an
axis that nobody answered, or that votes tie on, is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int, Int8

from nsgauge.errors import DataError
from nsgauge.protocol import OBSERVATIONS, Grounding, Safety
from nsgauge.records import VerdictState

_SILENT = 2
"""Code of an axis that a vote says nothing of; 0 and 1 are the values in the enum's order."""
_TIE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTable:
    """What the classifier learns.

    Attributes:
        triple_ids: The triples with at least one answered vote, in order of their first verdict.
        masses: Per triple, the share of its answered votes that said each of `OBSERVATIONS`;
            every row sums to one.
        without_answer: Triples that the judges were asked about but never answered on.
    """

    triple_ids: list[str]
    masses: Float[np.ndarray, "rows observations"]
    without_answer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeLabels:
    """What most votes of one judge say, axis by axis.

    Attributes:
        judge: Its name.
        triple_ids: All triples that it was asked about, in order of their first verdict.
        unsafe: 1 unsafe, 0 safe; 0 also where unknown.
        unsafe_known: Whether any vote answered and they don't tie.
        not_grounded: 1 not grounded, 0 grounded; 0 also where unknown.
        not_grounded_known: Likewise.
        unsafe_ties: Triples whose votes tie on safety.
        not_grounded_ties: Triples whose votes tie on grounding.
    """

    judge: str
    triple_ids: list[str]
    unsafe: Int8[np.ndarray, " rows"]
    unsafe_known: Bool[np.ndarray, " rows"]
    not_grounded: Int8[np.ndarray, " rows"]
    not_grounded_known: Bool[np.ndarray, " rows"]
    unsafe_ties: int
    not_grounded_ties: int


def targets_from_verdicts(verdicts: pa.Table, *, judges: Sequence[str]) -> TargetTable:
    """Pool the votes of the named judges, every answered vote counting the same.

    Args:
        verdicts: VERDICTS_SCHEMA.
        judges: At least one name, as in the column `judge`.

    Raises:
        DataError: a judge has no verdict here, or none is named.
    """
    votes = _votes_of(verdicts, judges=judges)
    triple_ids, rows = _numbered(votes["triple_id"])
    said = _observation_table()[_safety_codes(votes), _grounding_codes(votes)]
    answered = _equals(votes["state"], VerdictState.ANSWERED) & (said >= 0)
    width = len(OBSERVATIONS)
    flat = rows[answered] * width + said[answered]
    counts = np.bincount(flat, minlength=len(triple_ids) * width).reshape(-1, width)
    totals = counts.sum(axis=1)
    kept = np.flatnonzero(totals)
    return TargetTable(
        triple_ids=[triple_ids[row] for row in kept],
        masses=counts[kept] / totals[kept, None],
        without_answer=len(triple_ids) - len(kept),
    )


def labels_of(verdicts: pa.Table, *, judge: str) -> JudgeLabels:
    """The majority of one judge's votes on each axis; a tie is unknown.

    Args:
        verdicts: VERDICTS_SCHEMA.
        judge: A name as in the column `judge`.

    Raises:
        DataError: the judge has no verdict here.
    """
    votes = _votes_of(verdicts, judges=[judge])
    triple_ids, rows = _numbered(votes["triple_id"])
    unsafe = _majority(_safety_codes(votes), rows=rows, count=len(triple_ids))
    not_grounded = _majority(_grounding_codes(votes), rows=rows, count=len(triple_ids))
    return JudgeLabels(
        judge=judge,
        triple_ids=triple_ids,
        unsafe=(unsafe == 1).astype(np.int8),
        unsafe_known=(unsafe == 0) | (unsafe == 1),
        not_grounded=(not_grounded == 1).astype(np.int8),
        not_grounded_known=(not_grounded == 0) | (not_grounded == 1),
        unsafe_ties=int((unsafe == _TIE).sum()),
        not_grounded_ties=int((not_grounded == _TIE).sum()),
    )


def judge_counts(verdicts: pa.Table) -> dict[str, int]:
    """How many verdicts each judge has, by name in order.

    Args:
        verdicts: VERDICTS_SCHEMA.
    """
    counts = pc.value_counts(verdicts["judge"]).to_pylist()
    return dict(sorted((count["values"], count["counts"]) for count in counts))


def _votes_of(verdicts: pa.Table, *, judges: Sequence[str]) -> pa.Table:
    present = judge_counts(verdicts)
    unknown = [judge for judge in judges if judge not in present]
    if unknown or not judges:
        asked = ", ".join(repr(judge) for judge in unknown) or "no judge named"
        listed = ", ".join(f"{judge!r} ({count})" for judge, count in present.items()) or "none"
        raise DataError(f"judges without a verdict: {asked}; present (verdicts): {listed}")
    return verdicts.filter(pc.is_in(verdicts["judge"], value_set=pa.array(list(judges))))


def _numbered(column: pa.ChunkedArray) -> tuple[list[str], Int[np.ndarray, " votes"]]:
    """The distinct values in order of appearance, and per row the number of its value."""
    encoded = column.combine_chunks().dictionary_encode()
    rows = np.asarray(encoded.indices, dtype=np.int64)
    return encoded.dictionary.to_pylist(), rows


def _equals(column: pa.ChunkedArray, value: str) -> Bool[np.ndarray, " votes"]:
    return np.asarray(pc.fill_null(pc.equal(column, str(value)), fill_value=False), dtype=np.bool_)


def _codes(column: pa.ChunkedArray, values: Sequence[str]) -> Int[np.ndarray, " votes"]:
    """The position of each value in `values`, `_SILENT` where the vote says nothing."""
    found = pc.index_in(column, value_set=pa.array([str(value) for value in values]))
    return np.asarray(pc.fill_null(found, _SILENT), dtype=np.int64)


def _safety_codes(votes: pa.Table) -> Int[np.ndarray, " votes"]:
    return _codes(votes["safety"], [Safety.SAFE, Safety.UNSAFE])


def _grounding_codes(votes: pa.Table) -> Int[np.ndarray, " votes"]:
    return _codes(votes["grounding"], [Grounding.GROUNDED, Grounding.NOT_GROUNDED])


def _observation_table() -> Int[np.ndarray, "3 3"]:
    """The number in `OBSERVATIONS` of what a vote with these two codes says."""
    table = np.full((3, 3), -1, dtype=np.int64)
    safeties: list[Safety | None] = [Safety.SAFE, Safety.UNSAFE, None]
    groundings: list[Grounding | None] = [Grounding.GROUNDED, Grounding.NOT_GROUNDED, None]
    for number, (safety, grounding) in enumerate(OBSERVATIONS):
        table[safeties.index(safety), groundings.index(grounding)] = number
    return table


def _majority(
    codes: Int[np.ndarray, " votes"], *, rows: Int[np.ndarray, " votes"], count: int
) -> Int8[np.ndarray, " rows"]:
    """Per row 0 or 1 as most votes say, `_SILENT` where none does, `_TIE` where they tie."""
    zeros = np.bincount(rows[codes == 0], minlength=count)
    ones = np.bincount(rows[codes == 1], minlength=count)
    winner = np.where(ones > zeros, 1, np.where(zeros > ones, 0, _TIE))
    return np.where(zeros + ones == 0, _SILENT, winner).astype(np.int8)
