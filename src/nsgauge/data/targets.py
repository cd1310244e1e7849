"""From verdicts to what is learnt and what is measured against: soft targets and majority labels.

Both keep "no answer" apart from "no": a vote that wasn't answered adds nothing to a target, and an
axis that nobody answered, or that votes tie on, is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, Int8

from nsgauge.data.consensus import Consensus, Making, consensus_masses, pooled_masses
from nsgauge.data.votes import judge_counts, votes_of

__all__ = [
    "Consensus",
    "JudgeLabels",
    "Making",
    "TargetTable",
    "judge_counts",
    "labels_of",
    "targets_from_verdicts",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTable:
    """What the classifier learns.

    Attributes:
        triple_ids: The triples with at least one answered vote, in order of their first verdict.
        masses: Per triple, how far it is said to be each of `OBSERVATIONS`: the share of its
            votes, or the posterior of a consensus; every row sums to one.
        making: How that was found, by `unsafe` and `not_grounded`.
        without_answer: Triples that the judges were asked about but never answered on.
    """

    triple_ids: list[str]
    masses: Float[np.ndarray, "rows observations"]
    making: dict[str, Making]
    without_answer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeLabels:
    """What most votes of one judge say, axis by axis.

    Attributes:
        judge: Its name.
        triple_ids: All triples that it was asked about, in order of their first verdict.
        unsafe: 1 unsafe, 0 safe; 0 also where unknown.
        unsafe_known: Whether any vote answered and they don't tie.
        unsafe_votes: How many votes say safe, and unsafe.
        not_grounded: 1 not grounded, 0 grounded; 0 also where unknown.
        not_grounded_known: Likewise.
        not_grounded_votes: How many votes say grounded, and not grounded.
    """

    judge: str
    triple_ids: list[str]
    unsafe: Int8[np.ndarray, " rows"]
    unsafe_known: Bool[np.ndarray, " rows"]
    unsafe_votes: Int[np.ndarray, "rows 2"]
    not_grounded: Int8[np.ndarray, " rows"]
    not_grounded_known: Bool[np.ndarray, " rows"]
    not_grounded_votes: Int[np.ndarray, "rows 2"]

    @property
    def unsafe_ties(self) -> int:
        """Triples whose votes tie on safety."""
        return _ties(self.unsafe_votes)

    @property
    def not_grounded_ties(self) -> int:
        """Triples whose votes tie on grounding."""
        return _ties(self.not_grounded_votes)


def targets_from_verdicts(
    verdicts: pa.Table, *, judges: Sequence[str], consensus: Consensus = Consensus.POOLED
) -> TargetTable:
    """One target a triple from all votes of the named judges.

    Args:
        verdicts: VERDICTS_SCHEMA.
        judges: At least one name, as in the column `judge`; people are judges too.
        consensus: What several judges together are taken to say.

    Raises:
        DataError: a judge has no verdict here, none is named, or there are too few for the
            consensus.
    """
    votes = votes_of(verdicts, judges=judges)
    found = (pooled_masses if consensus is Consensus.POOLED else consensus_masses)(votes)
    kept = np.flatnonzero(found.masses.any(axis=1))
    return TargetTable(
        triple_ids=[votes.triple_ids[row] for row in kept],
        masses=found.masses[kept],
        making=found.making,
        without_answer=len(votes.triple_ids) - len(kept),
    )


def labels_of(verdicts: pa.Table, *, judge: str) -> JudgeLabels:
    """The majority of one judge's votes on each axis; a tie is unknown.

    Args:
        verdicts: VERDICTS_SCHEMA.
        judge: A name as in the column `judge`.

    Raises:
        DataError: the judge has no verdict here.
    """
    votes = votes_of(verdicts, judges=[judge])
    safety, grounding = votes.safety_counts(), votes.grounding_counts()
    return JudgeLabels(
        judge=judge,
        triple_ids=votes.triple_ids,
        unsafe=(safety[:, 1] > safety[:, 0]).astype(np.int8),
        unsafe_known=safety[:, 1] != safety[:, 0],
        unsafe_votes=safety,
        not_grounded=(grounding[:, 1] > grounding[:, 0]).astype(np.int8),
        not_grounded_known=grounding[:, 1] != grounding[:, 0],
        not_grounded_votes=grounding,
    )


def _ties(counts: Int[np.ndarray, "rows 2"]) -> int:
    """Rows with as many votes for one value as for the other, and at least one."""
    return int(((counts[:, 0] == counts[:, 1]) & (counts[:, 0] > 0)).sum())
