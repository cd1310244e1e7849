"""The mean of differences between two sides of the same rows, rows of an item together."""

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from nsgauge.eval.clusters import mean_size
from nsgauge.eval.intervals import Bounded, t_quantile

_CONFIDENCE = 0.95


def mean_difference(
    gap: Float[np.ndarray, " rows"],
    *,
    codes: Int[np.ndarray, " rows"],
    probability: Float[np.ndarray, " rows"] | None = None,
) -> tuple[Bounded, float | None]:
    """The mean of `gap` with its 95% interval, and the p-value of zero.

    Two clusters are added that differ each way, so that two sides that hardly ever differ here
    aren't taken to agree everywhere.

    Args:
        gap: One side less the other, in [-1, 1]; one row at least.
        codes: The row's cluster, numbered from zero.
        probability: Where one side is labels and the other their probabilities: these. The variance
            is then at least that of labels drawn with them, also where hardly any is positive.

    Returns:
        Without ends and p-value where all rows are of one cluster.

    Source: Agresti and Min 2005 for the difference of paired shares, half a row added to each of
    the four kinds of rows; here the additions are as heavy as a cluster.
    """
    value, items = float(gap.mean()), int(codes.max()) + 1
    if items < 2:
        return Bounded(value, None, None), None
    # The two extra clusters are as heavy as a cluster here; their squares add up to one row's.
    weight = mean_size(codes)
    total = len(gap) + 2 * weight
    centre = float(gap.sum()) / total
    extra = weight * (np.array([0.5, -0.5]) * 2**0.5 - centre)
    sums = np.append(np.bincount(codes, weights=gap - centre), extra)
    variance = len(sums) / (len(sums) - 1) * float(sums @ sums) / total**2
    if probability is not None:
        variance = max(variance, float(probability @ (1 - probability)) / len(gap) ** 2)
    error = variance**0.5
    half = t_quantile(_CONFIDENCE, freedom=items + 1) * error
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    p_value = float(2 * stats.t.sf(abs(centre) / error, items + 1))
    return Bounded(value, min(low, value), max(high, value)), p_value
