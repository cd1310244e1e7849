"""Rows that share an item aren't independent: sums, variances and effects by cluster."""

import numpy as np
from jaxtyping import Float, Int, Shaped

Clusters = Shaped[np.ndarray, " rows"]
"""One identifier a row (an item id, or any other value that sorts)."""

DIGITS = 9
"""Of a count by weights; what comes after them depends on the order in which rows are added up."""


def cluster_codes(clusters: Clusters | None, *, rows: int) -> Int[np.ndarray, " rows"]:
    """Clusters numbered from zero; without clusters every row is its own.

    Raises:
        ValueError: there isn't one identifier a row.
    """
    if clusters is None:
        return np.arange(rows)
    clusters = np.asarray(clusters)
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


def scarcest(
    positive: Float[np.ndarray, " rows"],
    *,
    codes: Int[np.ndarray, " rows"],
    weights: Float[np.ndarray, " rows"] | None = None,
) -> float:
    """How many clusters hold a positive row, or how many hold a negative one: the fewer.

    With weights it is the number of equally weighted clusters that would say as much, to nine
    digits: five equal ones are five, in whatever order their rows come.

    Args:
        positive: In [0, 1].
        codes: The row's cluster, numbered from zero.
        weights: Above 0; None where all rows weigh the same.
    """
    count = int(codes.max()) + 1
    most, least = np.zeros(count), np.ones(count)
    np.maximum.at(most, codes, positive)
    np.minimum.at(least, codes, positive)
    if weights is None:
        return float(min(most.sum(), (1 - least).sum()))
    each = np.bincount(codes, weights=weights)
    fewer = min(_effective(each, shares=most), _effective(each, shares=1 - least))
    return round(fewer, DIGITS)


def _effective(
    weights: Float[np.ndarray, " clusters"], *, shares: Float[np.ndarray, " clusters"]
) -> float:
    """Kish's effective number of the clusters, each counted by its share."""
    spread = float((weights**2) @ shares)
    return float(weights @ shares) ** 2 / spread if spread > 0 else 0.0
