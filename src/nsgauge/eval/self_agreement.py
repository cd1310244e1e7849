"""A judge against itself: how often its votes on one triple differ, on one axis.

The pairs of votes on a triple weigh as one triple, however many votes it has.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from nsgauge.eval.census import share_interval
from nsgauge.eval.chance import beyond_chance
from nsgauge.eval.clusters import Clusters, cluster_codes
from nsgauge.eval.intervals import Bounded


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfAgreement:
    """One judge on one axis.

    Attributes:
        triples: Triples with two answered votes or more.
        votes: Answered votes on them.
        flip_rate: Share of the pairs of votes on a triple that differ, averaged over triples.
        kappa: Fleiss' kappa between the votes; None where all of them say the same.
        ac1: Gwet's AC1 between the votes.
    """

    triples: int
    votes: int
    flip_rate: Bounded
    kappa: Bounded | None
    ac1: Bounded | None


def self_agreement(
    votes: Int[np.ndarray, "rows 2"],
    *,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
) -> SelfAgreement | None:
    """How far a judge says the same again; None where it answered no triple twice.

    Args:
        votes: Per triple, how many answered votes are negative, and how many positive.
        clusters: Item ids; intervals then allow for triples that share an item.
        confidence: Of the intervals, in (0, 1).

    Raises:
        ValueError: there isn't one identifier a row.

    Example:
        >>> found = self_agreement(np.array([[3, 0], [1, 2], [1, 0]]))
        >>> found.triples, found.votes, round(found.flip_rate.value, 3)
        (2, 6, 0.333)

    Source: Fleiss 1971 (kappa) and Gwet 2008 (AC1) for several exchangeable raters, with triples
    weighted alike; the delta method summed by cluster. Flip rate: Wilson's interval, which is on
    the wide side for averages of pairs.
    """
    repeated = votes.sum(axis=1) >= 2
    if not repeated.any():
        return None
    codes = cluster_codes(clusters, rows=len(votes))[repeated]
    codes = np.unique(codes, return_inverse=True)[1].reshape(-1)
    negatives, positives = votes[repeated].T.astype(np.float64)
    count = negatives + positives
    flips = 2 * negatives * positives / (count * (count - 1))
    share = positives / count
    mean = float(share.mean())
    differ = 2 * mean * (1 - mean)
    slope = 2 * (1 - 2 * mean) * (share - mean)
    interval = share_interval(flips, codes=codes, confidence=confidence)
    return SelfAgreement(
        triples=len(flips),
        votes=int(count.sum()),
        flip_rate=Bounded(float(flips.mean()), *(interval or (None, None))),
        kappa=beyond_chance(
            1 - flips, chance=1 - differ, slope=-slope, codes=codes, confidence=confidence
        ),
        ac1=beyond_chance(
            1 - flips, chance=differ, slope=slope, codes=codes, confidence=confidence
        ),
    )
