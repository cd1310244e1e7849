"""How well a probability orders the rows: AUROC with DeLong's interval, and average precision."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import optimize, stats

from nsgauge.eval.intervals import Bounded, Interval, normal_quantile, wilson


def auroc(
    positive: Bool[np.ndarray, " rows"],
    *,
    probability: Float[np.ndarray, " rows"],
    codes: Int[np.ndarray, " rows"],
    confidence: float = 0.95,
) -> Bounded | None:
    """The area under the ROC curve, ties counted half; None unless both classes are there.

    Args:
        positive: The reference's class.
        probability: Any score; only its order counts.
        codes: The row's cluster, numbered from zero.
        confidence: Of the interval, in (0, 1).

    The interval spans two: DeLong's, symmetric on the logit scale, which takes the scores as they
    are but trusts the spread of a handful of rows; and Newcombe's, which holds with few rows of a
    class but takes the scores to be of a common kind. Clusters lessen the rows of the latter by as
    much as they add to the variance of the former.

    Source: DeLong, DeLong and Clarke-Pearson 1988 by the ranks of Sun and Xu 2014; Obuchowski 1997
    for clusters; Newcombe 2006, "Confidence intervals for an effect size measure based on the
    Mann-Whitney statistic. Part 2", method 5.
    """
    if not positive.any() or positive.all():
        return None
    value, placed = placements(positive, probability=probability)
    variance = _variance(placed, positive=positive, codes=codes)
    if variance is None or not 0 < value < 1:
        return Bounded(
            value, *_widest(value, positive=positive, codes=codes, confidence=confidence)
        )
    centre = float(np.log(value / (1 - value)))
    half = normal_quantile(confidence) * variance**0.5 / (value * (1 - value))
    low, high = (float(1 / (1 + np.exp(-(centre + shift)))) for shift in (-half, half))
    alone = _variance(placed, positive=positive, codes=np.arange(len(positive)))
    effect = max(1.0, variance / alone) if alone else 1.0
    sizes = np.array([positive.sum(), (~positive).sum()]) / effect
    wide = _newcombe(value, sizes=sizes, quantile=normal_quantile(confidence))
    return Bounded(value, min(low, wide.low), max(high, wide.high))


def placements(
    positive: Bool[np.ndarray, " rows"], *, probability: Float[np.ndarray, " rows"]
) -> tuple[float, Float[np.ndarray, " rows"]]:
    """The AUROC, and what each row adds to its error; both classes must be there.

    Args:
        positive: The reference's class.
        probability: Any score; only its order counts.

    Source: the placement values of DeLong, DeLong and Clarke-Pearson 1988.
    """
    above, below = probability[positive], probability[~positive]
    ranks = stats.rankdata(probability)
    beaten = (ranks[positive] - stats.rankdata(above)) / below.size
    beating = 1 - (ranks[~positive] - stats.rankdata(below)) / above.size
    value = float(np.clip(beaten.mean(), 0, 1))
    placed = np.zeros(len(positive))
    placed[positive] = (beaten - value) / above.size
    placed[~positive] = (beating - value) / below.size
    return value, placed


def average_precision(
    positive: Bool[np.ndarray, " rows"], *, probability: Float[np.ndarray, " rows"]
) -> float | None:
    """The area under the precision-recall curve as a step function; None without positives.

    Its baseline, the value of a score without information, is the share of positives.

    Args:
        positive: The reference's class.
        probability: Any score; rows that share a value enter together.
    """
    if not positive.any():
        return None
    order = np.argsort(-probability, kind="stable")
    last_of_ties = np.append(np.diff(probability[order]) != 0, True)
    hits = np.cumsum(positive[order])[last_of_ties]
    precision = hits / (np.flatnonzero(last_of_ties) + 1)
    return float(np.diff(hits, prepend=0) @ precision / hits[-1])


def _variance(
    placed: Float[np.ndarray, " rows"],
    *,
    positive: Bool[np.ndarray, " rows"],
    codes: Int[np.ndarray, " rows"],
) -> float | None:
    """Obuchowski's variance, DeLong's where every row is its own cluster; None if undefined."""
    count = int(codes.max()) + 1
    sums, holding = [], []
    for side in (positive, ~positive):
        sums.append(np.bincount(codes[side], weights=placed[side], minlength=count))
        holding.append(len(np.unique(codes[side])))
    if min(holding) < 2:
        return None
    upper, lower = (held / (held - 1) * float(s @ s) for s, held in zip(sums, holding, strict=True))
    variance = upper + lower + 2 * count / (count - 1) * float(sums[0] @ sums[1])
    return variance if variance > 0 else None


def _newcombe(value: float, *, sizes: Float[np.ndarray, " classes"], quantile: float) -> Interval:
    """All areas that `value`, in (0, 1), is at most `quantile` standard errors away from."""

    def excess(area: float) -> float:
        more = (sizes.sum() / 2 - 1) * ((1 - area) / (2 - area) + area / (1 + area))
        variance = area * (1 - area) * (1 + more) / sizes.prod()
        return float(abs(value - area) - quantile * max(variance, 0.0) ** 0.5)

    return Interval(optimize.brentq(excess, 0, value), optimize.brentq(excess, value, 1))


def _widest(
    value: float,
    *,
    positive: Bool[np.ndarray, " rows"],
    codes: Int[np.ndarray, " rows"],
    confidence: float,
) -> Interval:
    """Wilson over the rarer class: no AUROC varies more than a share of that many draws.

    Source: Birnbaum and Klotz 1957, the bound `A(1-A) / min(positives, negatives)`.
    """
    draws = min(len(np.unique(codes[side])) for side in (positive, ~positive))
    return wilson(value * draws, rows=draws, quantile=normal_quantile(confidence))
