"""The generalised regression point of the four cells: additive, and exact at a census."""

import numpy as np
from jaxtyping import Float

from nsgauge.eval.draws import Draw
from nsgauge.eval.plus_two import FLAT
from nsgauge.eval.rates.one_hop import stratum_means, within

# Directions of the probabilities that hardly vary among the judged rows carry no slope.
_RANK_TOLERANCE = 1e-4


def greg_cells(
    labels: Float[np.ndarray, "judged cells"],
    *,
    signals: Float[np.ndarray, "judged signals"],
    rest: Float[np.ndarray, " signals"],
    draw: Draw,
) -> Float[np.ndarray, " cells"]:
    """The share of each cell in the pool; they sum to one.

    The labels are regressed on the signals over the judged rows; the fit's mean over the unjudged
    rows is projected on the simplex and joined with what was judged. With an intercept this equals
    `xbar' B`; it is linear in the labels, so rates that are sums of cells stay sums of estimates.
    Each stratum has its own intercept, and a judged row counts as often as it stands for rows that
    weren't judged.

    Args:
        labels: The judge's cells, one-hot or vote shares.
        signals: What is known of the same rows without the judge: the classifier's cells. No
            column where nothing is.
        rest: Sum of each signal over the rows that weren't judged.
        draw: How the judged rows were drawn.

    Source: Sarndal, Swensson and Wretman 1992, chapter 6.
    """
    left = draw.left.sum()
    total = np.array([draw.left @ stratum_means(column, draw=draw) for column in labels.T])
    if signals.shape[1]:
        scale = np.array([max(float(column.std()), FLAT) for column in signals.T])
        roots = np.sqrt(draw.stands_for)
        design = np.stack([roots * within(column, draw=draw) for column in signals.T], axis=1)
        answers = np.stack([roots * within(column, draw=draw) for column in labels.T], axis=1)
        slopes = np.linalg.lstsq(design / scale, answers, rcond=_RANK_TOLERANCE)[0]
        known = [draw.left @ stratum_means(column, draw=draw) for column in signals.T]
        total += ((rest - np.array(known)) / scale) @ slopes
    joined = labels.sum(axis=0) + left * project_on_simplex(total / left)
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
