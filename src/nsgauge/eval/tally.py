"""Probabilities and labels counted by distinct probability: what calibration is measured on.

Every measure here takes the positives of one data set or of many resampled ones (first axis), so
that a value and its null value come out of the same code.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

GRID = 5_000
"""Above this many distinct probabilities they are rounded to multiples of 1/GRID."""

Positives = Float[np.ndarray, "draws values"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How often each probability was given, and how often the answer was positive.

    Attributes:
        probability: Distinct, ascending, in [0, 1].
        rows: Rows with that probability, each at least 1.
        positives: Of those, the positive ones.
        value_of_row: Which of the distinct values each row has.
        gridded: Whether the probabilities were rounded to bound memory and time.
    """

    probability: Float[np.ndarray, " values"]
    rows: Float[np.ndarray, " values"]
    positives: Float[np.ndarray, " values"]
    value_of_row: Int[np.ndarray, " rows"]
    gridded: bool

    @property
    def total(self) -> float:
        """All rows."""
        return float(self.rows.sum())


def tally(probability: Float[np.ndarray, " rows"], *, positive: Bool[np.ndarray, " rows"]) -> Tally:
    """Count the rows; the order of the rows doesn't matter."""
    values, codes = np.unique(probability.astype(np.float64), return_inverse=True)
    gridded = len(values) > GRID
    if gridded:
        values, codes = np.unique(np.round(probability * GRID) / GRID, return_inverse=True)
    return Tally(
        probability=values,
        rows=np.bincount(codes).astype(np.float64),
        positives=np.bincount(codes, weights=positive),
        value_of_row=codes.reshape(-1),
        gridded=gridded,
    )


def calibrated_draws(
    counts: Tally, *, draws: int, generator: np.random.Generator
) -> Float[np.ndarray, "draws values"]:
    """Positives as they would fall if every probability were exactly right."""
    shape = (draws, len(counts.rows))
    drawn = generator.binomial(counts.rows.astype(np.int64), counts.probability, size=shape)
    return drawn.astype(np.float64)


def expected_calibration_error(
    counts: Tally, *, positives: Positives, bins: int = 15
) -> Float[np.ndarray, " draws"]:
    """ECE over bins of equal width: shown because it is asked for, biased upwards on small data.

    Source: Naeini, Cooper and Hauskrecht 2015.
    """
    bin_of_value = np.minimum((counts.probability * bins).astype(np.int64), bins - 1)
    gaps = _by_bin(positives - counts.rows * counts.probability, bin_of_value)
    return np.asarray(np.abs(gaps).sum(axis=1) / counts.total)


def debiased_l2(
    counts: Tally, *, positives: Positives, bins: int = 15
) -> Float[np.ndarray, " draws"]:
    """Root of the debiased squared error over bins of equal mass; negative below what chance gives.

    Source: Kumar, Liang and Ma 2019, definition 5.1 ("debiased estimator").
    """
    bin_of_value = equal_mass_bins(counts, bins=bins)
    rows = _by_bin(counts.rows[None], bin_of_value)
    share = _by_bin(positives, bin_of_value) / rows
    mean = _by_bin((counts.rows * counts.probability)[None], bin_of_value) / rows
    noise = share * (1 - share) / np.maximum(rows - 1, 1)
    squared = ((rows / counts.total) * ((mean - share) ** 2 - noise)).sum(axis=1)
    return np.asarray(np.sign(squared) * np.sqrt(np.abs(squared)))


def equal_mass_bins(counts: Tally, *, bins: int) -> Int[np.ndarray, " values"]:
    """The bin of each value, ascending from zero without gaps; equal values stay together."""
    middle = (np.cumsum(counts.rows) - counts.rows / 2) / counts.total
    wanted = np.minimum((middle * bins).astype(np.int64), bins - 1)
    return np.unique(wanted, return_inverse=True)[1].reshape(-1)


def _by_bin(
    amounts: Float[np.ndarray, "draws values"], bin_of_value: Int[np.ndarray, " values"]
) -> Float[np.ndarray, "draws bins"]:
    """Sums over the values of each bin that has any; the values are sorted by bin."""
    starts = np.flatnonzero(np.diff(bin_of_value, prepend=-1))
    return np.asarray(np.add.reduceat(amounts, starts, axis=1))
