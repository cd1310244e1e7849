"""The verdicts of named judges as numbers: who said what of which triple."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from nsgauge.errors import DataError
from nsgauge.protocol import OBSERVATIONS, Grounding, Safety
from nsgauge.records import VerdictState

_SILENT = 2
"""Code of an axis that a vote says nothing of; 0 and 1 are the values in the enum's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """All votes of some judges, answered or not.

    Attributes:
        judges: As they were named.
        triple_ids: The triples that any of them was asked about, in order of their first verdict.
        triple: Per vote, the position in `triple_ids`.
        judge: Per vote, the position in `judges`.
        said: Per vote, the position in `OBSERVATIONS`; -1 where it wasn't answered.
        safety: Per vote, 0 safe, 1 unsafe, 2 nothing said.
        grounding: Per vote, 0 grounded, 1 not grounded, 2 nothing said.
    """

    judges: tuple[str, ...]
    triple_ids: list[str]
    triple: Int[np.ndarray, " votes"]
    judge: Int[np.ndarray, " votes"]
    said: Int[np.ndarray, " votes"]
    safety: Int[np.ndarray, " votes"]
    grounding: Int[np.ndarray, " votes"]

    def by_judge(self) -> Int[np.ndarray, "triples judges observations"]:
        """How often each judge said each of `OBSERVATIONS` of each triple."""
        shape = (len(self.triple_ids), len(self.judges), len(OBSERVATIONS))
        at = (array[self.said >= 0] for array in (self.triple, self.judge, self.said))
        flat = np.ravel_multi_index(tuple(at), shape)
        return np.bincount(flat, minlength=shape[0] * shape[1] * shape[2]).reshape(shape)

    def safety_counts(self) -> Int[np.ndarray, "triples 2"]:
        """How often any judge said safe, and unsafe, of each triple."""
        return self._counts(self.safety)

    def grounding_counts(self) -> Int[np.ndarray, "triples 2"]:
        """How often any judge said grounded, and not grounded, of each triple."""
        return self._counts(self.grounding)

    def _counts(self, codes: Int[np.ndarray, " votes"]) -> Int[np.ndarray, "triples 2"]:
        size = len(self.triple_ids)
        said = [np.bincount(self.triple[codes == value], minlength=size) for value in (0, 1)]
        return np.stack(said, axis=1)


def votes_of(verdicts: pa.Table, *, judges: Sequence[str]) -> Votes:
    """The votes of the named judges.

    Args:
        verdicts: VERDICTS_SCHEMA.
        judges: At least one name, as in the column `judge`.

    Raises:
        DataError: a judge has no verdict here, or none is named.
    """
    present = judge_counts(verdicts)
    unknown = [judge for judge in judges if judge not in present]
    if unknown or not judges:
        asked = ", ".join(repr(judge) for judge in unknown) or "no judge named"
        listed = ", ".join(f"{judge!r} ({count})" for judge, count in present.items()) or "none"
        raise DataError(f"judges without a verdict: {asked}; present (verdicts): {listed}")
    names = tuple(dict.fromkeys(judges))
    theirs = verdicts.filter(pc.is_in(verdicts["judge"], value_set=pa.array(names)))
    ids = theirs["triple_id"].combine_chunks().dictionary_encode()
    safety = _codes(theirs["safety"], [Safety.SAFE, Safety.UNSAFE])
    grounding = _codes(theirs["grounding"], [Grounding.GROUNDED, Grounding.NOT_GROUNDED])
    answered = np.asarray(pc.equal(theirs["state"], str(VerdictState.ANSWERED)), dtype=np.bool_)
    return Votes(
        judges=names,
        triple_ids=ids.dictionary.to_pylist(),
        triple=np.asarray(ids.indices, dtype=np.int64),
        judge=_codes(theirs["judge"], names),
        said=np.where(answered, _observation_table()[safety, grounding], -1),
        safety=safety,
        grounding=grounding,
    )


def judge_counts(verdicts: pa.Table) -> dict[str, int]:
    """How many verdicts each judge has, by name in order.

    Args:
        verdicts: VERDICTS_SCHEMA.
    """
    counts = pc.value_counts(verdicts["judge"]).to_pylist()
    return dict(sorted((count["values"], count["counts"]) for count in counts))


def _codes(column: pa.ChunkedArray, values: Sequence[str]) -> Int[np.ndarray, " votes"]:
    """The position of each value in `values`, `_SILENT` where there is none."""
    found = pc.index_in(column, value_set=pa.array([str(value) for value in values]))
    return np.asarray(pc.fill_null(found, _SILENT), dtype=np.int64)


def _observation_table() -> Int[np.ndarray, "3 3"]:
    """The number in `OBSERVATIONS` of what a vote with these two codes says."""
    table = np.full((3, 3), -1, dtype=np.int64)
    safeties: list[Safety | None] = [Safety.SAFE, Safety.UNSAFE, None]
    groundings: list[Grounding | None] = [Grounding.GROUNDED, Grounding.NOT_GROUNDED, None]
    for number, (safety, grounding) in enumerate(OBSERVATIONS):
        table[safeties.index(safety), groundings.index(grounding)] = number
    return table
