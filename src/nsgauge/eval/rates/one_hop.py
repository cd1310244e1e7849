"""The AC+2 estimate of one rate: from the rows that the judge saw to all that the classifier saw.

The judge's rows get one extra positive and one extra negative, as in Agresti and Coull; the
classifier moves the share by `shrinkage` times the difference between its means over judged and
unjudged rows, as in PPI++. What was judged is known and what wasn't is estimated, so the interval
narrows to the judge's share as the unjudged rows run out. Strata are estimated apart and share the
shrinkage and, by their sizes, the two extra rows; a judged row counts as often as it stands for
rows that weren't judged.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nsgauge.eval.clusters import design_effect
from nsgauge.eval.draws import Draw
from nsgauge.eval.plus_two import Spread, correlation, is_informative, spread_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One rate's labels and classifier shares.

    Attributes:
        positive: The judge's label, in [0, 1]; fractional for vote shares.
        judged: The classifier's probability on the same rows.
        unjudged: The classifier's probability on the rest of the pool; at least one row.
        draw: How the judged rows were drawn; at least two draws.
    """

    positive: Float[np.ndarray, " judged"]
    judged: Float[np.ndarray, " judged"]
    unjudged: Float[np.ndarray, " unjudged"]
    draw: Draw

    @property
    def correlation(self) -> float | None:
        """Between judge and classifier in the strata of the judged rows; None if one is constant.

        A row counts as often as it stands for rows that weren't judged.
        """
        labels, shares = (within(values, draw=self.draw) for values in (self.positive, self.judged))
        return correlation(labels, other=shares, weights=self.draw.stands_for)


def stratum_means(
    values: Float[np.ndarray, " judged"], *, draw: Draw
) -> Float[np.ndarray, " strata"]:
    """The mean of each stratum's rows that weren't judged, as its judged rows have it."""
    return np.asarray(draw.of_judged(draw.stands_for * values) / draw.left)


def within(values: Float[np.ndarray, " judged"], *, draw: Draw) -> Float[np.ndarray, " judged"]:
    """Less the mean of their stratum."""
    return np.asarray(values - stratum_means(values, draw=draw)[draw.strata])


def one_hop(sample: Sample) -> Spread:
    """Estimate and variance of one rate of the pool.

    Source: Agresti and Coull 1998 (two extra rows); Angelopoulos, Duchi and Zrnic 2023 (PPI++);
    Sarndal, Swensson and Wretman 1992, chapters 3 and 6 (variances under a design).
    """
    draw = sample.draw
    rows = len(sample.positive) + int(draw.left.sum())
    heaviness = design_effect(sample.positive, codes=draw.codes)
    rest, variance = _unjudged_part(sample, heaviness=heaviness)
    return spread_of(
        sample.positive,
        draw=draw,
        centre=float(sample.positive.sum()) / rows + rest,
        variance=variance,
        freedom=draw.effective_draws + 2 - len(draw.left),
    )


def _unjudged_part(sample: Sample, *, heaviness: float) -> tuple[float, float]:
    """What the unjudged positives add to the pool's share, and the variance of the pool's share.

    The two extra rows are draws of their own, each as heavy as one draw's worth of rows.
    """
    draw, stands = sample.draw, sample.draw.stands_for
    part = draw.left / draw.left.sum()
    anchor = draw.mean_of_rest(sample.unjudged)
    heavy = heaviness * draw.of_judged(stands**2) / draw.left
    mass = draw.left + 2 * part * heavy
    label_mean = (draw.of_judged(stands * sample.positive) + part * heavy) / mass
    share_mean = (draw.of_judged(stands * sample.judged) + 2 * part * heavy * anchor) / mass
    labels = sample.positive - label_mean[draw.strata]
    shares = sample.judged - share_mean[draw.strata]

    units = draw.units + 2 * part
    total = len(sample.positive) + int(draw.left.sum())
    scale = draw.left / total / mass * np.sqrt(units / (units - 1))
    shrinkage = _shrinkage(sample, covariance=draw.of_judged(stands * labels * shares), scale=scale)
    influence = (scale[draw.strata] * stands) * (labels - shrinkage * shares)
    sums = np.bincount(draw.codes, weights=influence / np.sqrt(draw.missed))
    drift = shrinkage * (anchor - share_mean)
    missed = draw.of_judged(stands**2) / draw.of_judged(stands**2 / draw.missed)
    ends = (1 - label_mean - drift) ** 2 + (label_mean + drift) ** 2
    variance = float(sums @ sums) + float(part @ ((scale * heavy) ** 2 * ends / missed))
    return float(draw.left @ (label_mean + drift)) / total, variance


def _shrinkage(
    sample: Sample,
    *,
    covariance: Float[np.ndarray, " strata"],
    scale: Float[np.ndarray, " strata"],
) -> float:
    """How much of the classifier's difference to take, in [0, 1]; 0 if it tells nothing.

    Args:
        sample: The rows of the pool.
        covariance: Of labels and shares in each stratum, times the rows left in it.
        scale: By how much a row left counts in the estimate.
    """
    draw = sample.draw
    if not is_informative(sample.correlation, draws=draw.effective_draws):
        return 0.0
    rows = draw.of_judged((draw.stands_for > 0).astype(np.float64))
    pool = np.concatenate([sample.judged, sample.unjudged])
    strata = np.concatenate([draw.strata, draw.rest])
    sizes = np.bincount(strata)
    centred = pool - (np.bincount(strata, weights=pool) / sizes)[strata]
    spread = np.bincount(strata, weights=centred**2) / (sizes - 1)
    # Two extra rows in all, so that a stratum with one judged row has a covariance too.
    found = covariance / draw.left * rows / (rows + 2 * draw.left / draw.left.sum() - 1)
    weight = (scale * draw.left) ** 2 / rows
    return float(np.clip(weight @ found / (weight @ spread), 0.0, 1.0))
