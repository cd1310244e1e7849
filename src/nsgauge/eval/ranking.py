"""Which places VLLMs may hold by a rate, and whether two sources put them in the same order."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from numpy.random import Generator, default_rng
from scipy import sparse, stats

from nsgauge.eval.clusters import cluster_codes

MINIMUM_VLLMS = 3
"""Below this many VLLMs an order has nothing to agree on."""

_LEAST_DEFINED = 0.5
_WEIGHTS_AT_ONCE = 2_000_000

_LEVEL = 0.05

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one VLLM may stand by one rate.

    Attributes:
        vllm: Its name.
        rate: Its rate on these rows, in [0, 1].
        first: The lowest place that it may hold; 1 is the lowest rate.
        last: The highest.
    """

    vllm: str
    rate: float
    first: int
    last: int


def places(
    values: Float[np.ndarray, " rows"],
    *,
    vllms: Shaped[np.ndarray, " rows"],
    items: Shaped[np.ndarray, " rows"],
) -> tuple[Place, ...]:
    """Each VLLM's rate and the places that it may hold, by rate.

    Two VLLMs are told apart by the items that both answered, in pairs. The first place is one more
    than the VLLMs that are surely lower, the last the number of those that aren't surely higher;
    all pairs are allowed for at once (Holm), at 5 %.

    Args:
        values: Labels or probabilities, in [0, 1].
        vllms: Who answered.
        items: What was asked.

    Source: Mogstad, Romano, Shaikh and Wilhelm 2024, "Inference for ranks", with Holm's step-down;
    two more items that differ each way, as Agresti and Min 2005 add them.
    """
    names, column = np.unique(vllms, return_inverse=True)
    row = cluster_codes(items, rows=len(values))
    shape = (int(row.max()) + 1 if len(row) else 0, len(names))
    sums, counts = (
        sparse.coo_array((amount, (row, column.reshape(-1))), shape=shape).toarray()
        for amount in (values.astype(np.float64), np.ones(len(row)))
    )
    means = np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0)
    rates = sums.sum(axis=0) / counts.sum(axis=0)
    lower = _surely_lower(means)
    found = [
        Place(
            vllm=str(name),
            rate=float(rates[place]),
            first=1 + int(lower[:, place].sum()),
            last=len(names) - int(lower[place].sum()),
        )
        for place, name in enumerate(names)
    ]
    return tuple(sorted(found, key=lambda place: (place.rate, place.vllm)))


def tau_elsewhere(
    values: Float[np.ndarray, " rows"],
    *,
    vllms: Shaped[np.ndarray, " rows"],
    items: Shaped[np.ndarray, " rows"],
    seed: int,
    resamples: int = 2000,
) -> float | None:
    """The tau to be expected between these rates and the same source's on other such items.

    With few items the order is partly luck: one that agrees better with it than this agrees with
    the luck of these items, too. The mean over items drawn again; None with fewer than three VLLMs,
    or where all rates are the same.

    Args:
        values: The source's labels or probabilities, in [0, 1].
        vllms: Who answered.
        items: What was asked.
        seed: Of the resampling.
        resamples: Draws; at least 1.
    """
    names, column = np.unique(vllms, return_inverse=True)
    if len(names) < MINIMUM_VLLMS:
        return None
    row = cluster_codes(items, rows=len(values))
    shape = (int(row.max()) + 1, len(names))
    tables = [
        sparse.coo_array((amount, (row, column.reshape(-1))), shape=shape).tocsr()
        for amount in (np.ones(len(row)), values.astype(np.float64))
    ]
    once, _ = _rates(np.ones((1, shape[0])), [*tables, tables[1]])
    generator = default_rng(seed)
    step = max(1, _WEIGHTS_AT_ONCE // shape[0])
    taus = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        weights = generator.multinomial(shape[0], np.full(shape[0], 1 / shape[0]), size=size)
        drawn, _ = _rates(weights.astype(np.float64), [*tables, tables[1]])
        taus.append(_tau_and_rho(drawn, np.repeat(once, size, axis=0))[0])
    defined = np.concatenate(taus)
    defined = defined[np.isfinite(defined)]
    return float(defined.mean()) if len(defined) >= _LEAST_DEFINED * resamples else None


def _surely_lower(means: Float[np.ndarray, "items vllms"]) -> np.ndarray:
    """Whether the VLLM of a row is surely lower than that of a column, all pairs allowed for."""
    many = means.shape[1]
    first, second = np.triu_indices(many, k=1)
    gaps, chances = np.zeros(len(first)), np.ones(len(first))
    for pair, (a, b) in enumerate(zip(first, second, strict=True)):
        differences = means[:, a] - means[:, b]
        padded = np.append(differences[np.isfinite(differences)], [1.0, -1.0])
        error = padded.std(ddof=1) / np.sqrt(len(padded))
        gaps[pair] = padded.mean()
        chances[pair] = 2 * stats.t.sf(abs(gaps[pair]) / error, df=len(padded) - 1)
    order = np.argsort(chances)
    stepped = chances[order] * np.arange(len(order), 0, -1)
    rejected = np.zeros(len(order), dtype=bool)
    rejected[order] = np.maximum.accumulate(stepped) <= _LEVEL
    lower = np.zeros((many, many), dtype=bool)
    for a, b, gap in zip(first[rejected], second[rejected], gaps[rejected], strict=True):
        lower[(a, b) if gap < 0 else (b, a)] = True
    return lower


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
