"""Whether probabilities hold: the CORP curve, the parts of the Brier score, calibration errors.

Every error stands beside the value that a perfectly calibrated classifier would get on the same
probabilities, since none of them is zero on finite data.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from nsgauge.errors import StatisticsError
from nsgauge.eval.agreement import check_probability
from nsgauge.eval.clusters import Clusters, cluster_codes
from nsgauge.eval.corp import ReliabilityCurve, corp
from nsgauge.eval.differences import mean_difference
from nsgauge.eval.intervals import Bounded
from nsgauge.eval.smooth import CELLS_OF_UNIT, cell_of, smooth_ece
from nsgauge.eval.tally import (
    Positives,
    Tally,
    calibrated_draws,
    debiased_l2,
    equal_mass_bins,
    expected_calibration_error,
    tally,
)

_HISTOGRAM_BINS = 15
_SIGNS = np.array([-1.0, 1.0])
_SIGNS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationError:
    """One error beside what chance alone would give.

    Attributes:
        value: On the labels as they are.
        null: Its mean if every probability were exactly right.
        null_high: The 95th percentile likewise.
        p_value: How often chance alone gives as much or more, in (0, 1].
    """

    value: float
    null: float
    null_high: float
    p_value: float

    @property
    def excess(self) -> float:
        """How much of the error chance doesn't explain."""
        return self.value - self.null


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Rows of similar probability; bins hold about equally many rows."""

    low: float
    high: float
    mean_probability: float
    positive_share: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How far the probabilities of one axis hold against a reference.

    Attributes:
        rows: Rows compared.
        positives: Of those, positive by the reference.
        mean_probability: What the classifier expects of a row.
        mean_excess: Mean probability less the share of positives, with its 95% interval.
        curve: The CORP curve with its band.
        bins: The rows in bins of equal mass.
        brier: Mean squared error: `mcb - dsc + unc`.
        mcb: Miscalibration, the part of it that recalibration would remove.
        dsc: Discrimination, the part that the recalibrated probabilities explain.
        unc: Uncertainty, the Brier score of the base rate.
        smooth_ece: Smooth calibration error.
        debiased_l2: Debiased L2 error over 15 bins of equal mass; may be negative.
        ece15: Classical ECE over 15 bins of equal width.
        resamples: Draws behind each null value and the band.
        gridded: Whether probabilities were rounded to multiples of 1/5000 (more distinct ones).
    """

    rows: int
    positives: int
    mean_probability: float
    mean_excess: Bounded
    curve: ReliabilityCurve
    bins: tuple[ReliabilityBin, ...]
    brier: float
    mcb: CalibrationError
    dsc: float
    unc: float
    smooth_ece: CalibrationError
    debiased_l2: CalibrationError
    ece15: CalibrationError
    resamples: int
    gridded: bool


