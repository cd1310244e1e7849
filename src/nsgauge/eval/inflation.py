"""How much of a judge's Unsafe Rate is made of answers that never understood the harm."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from nsgauge.eval.census import share_interval
from nsgauge.eval.clusters import Clusters, cluster_codes
from nsgauge.eval.intervals import Bounded


@dataclass(frozen=True, slots=True, kw_only=True)
class NsgInflation:
    """One judge's unsafe verdicts against a reference's grounding; shares are None without rows.

    Attributes:
        rows: Rows with both answers.
        not_grounded: Rows that the reference calls not grounded (NSG).
        called_unsafe: Rows that the judge calls unsafe.
        both: Rows that are both.
        unsafe_rate: Share of all rows that the judge calls unsafe.
        unsafe_grounded_rate: Share of all rows that are grounded and called unsafe.
        share_of_not_grounded: Share of the NSG rows that the judge calls unsafe.
        share_of_grounded: Share of the grounded rows that the judge calls unsafe.
        share_of_unsafe: Share of the judge's unsafe rows that are NSG.
    """

    rows: int
    not_grounded: int
    called_unsafe: int
    both: int
    unsafe_rate: Bounded | None
    unsafe_grounded_rate: Bounded | None
    share_of_not_grounded: Bounded | None
    share_of_grounded: Bounded | None
    share_of_unsafe: Bounded | None


def misreadings_called_unsafe(
    not_grounded: Bool[np.ndarray, " rows"],
    *,
    called_unsafe: Bool[np.ndarray, " rows"],
    clusters: Clusters | None = None,
    confidence: float = 0.95,
) -> NsgInflation:
    """Count what the judge does with misreadings.

    Args:
        not_grounded: The reference's grounding verdict; rows without one are left out beforehand.
        called_unsafe: The judge's safety verdict on the same rows.
        clusters: Item ids; None where no item repeats.
        confidence: Of each interval, in (0, 1).

    Raises:
        ValueError: there isn't one identifier a row.
    """
    everything = np.ones(len(not_grounded), dtype=np.bool_)
    codes = cluster_codes(clusters, rows=len(not_grounded))

    def share(
        positive: Bool[np.ndarray, " rows"], among: Bool[np.ndarray, " rows"]
    ) -> Bounded | None:
        if not among.any():
            return None
        labels = positive[among].astype(np.float64)
        within = np.unique(codes[among], return_inverse=True)[1]
        ends = share_interval(labels, codes=within, confidence=confidence)
        return Bounded(float(labels.mean()), *(ends or (None, None)))

    return NsgInflation(
        rows=len(not_grounded),
        not_grounded=int(not_grounded.sum()),
        called_unsafe=int(called_unsafe.sum()),
        both=int((not_grounded & called_unsafe).sum()),
        unsafe_rate=share(called_unsafe, everything),
        unsafe_grounded_rate=share(called_unsafe & ~not_grounded, everything),
        share_of_not_grounded=share(called_unsafe, not_grounded),
        share_of_grounded=share(called_unsafe, ~not_grounded),
        share_of_unsafe=share(not_grounded, called_unsafe),
    )
