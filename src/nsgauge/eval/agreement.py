"""Agreement with a reference: on one axis, and on the four cells and three outcomes together.

A measure that is undefined on the rows at hand is None; it is never 0.0 and never NaN.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from nsgauge.eval.chance import cohen_kappa, gwet_ac1
from nsgauge.eval.clusters import Clusters, cluster_codes
from nsgauge.eval.discrimination import auroc, average_precision
from nsgauge.eval.inflation import NsgInflation, misreadings_called_unsafe
from nsgauge.eval.intervals import Bounded
from nsgauge.eval.plus_two import correlation
from nsgauge.protocol import CELLS

__all__ = [
    "OUTCOMES",
    "AxisAgreement",
    "NsgInflation",
    "OutcomeAgreement",
    "axis_agreement",
    "check_probability",
    "misreadings_called_unsafe",
    "outcome_agreement",
]

OUTCOMES: tuple[str, ...] = ("grounded_unsafe", "not_grounded", "grounded_safe")
"""The three outcomes of the protocol; a not-grounded answer is one whatever its safety."""

_OUTCOME_OF_CELL = np.array(
    [OUTCOMES.index(cell if cell in OUTCOMES else "not_grounded") for cell in CELLS]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisAgreement:
    """One axis, one rater against a reference; the positive class is the axis's own.

    Attributes:
        rows: Rows compared.
        positives: Positive rows by the reference.
        predicted_positives: Positive rows by the other.
        confusion: Counts; first index the reference, second the other, negative before positive.
        accuracy: Share of equal answers.
        kappa: Cohen's, in [-1, 1].
        kappa_low: Lower end of its interval.
        kappa_high: Upper end.
        ac1: Gwet's, in [-1, 1].
        ac1_low: Lower end of its interval.
        ac1_high: Upper end.
        mcc: Matthews' correlation, in [-1, 1].
        precision: Share of the predicted positives that are positive.
        recall: Share of the positives that are found.
        f1: Harmonic mean of the two.
        balanced_accuracy: Mean of the recalls of both classes.
        auroc: None where the other gives no probability.
        auroc_low: Lower end of DeLong's interval.
        auroc_high: Upper end.
        auprc: Average precision.
        prevalence: Share of positives by the reference: the baseline of `auprc`.
    """

    rows: int
    positives: int
    predicted_positives: int
    confusion: tuple[tuple[int, int], tuple[int, int]]
    accuracy: float | None = None
    kappa: float | None = None
    kappa_low: float | None = None
    kappa_high: float | None = None
    ac1: float | None = None
    ac1_low: float | None = None
    ac1_high: float | None = None
    mcc: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    balanced_accuracy: float | None = None
    auroc: float | None = None
    auroc_low: float | None = None
    auroc_high: float | None = None
    auprc: float | None = None
    prevalence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeAgreement:
    """Both axes together.

    Attributes:
        rows: Rows compared.
        cells: 4x4 counts in the order of `CELLS`; first index the reference.
        outcomes: 3x3 counts in the order of `OUTCOMES`; first index the reference.
        accuracy: Share of equal outcomes.
        kappa: Cohen's on the outcomes.
        kappa_low: Lower end of its interval.
        kappa_high: Upper end.
        macro_f1: Mean F1 of the outcomes that either side names.
    """

    rows: int
    cells: tuple[tuple[int, ...], ...]
    outcomes: tuple[tuple[int, ...], ...]
    accuracy: float | None
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    macro_f1: float | None


def axis_agreement(
    reference: Bool[np.ndarray, " rows"],
    *,
    predicted: Bool[np.ndarray, " rows"],
    probability: Float[np.ndarray, " rows"] | None = None,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
) -> AxisAgreement:
    """Compare answers on one axis; rows without an answer of either are left out beforehand.

    Args:
        reference: Whose word counts.
        predicted: The answers compared with it.
        probability: Of the positive class, in [0, 1]; never logits.
        clusters: Item ids; intervals then allow for rows that share an item.
        confidence: Of the intervals, in (0, 1).

    Raises:
        ValueError: a probability outside [0, 1], or lengths that don't match.
    """
    codes = cluster_codes(clusters, rows=len(reference))
    labels, answers = reference.astype(np.int64), predicted.astype(np.int64)
    kappa, kappa_low, kappa_high = _parts(
        cohen_kappa(labels, predicted=answers, categories=2, codes=codes, confidence=confidence)
    )
    ac1, ac1_low, ac1_high = _parts(
        gwet_ac1(labels, predicted=answers, categories=2, codes=codes, confidence=confidence)
    )
    agreement = replace(
        _from_counts(_confusion(labels, predicted=answers, categories=2)),
        kappa=kappa,
        kappa_low=kappa_low,
        kappa_high=kappa_high,
        ac1=ac1,
        ac1_low=ac1_low,
        ac1_high=ac1_high,
        mcc=correlation(labels.astype(np.float64), other=answers.astype(np.float64)),
    )
    if probability is None:
        return agreement
    check_probability(probability)
    area, low, high = _parts(
        auroc(reference, probability=probability, codes=codes, confidence=confidence)
    )
    precision = average_precision(reference, probability=probability)
    return replace(agreement, auroc=area, auroc_low=low, auroc_high=high, auprc=precision)


def outcome_agreement(
    reference_cells: Int[np.ndarray, " rows"],
    *,
    predicted_cells: Int[np.ndarray, " rows"],
    clusters: Clusters | None = None,
    confidence: float = 0.95,
) -> OutcomeAgreement:
    """Compare whole answers: the four cells, and the three outcomes that they fall into.

    Args:
        reference_cells: Index in `CELLS` by the side whose word counts.
        predicted_cells: Index in `CELLS` by the other side.
        clusters: Item ids; the interval then allows for rows that share an item.
        confidence: Of the interval, in (0, 1).

    Raises:
        ValueError: an index that names no cell, or lengths that don't match.
    """
    for cells in (reference_cells, predicted_cells):
        if cells.size and not 0 <= cells.min() <= cells.max() < len(CELLS):
            raise ValueError(f"cell indices lie in 0..3, got {cells.min()}..{cells.max()}")
    codes = cluster_codes(clusters, rows=len(reference_cells))
    ours, theirs = _OUTCOME_OF_CELL[reference_cells], _OUTCOME_OF_CELL[predicted_cells]
    outcomes = _confusion(ours, predicted=theirs, categories=len(OUTCOMES))
    kappa, low, high = _parts(
        cohen_kappa(
            ours, predicted=theirs, categories=len(OUTCOMES), codes=codes, confidence=confidence
        )
    )
    cells = _confusion(reference_cells, predicted=predicted_cells, categories=len(CELLS))
    named = outcomes.sum(axis=0) + outcomes.sum(axis=1)
    f1 = 2 * np.diag(outcomes)[named > 0] / named[named > 0]
    equal = int(np.trace(outcomes))
    return OutcomeAgreement(
        rows=len(ours),
        cells=tuple(tuple(row) for row in cells.tolist()),
        outcomes=tuple(tuple(row) for row in outcomes.tolist()),
        accuracy=_ratio(equal, len(ours) - equal),
        kappa=kappa,
        kappa_low=low,
        kappa_high=high,
        macro_f1=float(f1.mean()) if f1.size else None,
    )


def check_probability(probability: Float[np.ndarray, " rows"]) -> None:
    """Refuse logits and NaN where probabilities are wanted.

    Raises:
        ValueError: a value outside [0, 1], or NaN.
    """
    if not bool(((probability >= 0) & (probability <= 1)).all()):
        low, high = float(probability.min()), float(probability.max())
        raise ValueError(f"probabilities must lie in [0, 1], got [{low:.3g}, {high:.3g}]: logits?")


def _confusion(
    reference: Int[np.ndarray, " rows"], *, predicted: Int[np.ndarray, " rows"], categories: int
) -> Int[np.ndarray, "categories categories"]:
    flat = np.bincount(reference * categories + predicted, minlength=categories**2)
    return np.asarray(flat.reshape(categories, categories))


def _from_counts(counts: Int[np.ndarray, "2 2"]) -> AxisAgreement:
    """The measures that are ratios of the four counts."""
    (true_negatives, false_positives), (misses, hits) = counts.tolist()
    recall, specificity = _ratio(hits, misses), _ratio(true_negatives, false_positives)
    both = recall is not None and specificity is not None
    return AxisAgreement(
        rows=hits + misses + true_negatives + false_positives,
        positives=hits + misses,
        predicted_positives=hits + false_positives,
        confusion=((true_negatives, false_positives), (misses, hits)),
        accuracy=_ratio(hits + true_negatives, misses + false_positives),
        precision=_ratio(hits, false_positives),
        recall=recall,
        f1=_ratio(2 * hits, misses + false_positives),
        balanced_accuracy=((recall or 0.0) + (specificity or 0.0)) / 2 if both else None,
        prevalence=_ratio(hits + misses, true_negatives + false_positives),
    )


def _ratio(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None


def _parts(found: Bounded | None) -> Bounded | tuple[None, None, None]:
    return found if found is not None else (None, None, None)
