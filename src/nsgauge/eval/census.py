"""Rates of a pool that the judge saw whole: known for the pool, estimated for items like these."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from nsgauge.eval.clusters import Clusters, cluster_codes, design_effect, scarcest
from nsgauge.eval.intervals import Interval, normal_quantile, t_quantile, wilson
from nsgauge.eval.plus_two import SCARCE, correlation
from nsgauge.eval.rate_table import (
    RateEstimate,
    RateStatus,
    RateTable,
    no_rows,
    rate_table,
)
from nsgauge.protocol import Rate, rate_weights


def census_rates(
    labels: Float[np.ndarray, "rows cells"],
    *,
    naive: Float[np.ndarray, "rows cells"] | None,
    clusters: Clusters | None,
    confidence: float,
) -> RateTable:
    """The rates of a pool that the judge saw whole: the finite rate is known, its width is zero.

    Args:
        labels: The judge's cells, one-hot or vote shares.
        naive: The classifier's cells of the same rows; None without.
        clusters: Item ids; the superpopulation interval then allows for rows that share an item.
        confidence: Of the superpopulation interval, in (0, 1).
    """
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
