"""Agreement corrected for chance: Cohen's kappa and Gwet's AC1, with intervals by clusters.

Kappa collapses where one class is rare: at 95% "safe" two good raters may have a kappa of .5. AC1
barely moves with prevalence; the two belong side by side.
"""

import numpy as np
from jaxtyping import Float, Int

from nsgauge.eval.census import share_interval
from nsgauge.eval.clusters import mean_variance
from nsgauge.eval.intervals import Bounded, t_quantile

# Influences that vanish but for rounding leave a variance of this order.
_ROUNDING = 1e-18


def cohen_kappa(
    reference: Int[np.ndarray, " rows"],
    *,
    predicted: Int[np.ndarray, " rows"],
    categories: int,
    codes: Int[np.ndarray, " rows"],
    confidence: float = 0.95,
) -> Bounded | None:
    """Cohen's kappa in [-1, 1]; None where chance alone explains all agreement.

    Args:
        reference: One rater's category in [0, categories).
        predicted: The other's; the two are exchangeable.
        categories: How many categories there are, seen or not.
        codes: The row's cluster, numbered from zero.
        confidence: Of the interval, in (0, 1).

    Source: Cohen 1960; the delta method of Fleiss, Cohen and Everitt 1969, summed by cluster.
    """
    if not len(reference):
        return None
    ours, theirs = _shares(reference, of=categories), _shares(predicted, of=categories)
    chance = float(ours @ theirs)
    slope = theirs[reference] + ours[predicted] - 2 * chance
    return beyond_chance(
        (reference == predicted).astype(np.float64),
        chance=chance,
        slope=slope,
        codes=codes,
        confidence=confidence,
    )


def gwet_ac1(
    reference: Int[np.ndarray, " rows"],
    *,
    predicted: Int[np.ndarray, " rows"],
    categories: int,
    codes: Int[np.ndarray, " rows"],
    confidence: float = 0.95,
) -> Bounded | None:
    """Gwet's first-order agreement coefficient in [-1, 1]; None without rows.

    Args and errors are those of `cohen_kappa`.

    Source: Gwet 2008, equations 4 to 7, with the delta method summed by cluster.
    """
    if not len(reference):
        return None
    mean = (_shares(reference, of=categories) + _shares(predicted, of=categories)) / 2
    chance = float(mean @ (1 - mean)) / (categories - 1)
    gradient = 1 - 2 * mean
    step = (gradient[reference] + gradient[predicted]) / 2 - gradient @ mean
    slope = step / (categories - 1)
    return beyond_chance(
        (reference == predicted).astype(np.float64),
        chance=chance,
        slope=slope,
        codes=codes,
        confidence=confidence,
    )


def _shares(category: Int[np.ndarray, " rows"], *, of: int) -> Float[np.ndarray, " categories"]:
    return np.bincount(category, minlength=of) / len(category)


def beyond_chance(
    agreed: Float[np.ndarray, " rows"],
    *,
    chance: float,
    slope: Float[np.ndarray, " rows"],
    codes: Int[np.ndarray, " rows"],
    confidence: float = 0.95,
) -> Bounded | None:
    """`(observed - chance) / (1 - chance)`, at most 1; None where chance explains all agreement.

    Args:
        agreed: Per row 1 or 0, or the share of its pairs of answers that are equal.
        chance: The agreement that chance gives, in [0, 1].
        slope: Each row's influence on `chance`.
        codes: The row's cluster, numbered from zero.
        confidence: Of the interval, in (0, 1).
    """
    room = 1 - chance
    if room <= 1e-12:
        return None
    observed = float(agreed.mean())
    value = (observed - chance) / room
    influence = (agreed - observed) / room - (1 - observed) / room**2 * slope
    variance = mean_variance(influence, codes=codes)
    if variance is None:
        return Bounded(value, None, None)
    if variance > _ROUNDING:
        half = t_quantile(confidence, freedom=int(codes.max())) * variance**0.5
        return Bounded(value, max(-1.0, value - half), min(1.0, value + half))
    if agreed.min() < agreed.max():
        # One side never varies: this is 0 whatever the other does, and shows no spread of its own.
        return Bounded(value, None, None)
    # All rows agree, or none does: the delta method sees no spread, the share of equal rows does.
    share = share_interval(agreed, codes=codes, confidence=confidence)
    if share is None:
        return Bounded(value, None, None)
    low, high = ((end - chance) / room for end in share)
    return Bounded(value, max(-1.0, min(low, value)), min(1.0, max(high, value)))
