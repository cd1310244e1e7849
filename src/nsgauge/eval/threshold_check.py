"""Whether a threshold that was chosen on validation still does what it was chosen for elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float, Int

from nsgauge.eval.census import share_interval
from nsgauge.eval.clusters import Clusters, cluster_codes, design_effect, scarcest
from nsgauge.eval.differences import mean_difference
from nsgauge.eval.guarantee import binomial_tail
from nsgauge.eval.intervals import Bounded
from nsgauge.eval.plus_two import SCARCE

MARGIN = 0.1
"""A share that is surely less than this away from what was wanted holds."""

LEVEL = 0.05
"""A threshold fails where the adjusted p-value is below this."""

_CONFIDENCE = 0.95


class Standing(StrEnum):
    """What the rows say of a threshold."""

    HOLDS = "holds"
    """The share is surely less than `MARGIN` away from what was wanted."""
    FAILS = "does_not_hold"
    """The share is off by more than chance explains, all tests of the page considered."""
    TOO_FEW = "too_few_rows"
    """Neither: the rows are too few to say."""


class Promise(StrEnum):
    """What is asked of the verdicts at a threshold."""

    RATE = "rate"
    """As many positive verdicts as the reference gives."""
    PRECISION = "precision"
    RECALL = "recall"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictShares:
    """Verdicts at a threshold against a reference; intervals are 95%, rows of an item together.

    Attributes:
        rows: Rows with a verdict and an answer.
        items: Distinct items among them.
        positives: Positive by the reference.
        called: Positive by the classifier.
        hits: Positive by both.
        precision: Share of the rows called positive that are; None where none was called.
        recall: Share of the positives that were called so; None without any.
        difference: Share called positive less the share that is, in [-1, 1]; None without rows.
    """

    rows: int
    items: int
    positives: int
    called: int
    hits: int
    precision: Bounded | None
    recall: Bounded | None
    difference: Bounded | None


def verdict_shares(
    verdict: Bool[np.ndarray, " rows"],
    *,
    positive: Bool[np.ndarray, " rows"],
    clusters: Clusters | None = None,
) -> VerdictShares:
    """Measure the verdicts of some rows.

    Args:
        verdict: Whether the probability reached the threshold.
        positive: The reference's answer.
        clusters: Item ids.

    The difference has the interval of `mean_difference`.
    """
    codes = cluster_codes(clusters, rows=len(verdict))
    gap = verdict.astype(np.float64) - positive
    return VerdictShares(
        rows=len(verdict),
        items=len(np.unique(codes)),
        positives=int(positive.sum()),
        called=int(verdict.sum()),
        hits=int((verdict & positive).sum()),
        precision=_share(positive[verdict], codes=codes[verdict]),
        recall=_share(verdict[positive], codes=codes[positive]),
        difference=mean_difference(gap, codes=codes)[0] if len(gap) else None,
    )


def promise_p_value(
    verdict: Bool[np.ndarray, " rows"],
    *,
    positive: Bool[np.ndarray, " rows"],
    promise: Promise,
    wanted: float,
    clusters: Clusters | None = None,
) -> float | None:
    """How often chance alone strays as far from what was promised.

    Args:
        verdict: Whether the probability reached the threshold.
        positive: The reference's answer.
        promise: What is tested. The rate is tested on both sides by `mean_difference`,
            precision and recall for a shortfall by the binomial at the effective number of rows.
        wanted: The precision or recall promised, in (0, 1]; not read for the rate.
        clusters: Item ids.

    Returns:
        In [0, 1]; None without rows that count, and for the rate with fewer than two items.
    """
    codes = cluster_codes(clusters, rows=len(verdict))
    if promise is Promise.RATE:
        gap = verdict.astype(np.float64) - positive
        return mean_difference(gap, codes=codes)[1] if len(gap) else None
    counted, found = (verdict, positive) if promise is Promise.PRECISION else (positive, verdict)
    labels = found[counted].astype(np.float64)
    if not labels.size:
        return None
    if wanted == 1:
        return float(labels.all())
    rows = effective_rows(labels, codes=codes[counted])
    right = np.array([float(labels.mean()) * rows])
    return float(binomial_tail(np.array([rows]), errors=right, share=wanted)[0])


def effective_rows(
    positive: Float[np.ndarray, " rows"], *, codes: Int[np.ndarray, " rows"]
) -> float:
    """How many rows of separate items would say as much of a share; at least one row is wanted.

    The items alone are counted where fewer than five of them hold a positive or a negative row.
    """
    _, items = np.unique(codes, return_inverse=True)
    if scarcest(positive, codes=items) < SCARCE:
        return float(items.max() + 1)
    return len(positive) / design_effect(positive, codes=items)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted for their number: the chance of any false alarm stays below the level.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        (0.03, 0.06, 0.06)

    Source: Holm 1979.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * steps)
    return tuple(np.minimum(adjusted, 1.0).tolist())


def standing_of(
    share: Bounded | None, *, promise: Promise, wanted: float, adjusted: float | None
) -> Standing:
    """What an interval and an adjusted p-value say together.

    Args:
        share: The difference of rates, or the precision or recall; of the latter only a shortfall
            counts.
        promise: Which of these it is.
        wanted: What it should be: 0 for a difference.
        adjusted: The p-value, adjusted for the number of tests; None where there was no test.
    """
    if adjusted is not None and adjusted < LEVEL:
        return Standing.FAILS
    if share is None or share.low is None or share.high is None:
        return Standing.TOO_FEW
    too_high = promise is Promise.RATE and share.high > wanted + MARGIN
    return Standing.TOO_FEW if too_high or share.low < wanted - MARGIN else Standing.HOLDS


def _share(
    found: Bool[np.ndarray, " counted"], *, codes: Int[np.ndarray, " counted"]
) -> Bounded | None:
    if not found.size:
        return None
    items = np.unique(codes, return_inverse=True)[1]
    wide = share_interval(found.astype(np.float64), codes=items, confidence=_CONFIDENCE)
    return Bounded(float(found.mean()), *(wide or (None, None)))
