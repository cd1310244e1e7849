"""Agreement of the classifier with each judge on unseen rows, and of the judges with each other."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np
from jaxtyping import Bool

from nsgauge.eval.agreement import AxisAgreement, axis_agreement
from nsgauge.eval.report.inputs import JudgeColumns, Rows, ScoreColumns

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
class OutcomeRow:
    """The classifier, or a judge, against one judge on the three outcomes together.

    Attributes:
        judge: The judge taken as the truth.
        against: The other judge; None for the classifier.
        slice: Which rows.
        rows: Rows that both answered on both axes.
        accuracy: Share of equal outcomes.
        kappa: Cohen's kappa of the outcomes; None where it is undefined.
    """

    judge: str
    against: str | None
    slice: Slice
    rows: int
    accuracy: float
    kappa: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgePair:
    """Two judges on one axis; `first` is taken as the truth where the measure has a direction."""

    first: str
    second: str
    axis: str
    agreement: AxisAgreement


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything about agreement.

    Attributes:
        left_out: Scored rows with an answer of any judge that were left out as seen.
        classifier: Against each judge, axis and slice; empty without scores.
        classifier_outcomes: The same on the three outcomes.
        judges: Each pair of judges and axis.
        judge_outcomes: The same on the three outcomes.
    """

    left_out: int
    classifier: tuple[ClassifierAgreement, ...]
    classifier_outcomes: tuple[OutcomeRow, ...]
    judges: tuple[JudgePair, ...]
    judge_outcomes: tuple[OutcomeRow, ...]
