"""Agreement of the classifier with each judge, and of judges with each other and themselves."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, product

import numpy as np
from jaxtyping import Bool, Int

from nsgauge.eval.agreement import (
    AxisAgreement,
    OutcomeAgreement,
    axis_agreement,
    outcome_agreement,
)
from nsgauge.eval.report.columns import JudgeColumns, ScoreColumns
from nsgauge.eval.report.inputs import Rows
from nsgauge.eval.self_agreement import SelfAgreement, self_agreement

Mask = Bool[np.ndarray, " rows"]
AXES: tuple[str, ...] = ("unsafe", "not_grounded")


class Slice(StrEnum):
    """Which of the unseen rows an agreement is measured on."""

    ALL = "all"
    SEEN_VLLM = "seen_vllm"
    """New items, answered by VLLMs that the classifier was trained on."""
    UNSEEN_VLLM = "unseen_vllm"
    """New items, answered by VLLMs that it never saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierAgreement:
    """The classifier against one judge on one axis.

    Attributes:
        judge: The judge taken as the truth.
        axis: `unsafe` or `not_grounded`.
        slice: Which unseen rows.
        agreement: The measures.
    """

    judge: str
    axis: str
    slice: Slice
    agreement: AxisAgreement


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierOutcomes:
    """The classifier against one judge on both axes together."""

    judge: str
    slice: Slice
    agreement: OutcomeAgreement


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgePair:
    """Two judges; `first` is taken as the truth where a measure has a direction.

    Attributes:
        first: The reference, if it is one of the two.
        second: The other.
        axes: Agreement by axis, on the rows that both answered; no entry where there are none.
        outcomes: Of both axes together; None where no row has both from both.
    """

    first: str
    second: str
    axes: dict[str, AxisAgreement]
    outcomes: OutcomeAgreement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRepeats:
    """One judge against itself, by axis; no entry where it answered no triple twice."""

    judge: str
    axes: dict[str, SelfAgreement]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything about agreement.

    Attributes:
        left_out: Scored rows that were left out because their item was seen; 0 without scores.
        classifier: Against each judge, axis and slice; empty without scores.
        classifier_outcomes: The same on both axes together.
        judges: Each pair of judges, pairs with the reference first.
        repeats: Each judge that voted twice on a triple against itself, the reference first.
    """

    left_out: int
    classifier: tuple[ClassifierAgreement, ...]
    classifier_outcomes: tuple[ClassifierOutcomes, ...]
    judges: tuple[JudgePair, ...]
    repeats: tuple[JudgeRepeats, ...]

    def find(self, axis: str, *, judge: str, rows: Slice = Slice.ALL) -> AxisAgreement | None:
        """The classifier against one judge; None where they share no row."""
        for entry in self.classifier:
            if (entry.axis, entry.judge, entry.slice) == (axis, judge, rows):
                return entry.agreement
        return None


def compare(rows: Rows, *, reference: str | None) -> Comparison:
    """Agreement of everybody with everybody, the classifier on unseen rows alone."""
    judges = sorted(rows.judges, key=lambda judge: judge.judge != reference)
    pairs = [_pair(first, second, item=rows.item) for first, second in combinations(judges, 2)]
    repeats = [_repeats(judge, item=rows.item) for judge in judges]
    classifier: list[ClassifierAgreement] = []
    outcomes: list[ClassifierOutcomes] = []
    scores = rows.scores
    if scores is not None:
        slices = _slices(scores)
        for judge in judges:
            classifier += _on_axes(judge, slices, scores=scores, item=rows.item)
            outcomes += _on_outcomes(judge, slices, scores=scores, item=rows.item)
    return Comparison(
        left_out=int((scores.scored & scores.item_seen).sum()) if scores else 0,
        classifier=tuple(classifier),
        classifier_outcomes=tuple(outcomes),
        judges=tuple(pair for pair in pairs if pair.axes),
        repeats=tuple(judge for judge in repeats if judge.axes),
    )


def _slices(scores: ScoreColumns) -> list[tuple[Slice, Mask]]:
    """All unseen rows; and by VLLM seen or not, where both are there."""
    slices = [(Slice.ALL, scores.fresh)]
    seen, unseen = scores.fresh & scores.vllm_seen, scores.fresh & ~scores.vllm_seen
    if seen.any() and unseen.any():
        slices += [(Slice.SEEN_VLLM, seen), (Slice.UNSEEN_VLLM, unseen)]
    return slices


def _on_axes(
    judge: JudgeColumns,
    slices: list[tuple[Slice, Mask]],
    *,
    scores: ScoreColumns,
    item: Int[np.ndarray, " rows"],
) -> list[ClassifierAgreement]:
    found = []
    for axis, (part, member) in product(AXES, slices):
        at = np.flatnonzero(member & judge.known(axis))
        if at.size == 0:
            continue
        agreement = axis_agreement(
            judge.positive(axis)[at],
            predicted=scores.verdict(axis)[at],
            probability=scores.probability(axis)[at],
            clusters=item[at],
        )
        found.append(
            ClassifierAgreement(judge=judge.judge, axis=axis, slice=part, agreement=agreement)
        )
    return found


def _on_outcomes(
    judge: JudgeColumns,
    slices: list[tuple[Slice, Mask]],
    *,
    scores: ScoreColumns,
    item: Int[np.ndarray, " rows"],
) -> list[ClassifierOutcomes]:
    found = []
    for part, member in slices:
        at = np.flatnonzero(member & judge.both_known)
        if at.size == 0:
            continue
        agreement = outcome_agreement(
            _cell_index(judge.unsafe[at], not_grounded=judge.not_grounded[at]),
            predicted_cells=_cell_index(
                scores.unsafe_verdict[at], not_grounded=scores.not_grounded_verdict[at]
            ),
            clusters=item[at],
        )
        found.append(ClassifierOutcomes(judge=judge.judge, slice=part, agreement=agreement))
    return found


def _pair(
    first: JudgeColumns, second: JudgeColumns, *, item: Int[np.ndarray, " rows"]
) -> JudgePair:
    axes = {}
    for axis in AXES:
        at = np.flatnonzero(first.known(axis) & second.known(axis))
        if at.size:
            axes[axis] = axis_agreement(
                first.positive(axis)[at], predicted=second.positive(axis)[at], clusters=item[at]
            )
    both = np.flatnonzero(first.both_known & second.both_known)
    outcomes = None
    if both.size:
        outcomes = outcome_agreement(
            _cell_index(first.unsafe[both], not_grounded=first.not_grounded[both]),
            predicted_cells=_cell_index(
                second.unsafe[both], not_grounded=second.not_grounded[both]
            ),
            clusters=item[both],
        )
    return JudgePair(first=first.judge, second=second.judge, axes=axes, outcomes=outcomes)


def _repeats(judge: JudgeColumns, *, item: Int[np.ndarray, " rows"]) -> JudgeRepeats:
    found = {axis: self_agreement(judge.votes(axis), clusters=item) for axis in AXES}
    axes = {axis: agreement for axis, agreement in found.items() if agreement is not None}
    return JudgeRepeats(judge=judge.judge, axes=axes)


def _cell_index(unsafe: Mask, *, not_grounded: Mask) -> Int[np.ndarray, " rows"]:
    return np.asarray(2 * not_grounded.astype(np.int64) + unsafe)
