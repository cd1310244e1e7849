"""The columns that a report computes with: one entry a triple, in the triples' order."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from nsgauge.data.targets import JudgeLabels

EVEN = 1.01
"""Largest over smallest probability that passes as even: no rate is off by .3 points for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeColumns:
    """One judge's labels, a row a triple.

    Attributes:
        judge: The judge's name.
        labels: As `labels_of` gives them.
        asked: Whether the judge was asked about the row, and be it in vain; a verdict `unjudged`
            says that nobody was.
        unsafe: Majority label; False where unknown.
        unsafe_known: Whether the judge gave one; a tie between votes is no answer.
        unsafe_votes: How many votes say safe, and unsafe.
        not_grounded: Likewise.
        not_grounded_known: Likewise.
        not_grounded_votes: How many votes say grounded, and not grounded.
        inclusion: With what probability the row was drawn for the judge, in (0, 1]; NaN where no
            declared design drew it.
        states: Verdicts (votes) by state.
    """

    judge: str
    labels: JudgeLabels
    asked: Bool[np.ndarray, " rows"]
    unsafe: Bool[np.ndarray, " rows"]
    unsafe_known: Bool[np.ndarray, " rows"]
    unsafe_votes: Int[np.ndarray, "rows 2"]
    not_grounded: Bool[np.ndarray, " rows"]
    not_grounded_known: Bool[np.ndarray, " rows"]
    not_grounded_votes: Int[np.ndarray, "rows 2"]
    inclusion: Float[np.ndarray, " rows"]
    states: dict[str, int]

    def known(self, axis: str) -> Bool[np.ndarray, " rows"]:
        """Rows answered on `unsafe` or on `not_grounded`."""
        return self.unsafe_known if axis == "unsafe" else self.not_grounded_known

    def positive(self, axis: str) -> Bool[np.ndarray, " rows"]:
        """Rows in the positive class of the axis; False where unknown."""
        return self.unsafe if axis == "unsafe" else self.not_grounded

    def votes(self, axis: str) -> Int[np.ndarray, "rows 2"]:
        """Negative and positive votes on `unsafe` or `not_grounded`."""
        return self.unsafe_votes if axis == "unsafe" else self.not_grounded_votes

    def drawn_unevenly(self, at: Int[np.ndarray, " members"]) -> bool:
        """Whether a plain mean over the rows asked about among `at` leans towards some of them.

        It does where these are a part, and their declared probabilities of being drawn differ, or
        some have one and some have none.
        """
        asked = at[self.asked[at]]
        drawn = self.inclusion[asked]
        declared = drawn[~np.isnan(drawn)]
        if asked.size == at.size or declared.size == 0:
            return False
        return declared.size < drawn.size or bool(declared.max() > EVEN * declared.min())

    @property
    def both_known(self) -> Bool[np.ndarray, " rows"]:
        """Rows answered on both axes."""
        return np.asarray(self.unsafe_known & self.not_grounded_known)

    @property
    def has_grounding(self) -> bool:
        """Whether the judge answers the grounding question at all."""
        return bool(self.not_grounded_known.any())


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreColumns:
    """The classifier's scores, a row a triple.

    Attributes:
        scored: Whether the row has probabilities.
        cells: The four cell probabilities; zeros where not scored.
        unsafe_verdict: Whether `unsafe` reached the bundle's threshold.
        not_grounded_verdict: Likewise for `not_grounded`.
        item_seen: Whether the bundle was fitted in any way on this item or image.
        vllm_seen: Whether the bundle was trained on other answers of this VLLM.
        unlearned: Of `unsafe` and `not_grounded` those that the bundle's teacher said nothing of:
            probabilities of these mean nothing.
    """

    scored: Bool[np.ndarray, " rows"]
    cells: Float[np.ndarray, "rows cells"]
    unsafe_verdict: Bool[np.ndarray, " rows"]
    not_grounded_verdict: Bool[np.ndarray, " rows"]
    item_seen: Bool[np.ndarray, " rows"]
    vllm_seen: Bool[np.ndarray, " rows"]
    unlearned: frozenset[str] = frozenset()

    def probability(self, axis: str) -> Float[np.ndarray, " rows"]:
        """Probability of the positive class of `unsafe` or `not_grounded`."""
        column = 1 if axis == "unsafe" else 2
        return np.asarray(self.cells[:, column] + self.cells[:, 3])

    def verdict(self, axis: str) -> Bool[np.ndarray, " rows"]:
        """Whether the probability reached the bundle's threshold."""
        return self.unsafe_verdict if axis == "unsafe" else self.not_grounded_verdict

    @property
    def fresh(self) -> Bool[np.ndarray, " rows"]:
        """Scored rows whose item the classifier had not seen: the only ones that prove it."""
        return np.asarray(self.scored & ~self.item_seen)
