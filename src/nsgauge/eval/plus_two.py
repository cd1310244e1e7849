"""Intervals that hold where labels are few: small-sample quantiles, hulls and exact limits."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nsgauge.eval.clusters import design_effect, scarcest
from nsgauge.eval.draws import Draw
from nsgauge.eval.intervals import Interval, clopper_pearson, t_quantile

FLAT = 1e-6
"""Probabilities that spread less than this are constant: their digits are mostly rounding."""

SCARCE = 5
"""Below this many positive (or negative) draws the exact binomial interval joins in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What is known of one rate of a pool, enough for its intervals at any confidence.

    Attributes:
        centre: The pool's share, about in [0, 1].
        variance: Of its estimate; above 0.
        freedom: Degrees of freedom of the variance.
        rows: In the pool.
        lowest: The share of the pool that was judged positive: its rate can't be lower.
        highest: Likewise, all but what was judged negative.
        scarce: Share and number of the draws where too few hold a positive, or a negative, for the
            variance to be trusted; else None.
        pool_effect: How many times heavier a row of the pool is than one drawn alone.
    """

    centre: float
    variance: float
    freedom: float
    rows: int
    lowest: float
    highest: float
    scarce: tuple[float, float] | None
    pool_effect: float

    def finite(self, *, point: float, confidence: float) -> Interval:
        """For the pool's own share; it holds `point`."""
        ends = self._hull(self.centre, variance=self.variance, point=point, confidence=confidence)
        # The judged positives and negatives are facts: the pool's share can't contradict them.
        low, high = max(ends.low, self.lowest), min(ends.high, self.highest)
        return Interval(min(low, point), max(high, point))

    def superpopulation(self, *, point: float, confidence: float) -> Interval:
        """For the share among items like these; it holds `point`."""
        rows, extra = self.rows, self.pool_effect
        centre = (rows * self.centre + extra) / (rows + 2 * extra)
        variance = self.variance + extra * max(centre * (1 - centre), 0.0) / rows
        ends = self._hull(centre, variance=variance, point=point, confidence=confidence)
        return Interval(max(0.0, ends.low), min(1.0, ends.high))

    def _hull(self, centre: float, *, variance: float, point: float, confidence: float) -> Interval:
        half = t_quantile(confidence, freedom=self.freedom) * variance**0.5
        ends = [point]
        if self.scarce is not None:
            share, draws = self.scarce
            ends += clopper_pearson(share * draws, rows=draws, confidence=confidence)
        return Interval(min(centre - half, *ends), max(centre + half, *ends))


def spread_of(
    positive: Float[np.ndarray, " judged"],
    *,
    draw: Draw,
    centre: float,
    variance: float,
    freedom: float,
) -> Spread:
    """What the labels add to an estimate and its variance.

    Args:
        positive: The labels, in [0, 1].
        draw: How they were drawn.
        centre: The estimate of the pool's share.
        variance: Of it.
        freedom: Of the variance.

    Source: Korn and Graubard 1998 (exact limits at the effective number of draws).
    """
    known, left, weights = float(positive.sum()), float(draw.left.sum()), draw.weights
    rows = len(positive) + int(draw.left.sum())
    few = scarcest(positive, codes=draw.codes, weights=weights) < SCARCE
    share = float(np.clip(weights @ positive / weights.sum(), 0, 1))
    return Spread(
        centre=centre,
        variance=variance,
        freedom=max(1.0, freedom),
        rows=rows,
        lowest=known / rows,
        highest=(known + left) / rows,
        scarce=(share, draw.effective_draws) if few else None,
        pool_effect=pool_effect(draw, heaviness=design_effect(positive, codes=draw.codes)),
    )


def correlation(
    first: Float[np.ndarray, " rows"],
    *,
    other: Float[np.ndarray, " rows"],
    weights: Float[np.ndarray, " rows"] | None = None,
) -> float | None:
    """Pearson's correlation; None where one of the two is constant, or there is no row."""
    if not len(first):
        return None
    parts = np.full(len(first), 1 / len(first)) if weights is None else weights / weights.sum()
    x, y = first - parts @ first, other - parts @ other
    spread_x, spread_y = float(parts @ x**2), float(parts @ y**2)
    if min(spread_x, spread_y) <= FLAT**2:
        return None
    return float(np.clip(parts @ (x * y) / (spread_x * spread_y) ** 0.5, -1.0, 1.0))


def is_informative(found: float | None, *, draws: float) -> bool:
    """Whether a correlation is surely above zero; if not, the judge alone guesses better."""
    # A tie is no signal; rounding, which depends on the order of the rows, must not break it.
    return found is not None and found > 2 / draws**0.5 + FLAT


def effective_rows(positive: Float[np.ndarray, " judged"], *, draw: Draw, variance: float) -> float:
    """Judge-only rows, drawn alone and evenly, whose share of the pool would vary as much.

    Args:
        positive: The labels, in [0, 1].
        draw: How they were drawn.
        variance: Of the pool's share, with the two extra rows in it.
    """
    rows, weights = len(positive), draw.weights
    heavy = weights.mean()
    share = float((weights @ positive + heavy) / (weights.sum() + 2 * heavy))
    # With the extra rows, n rows drawn alone have a variance of share (1 - share) / (n + 1).
    unit = variance / (share * (1 - share)) * (rows + 1) / rows
    return 1 / (unit + 1 / (rows + float(draw.left.sum())))


def pool_effect(draw: Draw, *, heaviness: float) -> float:
    """The design effect of the whole pool, whose clusters may be larger than the judged parts."""
    if draw.pool_size == 1:
        return 1.0
    if draw.judged_size == 1:
        return draw.pool_size
    scale = (draw.pool_size - 1) / (draw.judged_size - 1)
    return float(min(1 + (heaviness - 1) * scale, draw.pool_size))
