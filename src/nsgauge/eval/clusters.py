"""Rows that share an item aren't independent: sums, variances and effects by cluster."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

Clusters = Shaped[np.ndarray, " rows"]
"""One identifier a row (an item id, or any other value that sorts)."""


def cluster_codes(clusters: Clusters | None, *, rows: int) -> Int[np.ndarray, " rows"]:
    """Clusters numbered from zero; without clusters every row is its own.

    Raises:
        ValueError: there isn't one identifier a row.
    """
    if clusters is None:
        return np.arange(rows)
    if clusters.shape != (rows,):
        raise ValueError(f"wanted one cluster for each of {rows} rows, got shape {clusters.shape}")
    return np.unique(clusters, return_inverse=True)[1].reshape(-1)


def mean_variance(
    influence: Float[np.ndarray, " rows"], *, codes: Int[np.ndarray, " rows"]
) -> float | None:
    """Variance of an estimate that is a mean of `influence`, by clusters of rows.

    Args:
        influence: What each row adds to the estimate times the number of rows, centred on zero.
        codes: The row's cluster, numbered from zero.

    Returns:
        `G/(G-1) * sum_g (sum_{i in g} influence_i)^2 / rows^2`; None with fewer than two clusters.
    """
    sums = np.bincount(codes, weights=influence)
    if len(sums) < 2:
        return None
    return float(len(sums) / (len(sums) - 1) * (sums**2).sum() / len(influence) ** 2)


def mean_size(codes: Int[np.ndarray, " rows"]) -> float:
    """The mean number of rows in a row's own cluster: `sum m_g^2 / sum m_g`.

    Example:
        >>> mean_size(np.array([0, 0, 0, 1]))
        2.5
    """
    sizes = np.bincount(codes)
    return float((sizes**2).sum() / sizes.sum())


def design_effect(
    positive: Float[np.ndarray, " rows"], *, codes: Int[np.ndarray, " rows"]
) -> float:
    """How many times clustering multiplies the variance of the share, in [1, mean_size].

    One extra positive and one extra negative row keep it defined where all rows agree. It is
    exactly 1 where every cluster is a single row.

    Source: Kish 1965, the ratio of the variance by clusters to the one by rows.
    """
    largest = mean_size(codes)
    if largest == 1:
        return 1.0
    count = int(codes.max()) + 1
    labels = np.append(positive, [1.0, 0.0])
    residual = labels - labels.mean()
    by_cluster = mean_variance(residual, codes=np.append(codes, [count, count + 1]))
    by_row = mean_variance(residual, codes=np.arange(len(labels)))
    if by_cluster is None or by_row is None:
        return largest
    return float(np.clip(by_cluster / by_row, 1.0, largest))


def scarcest(positive: Float[np.ndarray, " rows"], *, codes: Int[np.ndarray, " rows"]) -> float:
    """How many clusters hold a positive row, or how many hold a negative one: the fewer."""
    most, least = np.zeros(int(codes.max()) + 1), np.ones(int(codes.max()) + 1)
    np.maximum.at(most, codes, positive)
    np.minimum.at(least, codes, positive)
    return float(min(most.sum(), (1 - least).sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """How the judged rows were drawn from their pool.

    Attributes:
        codes: The cluster of each judged row, numbered from zero.
        draws: Judged clusters: the number of independent looks at the judge.
        pool_size: Mean number of rows in a row's own cluster, over the whole pool.
        unjudged_ratio: Drawn units over units not drawn; units are clusters where each cluster is
            judged wholly or not at all, else rows.
    """

    codes: Int[np.ndarray, " judged"]
    draws: int
    pool_size: float
    unjudged_ratio: float

    @property
    def judged_size(self) -> float:
        """Mean number of judged rows in a judged row's own cluster."""
        return mean_size(self.codes)


def draw_of(
    *,
    judged: Shaped[np.ndarray, " judged"] | None,
    unjudged: Shaped[np.ndarray, " unjudged"] | None,
    rows: tuple[int, int],
) -> Draw:
    """Describe a draw of single rows, of whole clusters, or of rows that happen to share clusters.

    Args:
        judged: Cluster of each judged row; None together with `unjudged` where rows are alone.
        unjudged: Cluster of each row of the pool that wasn't judged.
        rows: How many rows were judged, and how many were not; both at least 1.

    Raises:
        ValueError: only one of the two is given, or there isn't one identifier a row.
    """
    judged_rows, unjudged_rows = rows
    if (judged is None) != (unjudged is None):
        raise ValueError(
            "clusters are given for the judged or for the unjudged rows only: give both"
        )
    if judged is None or unjudged is None:
        codes = np.arange(judged_rows)
        ratio = judged_rows / unjudged_rows
        return Draw(codes=codes, draws=judged_rows, pool_size=1.0, unjudged_ratio=ratio)
    cluster_codes(judged, rows=judged_rows), cluster_codes(unjudged, rows=unjudged_rows)
    pool = np.unique(np.concatenate([judged, unjudged]), return_inverse=True)[1].reshape(-1)
    drawn, left = np.unique(pool[:judged_rows]), np.unique(pool[judged_rows:])
    whole = not np.intersect1d(drawn, left, assume_unique=True).size
    return Draw(
        codes=np.searchsorted(drawn, pool[:judged_rows]),
        draws=len(drawn),
        pool_size=mean_size(pool),
        unjudged_ratio=len(drawn) / len(left) if whole else judged_rows / unjudged_rows,
    )