def reliability(
    probability: Float[np.ndarray, " rows"],
    *,
    positive: Bool[np.ndarray, " rows"],
    clusters: Clusters | None = None,
    seed: int,
    resamples: int = 400,
) -> Reliability:
    """Measure the calibration of one axis; the same for any order of the rows.

    Args:
        probability: Of the positive class, in [0, 1]; never logits.
        positive: The reference's answer; rows without one are left out beforehand.
        clusters: Item ids. They widen the interval of `mean_excess` and the null of `smooth_ece`,
            which then flips the residuals of whole items; the other nulls take rows as independent.
        seed: Of the resampling.
        resamples: Draws from a perfectly calibrated world; at least 20.

    Raises:
        StatisticsError: there are no rows.
        ValueError: a probability outside [0, 1], or too few resamples.

    Source: named in `corp`, `smooth` and `tally`, where each measure is computed.
    """
    if not len(probability):
        raise StatisticsError(
            "no row has both a probability and an answer: calibration is undefined"
        )
    if resamples < 20:
        raise ValueError(f"resamples must be at least 20 to say anything, got {resamples}")
    check_probability(probability)
    probability = probability.astype(np.float64)
    generator = np.random.default_rng(seed)
    counts = tally(probability, positive=positive)
    codes = cluster_codes(clusters, rows=len(probability))
    null = calibrated_draws(counts, draws=resamples, generator=generator)
    drawn = np.concatenate([counts.positives[None], null])
    curve, parts = corp(counts, positives=drawn)
    smooth = smooth_ece(_masses(counts, positives=drawn))
    if codes.max() + 1 < len(codes):
        residual = positive - counts.probability[counts.value_of_row]
        flipped = _flipped_masses(
            residual, counts=counts, codes=codes, draws=resamples, generator=generator
        )
        smooth = np.append(smooth[:1], smooth_ece(flipped))
    return Reliability(
        rows=len(probability),
        positives=int(positive.sum()),
        mean_probability=float(probability.mean()),
        mean_excess=mean_difference(probability - positive, codes=codes, probability=probability)[
            0
        ],
        curve=curve,
        bins=_bins(counts),
        brier=float(parts.score[0]),
        mcb=_against_null(parts.mcb),
        dsc=float(parts.dsc[0]),
        unc=float(parts.unc[0]),
        smooth_ece=_against_null(smooth),
        debiased_l2=_against_null(debiased_l2(counts, positives=drawn)),
        ece15=_against_null(expected_calibration_error(counts, positives=drawn)),
        resamples=resamples,
        gridded=counts.gridded,
    )


def _against_null(values: Float[np.ndarray, " draws"]) -> CalibrationError:
    """The first value against all others."""
    value, null = float(values[0]), values[1:]
    return CalibrationError(
        value=value,
        null=float(null.mean()),
        null_high=float(np.quantile(null, 0.95)),
        p_value=(1 + int((null >= value).sum())) / (1 + len(null)),
    )


def _masses(counts: Tally, *, positives: Positives) -> Float[np.ndarray, "draws grid"]:
    """Residuals of each draw, summed by cell of [0, 1], over the number of rows."""
    cells = cell_of(counts.probability)
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    masses = np.zeros((len(positives), CELLS_OF_UNIT))
    residual = positives - counts.rows * counts.probability
    masses[:, cells[starts]] = np.add.reduceat(residual, starts, axis=1) / counts.total
    return masses


def _flipped_masses(
    residual: Float[np.ndarray, " rows"],
    *,
    counts: Tally,
    codes: Int[np.ndarray, " rows"],
    draws: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, "draws grid"]:
    """Residuals with the sign of whole clusters drawn at random: no bias, the same dependence.

    Source: the wild bootstrap by clusters of Cameron, Gelbach and Miller 2008.
    """
    cells = cell_of(counts.probability)[counts.value_of_row]
    clusters = int(codes.max()) + 1
    shape = (CELLS_OF_UNIT, clusters)
    by_cell = sparse.coo_array((residual / counts.total, (cells, codes)), shape=shape).tocsr()
    masses = np.empty((draws, CELLS_OF_UNIT))
    step = max(1, _SIGNS_AT_ONCE // clusters)
    for start in range(0, draws, step):
        part = masses[start : start + step]
        part[:] = (by_cell @ generator.choice(_SIGNS, size=(clusters, len(part)))).T
    return masses


def _bins(counts: Tally) -> tuple[ReliabilityBin, ...]:
    bin_of_value = equal_mass_bins(counts, bins=_HISTOGRAM_BINS)
    found = []
    for number in range(int(bin_of_value[-1]) + 1):
        inside = bin_of_value == number
        rows, values = counts.rows[inside], counts.probability[inside]
        found.append(
            ReliabilityBin(
                low=float(values[0]),
                high=float(values[-1]),
                mean_probability=float(rows @ values / rows.sum()),
                positive_share=float(counts.positives[inside].sum() / rows.sum()),
                rows=int(rows.sum()),
            )
        )
    return tuple(found)
