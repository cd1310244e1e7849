"""Probability samples of fixed size: inclusion probabilities, and draws that keep to them exactly.

A draw is a function of a seed and the units' own names: no unit's chance depends on its row.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

_DECIMALS = 9
"""A share that is whole but for rounding errors counts as whole."""


def draw_keys(names: Sequence[str], *, salt: str) -> UInt64[np.ndarray, " units"]:
    """Per unit a number, uniform on 0..2^64-1, that its name and the salt alone decide."""
    digests = (hashlib.sha256(f"{salt}:{name}".encode()).digest()[:8] for name in names)
    return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)


def filled(
    weights: Float[np.ndarray, " units"],
    *,
    total: int,
    low: Float[np.ndarray, " units"],
    high: Float[np.ndarray, " units"],
) -> Float[np.ndarray, " units"]:
    """Shares in proportion to the weights, kept between `low` and `high`, that sum to `total`.

    They are `clip(t * weights, low, high)`, where t is such that they sum to `total`.

    Args:
        weights: Above 0.
        total: Between the sum of `low` and that of `high`.
        low: At least 0.
        high: At least `low`.

    Raises:
        ValueError: a weight isn't above 0, or `total` is out of reach.

    Example:
        >>> filled(np.array([6.0, 2.0, 2.0]), total=2, low=np.zeros(3), high=np.ones(3)).tolist()
        [1.0, 0.5, 0.5]
    """
    if not (weights > 0).all():
        raise ValueError("every weight must be above 0")
    least, most = float(low.sum()), float(high.sum())
    if not least - 10.0**-_DECIMALS <= total <= most + 10.0**-_DECIMALS:
        raise ValueError(f"the total must lie in [{least:.6g}, {most:.6g}], got {total}")
    if total >= most:
        return np.array(high)
    # The sum grows with t along straight lines that bend where a share leaves or meets a bound.
    bends = np.concatenate([low / weights, high / weights])
    order = np.argsort(bends, kind="stable")
    slopes = np.cumsum(np.concatenate([weights, -weights])[order])
    rises = np.maximum(slopes[:-1], 0) * np.diff(bends[order])
    sums = least + np.concatenate([[0.0], np.cumsum(rises)])
    scale = np.interp(total, sums, bends[order])
    return np.asarray(np.clip(scale * weights, low, high))


def allocation(
    sizes: Int[np.ndarray, " strata"],
    *,
    total: int,
    weights: Float[np.ndarray, " strata"],
    minimum: int,
) -> Int[np.ndarray, " strata"]:
    """How many units to draw from each stratum: in proportion to the weights, rounded.

    Args:
        sizes: Units in each stratum, at least 1; no stratum gives more.
        total: Units to draw, at most the sum of `sizes`.
        weights: Above 0: the sizes for proportional allocation, ones for equal.
        minimum: Units to draw from each at least; a smaller stratum gives all it has.

    Raises:
        ValueError: the minimum takes more than `total`, or `total` is more than there is.

    Example:
        >>> sizes = np.array([90, 10, 1])
        >>> allocation(sizes, total=10, weights=sizes.astype(float), minimum=2).tolist()
        [7, 2, 1]
    """
    low = np.minimum(minimum, sizes)
    shares = filled(weights, total=total, low=low.astype(float), high=sizes.astype(float))
    shares = shares.round(_DECIMALS)
    whole: Int[np.ndarray, " strata"] = np.floor(shares).astype(np.int64)
    # The largest fractions are rounded up; the order of the strata settles ties.
    upward = np.argsort(whole - shares, kind="stable")[: total - int(whole.sum())]
    whole[upward] += 1
    return whole


def uncertainty_probabilities(
    uncertainty: Float[np.ndarray, " units"], *, total: int, floor: float
) -> Float[np.ndarray, " units"]:
    """Inclusion probabilities that grow with the uncertainty and sum to `total`.

    `min(1, c [(1 - floor) u / sum u + floor / N])`, where c is such that they sum to `total`.

    Args:
        uncertainty: Of each unit, at least 0; sqrt(f (1 - f)) of a probability f.
        total: Units to draw, at most as many as there are.
        floor: Share of the draw that is spread evenly, in (0, 1]: without it a unit that the
            classifier is wrongly sure of could never be drawn.

    Raises:
        ValueError: `total` is more than there is.

    Source: Zrnic and Candes 2024, Active Statistical Inference, with tau = `floor`.
    """
    count = len(uncertainty)
    if count == 0:
        return np.zeros(0)
    even = np.full(count, 1 / count)
    whole = float(uncertainty.sum())
    weights = (1 - floor) * uncertainty / whole + floor * even if whole > 0 else even
    return filled(weights, total=total, low=np.zeros(count), high=np.ones(count))


def simple_draw(keys: UInt64[np.ndarray, " units"], *, count: int) -> Bool[np.ndarray, " units"]:
    """Which units are drawn: a simple random sample without replacement of `count`.

    Args:
        keys: As `draw_keys` gives them.
        count: At most as many as there are.
    """
    drawn = np.zeros(len(keys), dtype=np.bool_)
    drawn[np.argsort(keys, kind="stable")[:count]] = True
    return drawn


def systematic_draw(
    probabilities: Float[np.ndarray, " units"],
    *,
    keys: UInt64[np.ndarray, " units"],
    start: float,
) -> Bool[np.ndarray, " units"]:
    """Which units are drawn: each with its own probability, and always as many as they sum to.

    The units lie in random order on a line, each as long as its probability; those that hold one
    of the points start, start + 1, ... are drawn.

    Args:
        probabilities: In [0, 1], with a whole sum.
        keys: As `draw_keys` gives them: the order on the line.
        start: In [0, 1), uniform over seeds.

    Source: Madow 1949; in random order, Hartley and Rao 1962.
    """
    drawn = probabilities >= 1
    # Certain units lie apart, so that rounding errors on the line can't skip one.
    order = np.argsort(keys, kind="stable")
    order = order[~drawn[order]]
    ends = np.cumsum(probabilities[order])
    if len(ends):
        ends[-1] = round(float(ends[-1]))
    passed = np.ceil(ends - start)
    drawn[order] = np.diff(passed, prepend=np.ceil(-start)) > 0
    return drawn
