"""Whether two sources put the VLLMs in the same order."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from numpy.random import Generator, default_rng
from scipy import sparse

from nsgauge.eval.clusters import cluster_codes

MINIMUM_VLLMS = 3
"""Below this many VLLMs an order has nothing to agree on."""

_LEAST_DEFINED = 0.5
_WEIGHTS_AT_ONCE = 2_000_000

Rates = Float[np.ndarray, "draws vllms"]
Statistic = Float[np.ndarray, " draws"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankAgreement:
    """Two orders of the same VLLMs; None where fewer than three are there or one side is constant.

    Attributes:
        vllms: How many both sources rate.
        kendall: Kendall's tau-b, in [-1, 1].
        kendall_low: Lower end of its percentile interval over resampled items.
        kendall_high: Upper end.
        spearman: Spearman's rho, in [-1, 1].
        spearman_low: Lower end of its interval.
        spearman_high: Upper end.
    """

    vllms: int
    kendall: float | None = None
    kendall_low: float | None = None
    kendall_high: float | None = None
    spearman: float | None = None
    spearman_low: float | None = None
    spearman_high: float | None = None


def rank_agreement(
    reference: Mapping[str, float], *, predicted: Mapping[str, float]
) -> RankAgreement:
    """Compare two sources' rates per VLLM, over the VLLMs that both rate; without intervals.

    Args:
        reference: One source's rate by VLLM.
        predicted: The other's.

    Example:
        >>> human, machine = {"a": 0.1, "b": 0.2, "c": 0.4}, {"a": 0.2, "b": 0.4, "c": 0.3}
        >>> found = rank_agreement(human, predicted=machine)
        >>> round(found.kendall, 3), round(found.spearman, 3)
        (0.333, 0.5)
    """
    both = sorted(reference.keys() & predicted.keys())
    ours = np.array([[reference[vllm] for vllm in both]], dtype=np.float64)
    theirs = np.array([[predicted[vllm] for vllm in both]], dtype=np.float64)
    if len(both) < MINIMUM_VLLMS:
        return RankAgreement(vllms=len(both))
    tau, rho = _tau_and_rho(ours, theirs)
    return RankAgreement(vllms=len(both), kendall=_known(tau[0]), spearman=_known(rho[0]))


def rank_agreement_of_rows(
    reference: Float[np.ndarray, " rows"],
    *,
    predicted: Float[np.ndarray, " rows"],
    vllms: Shaped[np.ndarray, " rows"],
    items: Shaped[np.ndarray, " rows"],
    seed: int,
    resamples: int = 2000,
) -> RankAgreement:
    """Compare the mean of two columns per VLLM, with intervals from items drawn again.

    An item is drawn with the answers of all VLLMs to it, so that what is easy for all stays so.

    Args:
        reference: One source's label or probability, in [0, 1].
        predicted: The other's, on the same rows.
        vllms: Who answered.
        items: What was asked.
        seed: Of the resampling.
        resamples: Draws; at least 1.

    Raises:
        ValueError: lengths that don't match.
    """
    names, column = np.unique(vllms, return_inverse=True)
    row = cluster_codes(items, rows=len(reference))
    if len(names) < MINIMUM_VLLMS:
        return RankAgreement(vllms=len(names))
    shape = (int(row.max()) + 1, len(names))
    tables = [
        sparse.coo_array((amount, (row, column.reshape(-1))), shape=shape).tocsr()
        for amount in (np.ones(len(row)), reference.astype(np.float64), predicted)
    ]
    once = _tau_and_rho(*_rates(np.ones((1, shape[0])), tables))
    drawn = _draws(tables, items=shape[0], resamples=resamples, generator=default_rng(seed))
    kendall, spearman = (
        _with_ends(value[0], drawn=draws) for value, draws in zip(once, drawn, strict=True)
    )
    return RankAgreement(
        vllms=len(names),
        kendall=kendall[0],
        kendall_low=kendall[1],
        kendall_high=kendall[2],
        spearman=spearman[0],
        spearman_low=spearman[1],
        spearman_high=spearman[2],
    )


def _draws(
    tables: list[sparse.csr_array], *, items: int, resamples: int, generator: Generator
) -> tuple[Statistic, Statistic]:
    """Tau and rho of every draw of items, in parts that fit in memory."""
    step = max(1, _WEIGHTS_AT_ONCE // items)
    parts = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        weights = generator.multinomial(items, np.full(items, 1 / items), size=size)
        parts.append(_tau_and_rho(*_rates(weights.astype(np.float64), tables)))
    taus, rhos = zip(*parts, strict=True)
    return np.concatenate(taus), np.concatenate(rhos)


def _rates(
    weights: Float[np.ndarray, "draws items"], tables: list[sparse.csr_array]
) -> tuple[Rates, Rates]:
    """Both sources' rates per draw and VLLM; NaN where a draw holds no row of a VLLM."""
    rows, ours, theirs = (np.asarray(weights @ table) for table in tables)
    rows = np.where(rows > 0, rows, np.nan)
    return ours / rows, theirs / rows


def _tau_and_rho(ours: Rates, theirs: Rates) -> tuple[Statistic, Statistic]:
    """Kendall's tau-b and Spearman's rho of each draw; NaN where undefined.

    Both follow from the signs of all pairs: a midrank is the sum of its row of signs, shifted.
    """
    first, second = (np.sign(rates[:, :, None] - rates[:, None, :]) for rates in (ours, theirs))
    return _cosine(first, second, axis=(1, 2)), _cosine(first.sum(2), second.sum(2), axis=(1,))


def _cosine(first: np.ndarray, second: np.ndarray, *, axis: tuple[int, ...]) -> Statistic:
    lengths = (first**2).sum(axis) * (second**2).sum(axis)
    # A source that rates all VLLMs alike has no order.
    safe = np.where(lengths > 0, lengths, np.nan)
    return np.asarray((first * second).sum(axis) / np.sqrt(safe))


def _with_ends(
    value: float, *, drawn: Statistic
) -> tuple[float | None, float | None, float | None]:
    """A value and its 95% percentile interval, if most draws define it."""
    known = _known(value)
    defined = drawn[np.isfinite(drawn)]
    if known is None or len(defined) < _LEAST_DEFINED * len(drawn):
        return known, None, None
    low, high = np.quantile(defined, [0.025, 0.975])
    return known, min(float(low), known), max(float(high), known)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
