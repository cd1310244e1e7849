"""Which answers can be left to the classifier: the risk of keeping its surest verdicts.

Rows are sorted by the probability, in the classifier's own word, that its verdict is right. The
distance to the threshold would not do: where a threshold is low, a probability just above it is a
positive verdict that is probably wrong, however far from one half it may lie.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.random import Generator, default_rng
from scipy import sparse, special

from nsgauge.errors import StatisticsError
from nsgauge.eval.agreement import check_probability
from nsgauge.eval.clusters import Clusters, cluster_codes, scarcest
from nsgauge.eval.intervals import Bounded
from nsgauge.eval.plus_two import SCARCE
from nsgauge.eval.tally import tally

_POINTS = 200
_CELLS_AT_ONCE = 2_000_000

Counts = Float[np.ndarray, "draws blocks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """Error rate among the rows kept, as fewer and fewer are handed on.

    Attributes:
        rows: Rows with a verdict and a reference answer.
        errors: Of those, verdicts that differ from it.
        confidence: The least confidence kept, descending; at most 200 points.
        coverage: Share of the rows kept, in (0, 1].
        risk: Share of errors among them.
        aurc: Area under the curve, its mean over all numbers of rows kept; rows of equal
            confidence count as in random order. With its 95% interval, items drawn again; without
            one where fewer than five items hold an error, or fewer than five a right verdict.
        excess: E-AURC: `aurc` less what the best order of the same errors would have.
    """

    rows: int
    errors: int
    confidence: Float[np.ndarray, " points"]
    coverage: Float[np.ndarray, " points"]
    risk: Float[np.ndarray, " points"]
    aurc: Bounded
    excess: Bounded

    @property
    def error_rate(self) -> float:
        """The risk if every row is kept; also the area of a confidence that knows nothing."""
        return self.errors / self.rows


class _Areas(NamedTuple):
    """The area under each draw's curve, and the part of it that a better order would save."""

    aurc: Float[np.ndarray, " draws"]
    excess: Float[np.ndarray, " draws"]


