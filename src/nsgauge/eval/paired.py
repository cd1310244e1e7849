"""Two sides on the same rows: their difference with an interval, rows of an item together."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from nsgauge.eval.clusters import Clusters, cluster_codes, mean_variance
from nsgauge.eval.differences import mean_difference
from nsgauge.eval.discrimination import placements
from nsgauge.eval.intervals import Bounded, t_quantile

_CONFIDENCE = 0.95
# Influences that vanish but for rounding leave a variance of this order.
_ROUNDING = 1e-18


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """One measure of two sides on the same rows.

    Attributes:
        rows: Rows that both sides speak of.
        items: Their distinct items.
        first: The first side's value.
        second: The second's.
        difference: Second less first, with its 95% interval; without ends where rows or items are
            too few, or where the two sides never differ in a way that shows spread.
    """

    rows: int
    items: int
    first: float
    second: float
    difference: Bounded


def paired_means(
    first: Float[np.ndarray, " rows"],
    *,
    second: Float[np.ndarray, " rows"],
    clusters: Clusters | None = None,
) -> Paired | None:
    """Compare two means, of labels or of probabilities; None without rows.

    Args:
        first: One side's labels or probabilities, in [0, 1].
        second: The other's, on the same rows.
        clusters: Item ids.

    Source: `nsgauge.eval.differences.mean_difference`.
    """
    rows = len(first)
    if not rows:
        return None
    codes = cluster_codes(clusters, rows=rows)
    return Paired(
        rows=rows,
        items=int(codes.max()) + 1,
        first=float(first.mean()),
        second=float(second.mean()),
        difference=mean_difference(second - first, codes=codes)[0],
    )


def paired_auroc(
    positive: Bool[np.ndarray, " rows"],
    *,
    first: Float[np.ndarray, " rows"],
    second: Float[np.ndarray, " rows"],
    clusters: Clusters | None = None,
) -> Paired | None:
    """Compare two AUROCs against one reference; None unless both classes are there.

    Args:
        positive: The reference's class.
        first: One side's score; only its order counts.
        second: The other's, on the same rows.
        clusters: Item ids.

    Source: DeLong, DeLong and Clarke-Pearson 1988; Obuchowski 1997 for clusters.
    """
    if not positive.any() or positive.all():
        return None
    codes = cluster_codes(clusters, rows=len(positive))
    (ours, placed), (theirs, other) = (
        placements(positive, probability=score) for score in (first, second)
    )
    influence = (other - placed) * len(positive)
    variance = mean_variance(influence, codes=codes)
    return _paired(ours, theirs, codes=codes, variance=variance)


def paired_kappa(
    reference: Int[np.ndarray, " rows"],
    *,
    first: Int[np.ndarray, " rows"],
    second: Int[np.ndarray, " rows"],
    categories: int,
    clusters: Clusters | None = None,
) -> Paired | None:
    """Compare two kappas against one reference; None where chance explains all of either.

    Args:
        reference: Its category in [0, categories).
        first: One side's.
        second: The other's, on the same rows.
        categories: How many there are, seen or not.
        clusters: Item ids.

    Source: Fleiss, Cohen and Everitt 1969; the delta method on the difference.
    """
    if not len(reference):
        return None
    found = [_kappa(reference, predicted=side, categories=categories) for side in (first, second)]
    codes = cluster_codes(clusters, rows=len(reference))
    if found[0] is None or found[1] is None:
        return None
    (ours, influence), (theirs, other) = found[0], found[1]
    return _paired(
        ours, theirs, codes=codes, variance=mean_variance(other - influence, codes=codes)
    )


def _kappa(
    reference: Int[np.ndarray, " rows"], *, predicted: Int[np.ndarray, " rows"], categories: int
) -> tuple[float, Float[np.ndarray, " rows"]] | None:
    """Cohen's kappa and each row's influence on it."""
    ours, theirs = (
        np.bincount(side, minlength=categories) / len(side) for side in (reference, predicted)
    )
    chance = float(ours @ theirs)
    room = 1 - chance
    if room <= 1e-12:
        return None
    agreed = (reference == predicted).astype(np.float64)
    observed = float(agreed.mean())
    slope = theirs[reference] + ours[predicted] - 2 * chance
    influence = (agreed - observed) / room - (1 - observed) / room**2 * slope
    return (observed - chance) / room, influence


def _paired(
    first: float, second: float, *, codes: Int[np.ndarray, " rows"], variance: float | None
) -> Paired:
    items, gap = int(codes.max()) + 1, second - first
    ends: tuple[float | None, float | None] = (None, None)
    if variance is not None and variance > _ROUNDING and items > 1:
        half = t_quantile(_CONFIDENCE, freedom=items - 1) * variance**0.5
        ends = (max(-2.0, gap - half), min(2.0, gap + half))
    return Paired(
        rows=len(codes),
        items=items,
        first=first,
        second=second,
        difference=Bounded(gap, *ends),
    )
