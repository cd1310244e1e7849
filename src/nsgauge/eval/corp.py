"""The CORP reliability curve, its consistency band, and the parts of the Brier score."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import optimize

from nsgauge.eval.tally import Positives, Tally

_BAND_POINTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityCurve:
    """The share of positives as a rising function of the probability.

    Attributes:
        probability: Corners of the curve, ascending; it is linear between them.
        positive_share: The curve at its corners: the isotonic estimate.
        band_at: Probabilities at which the band is given, ascending.
        band_low: Lower end of the 90% consistency band: where a calibrated curve would lie.
        band_high: Upper end.
    """

    probability: Float[np.ndarray, " corners"]
    positive_share: Float[np.ndarray, " corners"]
    band_at: Float[np.ndarray, " points"]
    band_low: Float[np.ndarray, " points"]
    band_high: Float[np.ndarray, " points"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrierParts:
    """Brier scores of the labels (first) and of resampled ones: `score = mcb - dsc + unc`.

    Attributes:
        score: Mean squared error of the probabilities.
        mcb: Miscalibration, the part that recalibration removes.
        dsc: Discrimination, the part that the recalibrated probabilities explain.
        unc: Uncertainty, the score of the base rate.
    """

    score: Float[np.ndarray, " draws"]
    mcb: Float[np.ndarray, " draws"]
    dsc: Float[np.ndarray, " draws"]
    unc: Float[np.ndarray, " draws"]


def corp(counts: Tally, *, positives: Positives) -> tuple[ReliabilityCurve, BrierParts]:
    """The curve of the labels with the band of the other draws, and the decomposition of them all.

    Args:
        counts: The rows.
        positives: The labels' positives, then those of draws from a calibrated world.

    Source: Dimitriadis, Gneiting and Jordan 2021, "Stable reliability diagrams for probabilistic
    classifiers": pool-adjacent-violators on distinct probabilities, score decomposition.
    """
    fitted = np.stack([_isotonic(counts, positives=row) for row in positives])
    at = _spread(len(counts.rows), weights=counts.rows)
    band = np.quantile(fitted[1:, at], [0.05, 0.95], axis=0)
    corner = _corners(fitted[0])
    curve = ReliabilityCurve(
        probability=counts.probability[corner],
        positive_share=fitted[0, corner],
        band_at=counts.probability[at],
        band_low=band[0],
        band_high=band[1],
    )
    score = _brier(counts, positives=positives, forecast=counts.probability)
    recalibrated = _brier(counts, positives=positives, forecast=fitted)
    share = positives.sum(axis=1) / counts.total
    unc = share * (1 - share)
    parts = BrierParts(score=score, mcb=score - recalibrated, dsc=unc - recalibrated, unc=unc)
    return curve, parts


def _isotonic(
    counts: Tally, *, positives: Float[np.ndarray, " values"]
) -> Float[np.ndarray, " values"]:
    """The rising curve nearest to the shares; rows that share a probability are one point."""
    fit = optimize.isotonic_regression(positives / counts.rows, weights=counts.rows)
    return np.asarray(np.clip(fit.x, 0.0, 1.0))


def _brier(
    counts: Tally, *, positives: Positives, forecast: Float[np.ndarray, "*draws values"]
) -> Float[np.ndarray, " draws"]:
    squared = positives * (1 - forecast) ** 2 + (counts.rows - positives) * forecast**2
    return np.asarray(squared.sum(axis=1) / counts.total)


def _corners(curve: Float[np.ndarray, " values"]) -> Bool[np.ndarray, " values"]:
    """Where a step begins or ends."""
    steps = np.diff(curve) != 0
    return np.asarray(np.append(True, steps) | np.append(steps, True))


def _spread(values: int, *, weights: Float[np.ndarray, " values"]) -> Int[np.ndarray, " points"]:
    """Some of the values: the ends, and the rest so that equally many rows lie between."""
    middle = (np.cumsum(weights) - weights / 2) / weights.sum()
    wanted = np.searchsorted(middle, np.linspace(0, 1, _BAND_POINTS))
    return np.unique(np.append(wanted.clip(0, values - 1), [0, values - 1]))
