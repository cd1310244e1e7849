"""Whether probabilities hold within each slice of the rows, with the number of slices paid for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from nsgauge.eval.agreement import check_probability
from nsgauge.eval.clusters import Clusters, cluster_codes, mean_variance
from nsgauge.eval.intervals import Bounded, t_quantile

MINIMUM_ROWS = 20
MINIMUM_ITEMS = 10
"""With fewer rows or items a slice is described, not tested."""
LEVEL = 0.05
POWER = 0.8
_TERMS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceCalibration:
    """One slice of the rows on one axis.

    Attributes:
        rows: Rows with a probability and an answer.
        items: Their distinct items.
        mean_probability: What the classifier expects of a row.
        positive_share: What the reference says.
        difference: The first less the second, with its 95% interval, items together.
        p_value: Of no difference; None where the slice is too small to test.
        adjusted: The same with all slices tested together; see `adjust`.
        ecce: How far the running sum of label less probability, sorted by probability, ranges,
            over its standard deviation if every probability were right. Unlike the difference it
            sees errors that cancel out. None where that deviation is 0.
        ecce_p_value: Of so large a range; None where the slice is too small to test.
        ecce_adjusted: The same with all slices tested together.
        detectable: The difference that such a slice would show in four cases of five, at a level
            of 5%; a smaller one may well hide here. None where the slice is too small to test.
    """

    rows: int
    items: int
    mean_probability: float
    positive_share: float
    difference: Bounded
    p_value: float | None
    adjusted: float | None = None
    ecce: float | None
    ecce_p_value: float | None
    ecce_adjusted: float | None = None
    detectable: float | None


def slice_calibration(
    probability: Float[np.ndarray, " rows"],
    *,
    positive: Bool[np.ndarray, " rows"],
    clusters: Clusters | None = None,
) -> SliceCalibration:
    """Measure one slice.

    The standard error of a test is never below that of a calibrated classifier, so that a slice
    without positives can't look exact.

    Args:
        probability: Of the positive class, in [0, 1]; never logits.
        positive: The reference's answer.
        clusters: Item ids.

    Raises:
        ValueError: no rows, a probability outside [0, 1], or lengths that don't match.

    Source: Arrieta-Ibarra et al. 2022, "Metrics of calibration for probabilistic predictions", for
    ECCE-R; Feller 1951 for the range of a Brownian motion.
    """
    rows = len(probability)
    if not rows:
        raise ValueError("a slice needs a row")
    check_probability(probability)
    codes = cluster_codes(clusters, rows=rows)
    items = int(codes.max()) + 1
    residual = probability.astype(np.float64) - positive
    mean = float(residual.mean())
    expected = float((probability * (1 - probability)).sum())
    spread = mean_variance(residual - mean, codes=codes)
    deviation = max(spread or 0.0, expected / rows**2) ** 0.5
    tested = rows >= MINIMUM_ROWS and items >= MINIMUM_ITEMS and deviation > 0
    ecce = _ecce(residual, probability=probability, expected=expected)
    inflation = _clustering(residual, codes=codes)
    half = t_quantile(0.95, freedom=max(items - 1, 1)) * deviation
    reach = sum(float(stats.t.ppf(at, df=max(items - 1, 1))) for at in (1 - LEVEL / 2, POWER))
    return SliceCalibration(
        rows=rows,
        items=items,
        mean_probability=float(probability.mean()),
        positive_share=float(positive.mean()),
        difference=Bounded(mean, max(-1.0, mean - half), min(1.0, mean + half)),
        p_value=float(2 * stats.t.sf(abs(mean) / deviation, df=items - 1)) if tested else None,
        ecce=ecce,
        ecce_p_value=range_p_value(ecce / inflation) if tested and ecce is not None else None,
        detectable=reach * deviation if tested else None,
    )


def adjust(slices: Sequence[SliceCalibration]) -> tuple[SliceCalibration, ...]:
    """The same slices with p-values that allow for their number: false discovery rate.

    Source: Benjamini and Hochberg 1995; it holds for slices that share rows (Benjamini and
    Yekutieli 2001, positive dependence).
    """
    differences = _adjusted([found.p_value for found in slices])
    ranges = _adjusted([found.ecce_p_value for found in slices])
    return tuple(
        replace(found, adjusted=difference, ecce_adjusted=spread)
        for found, difference, spread in zip(slices, differences, ranges, strict=True)
    )


def range_p_value(span: float) -> float:
    """How often the range of a Brownian motion over one unit of time exceeds `span`.

    Example:
        >>> round(range_p_value(2.24), 2)
        0.1

    Source: Feller 1951, "The asymptotic distribution of the range of sums of independent random
    variables", equation 3.7, integrated.
    """
    # Below this the series needs more terms than it has, and the answer is 1 to six digits.
    if span < 0.3:
        return 1.0
    order = np.arange(1, _TERMS + 1)
    terms = (-1.0) ** (order - 1) * order * stats.norm.sf(order * span)
    return float(np.clip(8 * terms.sum(), 0.0, 1.0))


def _ecce(
    residual: Float[np.ndarray, " rows"],
    *,
    probability: Float[np.ndarray, " rows"],
    expected: float,
) -> float | None:
    """The range of the running sum; rows of one probability enter together."""
    if expected <= 0:
        return None
    order = np.argsort(probability, kind="stable")
    last_of_ties = np.append(np.diff(probability[order]) != 0, True)
    running = np.append(0.0, np.cumsum(residual[order])[last_of_ties])
    return float(np.ptp(running) / expected**0.5)


def _clustering(residual: Float[np.ndarray, " rows"], *, codes: np.ndarray) -> float:
    """How many times items widen the running sum: at least 1."""
    by_row = float(residual @ residual)
    if by_row == 0:
        return 1.0
    sums = np.bincount(codes, weights=residual)
    return float(np.sqrt(max(1.0, float(sums @ sums) / by_row)))


def _adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    known = [at for at, value in enumerate(p_values) if value is not None]
    found: list[float | None] = [None] * len(p_values)
    if known:
        corrected = stats.false_discovery_control([p_values[at] for at in known], method="bh")
        for at, value in zip(known, corrected.tolist(), strict=True):
            found[at] = value
    return found