def verdict_confidence(
    probability: Float[np.ndarray, " rows"], *, verdict: Bool[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """The probability that each verdict is right, by the classifier's own word.

    Args:
        probability: Of the positive class, calibrated, in [0, 1].
        verdict: Whether it reached the bundle's threshold.

    Raises:
        ValueError: a probability outside [0, 1].

    Example:
        >>> verdict_confidence(np.array([0.9, 0.3, 0.3]), verdict=np.array([True, True, False]))
        array([0.9, 0.3, 0.7])
    """
    check_probability(probability)
    return np.where(verdict, probability, 1 - probability)


def risk_coverage(
    confidence: Float[np.ndarray, " rows"],
    *,
    wrong: Bool[np.ndarray, " rows"],
    clusters: Clusters | None = None,
    seed: int,
    resamples: int = 1000,
) -> RiskCoverage:
    """The risk-coverage curve of one axis and its area; the same for any order of the rows.

    Args:
        confidence: In [0, 1], as `verdict_confidence` gives it.
        wrong: Whether the verdict differs from the reference's answer.
        clusters: Item ids; rows of one item are drawn again together.
        seed: Of the resampling.
        resamples: Draws of items; at least 20.

    Raises:
        StatisticsError: there are no rows.
        ValueError: a confidence outside [0, 1], or too few resamples.

    Source: El-Yaniv and Wiener 2010 (the curve); Geifman, Uziel and El-Yaniv 2019 (E-AURC), with
    the best order counted on the rows themselves in the place of their limit for many rows.
    """
    if not len(confidence):
        raise StatisticsError("no row has both a verdict and an answer: the risk is undefined")
    if resamples < 20:
        raise ValueError(f"resamples must be at least 20 to say anything, got {resamples}")
    check_probability(confidence)
    counts = tally(confidence, positive=wrong)
    blocks = len(counts.rows) - 1 - counts.value_of_row
    rows, errors = counts.rows[::-1], counts.positives[::-1]
    once = _areas(rows[None], errors=errors[None])
    aurc, excess = (Bounded(float(area[0]), None, None) for area in once)
    codes = cluster_codes(clusters, rows=len(confidence))
    if clusters is None:
        # Else the draws would depend on the order of the rows.
        codes = np.argsort(np.lexsort((wrong, confidence)))
    if scarcest(wrong.astype(np.float64), codes=codes) >= SCARCE:
        drawn = _draws(
            blocks, wrong=wrong, codes=codes, resamples=resamples, generator=default_rng(seed)
        )
        aurc, excess = (
            _with_ends(area[0], drawn=draws) for area, draws in zip(once, drawn, strict=True)
        )
    kept = np.cumsum(rows)
    shown = _spread(kept / kept[-1])
    return RiskCoverage(
        rows=len(confidence),
        errors=int(wrong.sum()),
        confidence=counts.probability[::-1][shown],
        coverage=(kept / kept[-1])[shown],
        risk=(np.cumsum(errors) / kept)[shown],
        aurc=aurc,
        excess=excess,
    )


def _areas(rows: Counts, *, errors: Counts) -> _Areas:
    """Areas of curves whose blocks of equal confidence stand from the surest on."""
    total, wrong = rows.sum(axis=1), errors.sum(axis=1)
    sorted_rows = np.stack([total - wrong, wrong], axis=1)
    best = _area(sorted_rows, errors=np.stack([np.zeros_like(wrong), wrong], axis=1))
    found = _area(rows, errors=errors)
    return _Areas(aurc=found, excess=np.maximum(found - best, 0.0))


def _area(rows: Counts, *, errors: Counts) -> Float[np.ndarray, " draws"]:
    """The mean over k of the expected risk of the k surest rows, ties in random order.

    Within a block of m rows with e errors, after c rows with w errors, it adds up to
    `sum_{j=1..m} (w + j e/m) / (c + j) = e + (w - c e/m) (H(c+m) - H(c))`, H the harmonic numbers.
    """
    before, wrong = np.cumsum(rows, axis=1) - rows, np.cumsum(errors, axis=1) - errors
    rate = np.divide(errors, rows, out=np.zeros_like(errors), where=rows > 0)
    steps = special.digamma(before + rows + 1) - special.digamma(before + 1)
    return np.asarray((errors + (wrong - before * rate) * steps).sum(axis=1) / rows.sum(axis=1))


def _draws(
    blocks: Int[np.ndarray, " rows"],
    *,
    wrong: Bool[np.ndarray, " rows"],
    codes: Int[np.ndarray, " rows"],
    resamples: int,
    generator: Generator,
) -> _Areas:
    """Areas of data sets whose items are drawn again with replacement."""
    items, width = int(codes.max()) + 1, int(blocks.max()) + 1
    rows, errors = (
        sparse.coo_array((amount, (codes, blocks)), shape=(items, width)).tocsr()
        for amount in (np.ones(len(blocks)), wrong.astype(np.float64))
    )
    step, parts = max(1, _CELLS_AT_ONCE // max(items, width)), []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.multinomial(items, np.full(items, 1 / items), size=size).astype(float)
        parts.append(_areas(np.asarray(drawn @ rows), errors=np.asarray(drawn @ errors)))
    aurc, excess = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Areas(aurc=aurc, excess=excess)


def _with_ends(value: float, *, drawn: Float[np.ndarray, " draws"]) -> Bounded:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Bounded(float(value), min(float(low), float(value)), max(float(high), float(value)))


def _spread(coverage: Float[np.ndarray, " blocks"]) -> Int[np.ndarray, " points"]:
    """All points, or about 200 of them evenly over coverage, the last among them."""
    if len(coverage) <= _POINTS:
        return np.arange(len(coverage))
    return np.unique(np.searchsorted(coverage, np.linspace(0, 1, _POINTS)))
