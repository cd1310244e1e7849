"""The generalised regression point of the four cells: additive, and exact at a census."""

import numpy as np
from jaxtyping import Float

from nsgauge.eval.plus_two import FLAT

# Directions of the probabilities that hardly vary among the judged rows carry no slope.
_RANK_TOLERANCE = 1e-4


def greg_cells(
    labels: Float[np.ndarray, "judged cells"],
    *,
    judged: Float[np.ndarray, "judged cells"],
    unjudged: Float[np.ndarray, "unjudged cells"],
) -> Float[np.ndarray, " cells"]:
    """The share of each cell in the pool; they sum to one.

    The judge's labels are regressed on the classifier's probabilities over the judged rows; the
    fit's mean over the unjudged rows is projected on the simplex and joined with what was judged.
    With an intercept this equals `xbar' B`; it is linear in the labels, so rates that are sums of
    cells stay sums of estimates.

    Args:
        labels: The judge's cells, one-hot or vote shares.
        judged: The classifier's cells on the same rows.
        unjudged: The classifier's cells on the rest of the pool; at least one row.

    Source: Sarndal, Swensson and Wretman 1992, chapter 6.
    """
    judged_mean, label_mean = judged.mean(axis=0), labels.mean(axis=0)
    spread = np.concatenate([judged, unjudged]).std(axis=0)
    scale = np.where(spread > FLAT, spread, np.inf)
    design = (judged - judged_mean) / scale
    slopes = np.linalg.lstsq(design, labels - label_mean, rcond=_RANK_TOLERANCE)[0]
    rest = project_on_simplex(label_mean + (unjudged.mean(axis=0) - judged_mean) / scale @ slopes)
    joined = len(labels) * label_mean + len(unjudged) * rest
    return np.asarray(joined / joined.sum())


def project_on_simplex(point: Float[np.ndarray, " cells"]) -> Float[np.ndarray, " cells"]:
    """The nearest point with no negative part and sum one.

    Example:
        >>> project_on_simplex(np.array([0.75, 0.5, -0.25, 0.0])).tolist()
        [0.625, 0.375, 0.0, 0.0]

    Source: Held, Wolfe and Crowder 1974.
    """
    descending = np.sort(point)[::-1]
    excess = (np.cumsum(descending) - 1) / np.arange(1, len(point) + 1)
    threshold = excess[np.flatnonzero(descending > excess)[-1]]
    inside = np.maximum(point - threshold, 0.0)
    return np.asarray(inside / inside.sum())
