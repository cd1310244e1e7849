"""Rates of a pool that the judge saw whole: known for the pool, estimated for items like these."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from nsgauge.eval.clusters import Clusters, cluster_codes, design_effect, scarcest
from nsgauge.eval.intervals import Interval, check_confidence, normal_quantile, t_quantile, wilson
from nsgauge.eval.plus_two import SCARCE, correlation
from nsgauge.eval.rate_table import (
    RateEstimate,
    RateStatus,
    RateTable,
    clean_cells,
    no_rows,
    rate_table,
)
from nsgauge.protocol import Rate, rate_weights


def judge_rates(
    cells: Float[np.ndarray, "rows cells"],
    *,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
) -> RateTable:
    """The rates of a pool that the judge saw whole: the finite rate is known, its width is zero.

    Args:
        cells: The judge's cells, one-hot or vote shares.
        clusters: Item ids; the superpopulation interval then allows for rows that share an item.
        confidence: Of the superpopulation interval, in (0, 1).

    Raises:
        ValueError: cells that aren't four shares that sum to one.
    """
    check_confidence(confidence)
    return census_rates(clean_cells(cells), naive=None, clusters=clusters, confidence=confidence)


def judge_axis_rate(
    positive: Bool[np.ndarray, " rows"] | Float[np.ndarray, " rows"],
    *,
    rate: Rate = Rate.UNSAFE,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
) -> RateEstimate:
    """One rate of a pool that the judge saw whole, from a judge that answers on one axis only.

    Args:
        positive: The judge's label, or the share of its votes in [0, 1].
        rate: What `positive` counts towards.
        clusters: Item ids; None where no item repeats.
        confidence: Of the superpopulation interval, in (0, 1).

    Raises:
        ValueError: a value outside [0, 1], or NaN.
    """
    check_confidence(confidence)
    labels = positive.astype(np.float64)
    if not bool(((labels >= 0) & (labels <= 1)).all()):
        raise ValueError(
            "labels must lie in [0, 1] and none may be NaN: drop unanswered rows first"
        )
    value = float(labels.mean()) if len(labels) else None
    return _known(rate, value=value, labels=labels, clusters=clusters, confidence=confidence)


def census_rates(
    labels: Float[np.ndarray, "rows cells"],
    *,
    naive: Float[np.ndarray, "rows cells"] | None,
    clusters: Clusters | None,
    confidence: float,
) -> RateTable:
    """All rows judged."""
    if len(labels) == 0:
        return rate_table(None, estimate=lambda rate, _: no_rows(rate))

    def estimate(rate: Rate, value: float) -> RateEstimate:
        weights = rate_weights(rate)
        known = _known(
            rate, value=value, labels=labels @ weights, clusters=clusters, confidence=confidence
        )
        if naive is None:
            return known
        shares = naive @ weights
        return replace(
            known,
            naive=float(shares.mean()),
            correlation=correlation(labels @ weights, other=shares),
        )

    return rate_table(labels.mean(axis=0), estimate=estimate)


def _known(
    rate: Rate,
    *,
    value: float | None,
    labels: Float[np.ndarray, " rows"],
    clusters: Clusters | None,
    confidence: float,
) -> RateEstimate:
    """A rate of which every row is labelled."""
    if value is None:
        return no_rows(rate)
    codes = cluster_codes(clusters, rows=len(labels))
    wide = share_interval(labels, codes=codes, confidence=confidence)
    return RateEstimate(
        rate=rate,
        value=value,
        low=value,
        high=value,
        low_super=min(wide.low, value) if wide else None,
        high_super=max(wide.high, value) if wide else None,
        rows=len(labels),
        judged=len(labels),
        positives=round(float(labels.sum())),
        effective=len(labels) / design_effect(labels, codes=codes),
        status=RateStatus.CENSUS,
        note="every row judged" if wide else "every row judged, all of one item",
    )


def share_interval(
    labels: Float[np.ndarray, " rows"], *, codes: Int[np.ndarray, " rows"], confidence: float
) -> Interval | None:
    """For the share among items like these: Wilson at the effective number of rows.

    It is never narrower than Wilson at the real number of rows, and None where all rows are of one
    cluster.

    Source: Dean and Pagano 2015 (Wilson's interval under a cluster design).
    """
    rows, draws = len(labels), int(codes.max()) + 1
    positives = float(np.clip(labels.sum(), 0, rows))
    plain = wilson(positives, rows=rows, quantile=normal_quantile(confidence))
    if draws == rows:
        return plain
    if draws < 2:
        return None
    scarce = scarcest(labels, codes=codes) < SCARCE
    effective = float(draws) if scarce else rows / design_effect(labels, codes=codes)
    quantile = t_quantile(confidence, freedom=draws - 1)
    wide = wilson(positives / rows * effective, rows=effective, quantile=quantile)
    return Interval(min(plain.low, wide.low), max(plain.high, wide.high))
