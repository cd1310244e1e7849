"""Simulated pools: labels, a calibrated classifier with an AUROC of .9 an axis, and a draw."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special

from benchmarks.coverage.grid import Setting
from nsgauge.eval.inclusion import allocation, systematic_draw, uncertainty_probabilities
from nsgauge.eval.rates import Design, SimpleRandom, Stratified, Unequal

NOT_GROUNDED = 0.3
"""The true NSG Rate, everywhere."""
FLOOR = 0.2
BINS = 4
SLIPS = ((0.1, 0.06), (0.15, 0.03))
"""Of the judge in two hops, an axis: the chance to miss a positive, and to see one that isn't."""

_DISTANCE = float(np.sqrt(2) * special.ndtri(0.9))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """One pool and one draw from it.

    Attributes:
        truth: The cells that the rates are of, all rows.
        judged: What the judge said, NaN where it wasn't asked.
        human: What people said, NaN where they weren't asked; None with one hop.
        scores: The classifier's cells.
        design: How the judged rows were drawn.
    """

    truth: Float[np.ndarray, "rows cells"]
    judged: Float[np.ndarray, "rows cells"]
    human: Float[np.ndarray, "rows cells"] | None
    scores: Float[np.ndarray, "rows cells"]
    design: Design

    @property
    def known(self) -> Bool[np.ndarray, " rows"]:
        """The rows with a label of the judge."""
        return np.asarray(~np.isnan(self.judged[:, 0]))


def worlds(setting: Setting, *, count: int) -> Iterator[World]:
    """So many worlds; the seed is the setting itself."""
    numbers = [setting.items, setting.answers, setting.judged, setting.human]
    shares = [round(1e6 * setting.unsafe), round(1e6 * setting.within)]
    name = int.from_bytes(setting.design.encode(), "big") % 2**32
    generator = np.random.default_rng([*numbers, *shares, name])
    for _ in range(count):
        yield _world(setting, generator=generator)


def _world(setting: Setting, *, generator: np.random.Generator) -> World:
    ids = np.repeat(np.arange(setting.items), setting.answers)
    rates = (setting.unsafe, NOT_GROUNDED)
    labels = [_labels(rate, ids=ids, within=setting.within, generator=generator) for rate in rates]
    truth = np.eye(4)[labels[0] + 2 * labels[1]]
    if setting.human:
        labels = [
            _slipped(axis, slips=slips, generator=generator)
            for axis, slips in zip(labels, SLIPS, strict=True)
        ]
    said = np.eye(4)[labels[0] + 2 * labels[1]]
    ours, theirs = (
        _probability(axis, rate=rate, generator=generator)
        for axis, rate in zip(labels, rates, strict=True)
    )
    products = [(1 - ours) * (1 - theirs), ours * (1 - theirs), (1 - ours) * theirs, ours * theirs]
    known, design = _draw(setting, ids=ids, unsafe=ours, generator=generator)
    human = None
    if setting.human:
        asked = generator.permutation(np.flatnonzero(known))[: setting.human]
        human = np.full_like(truth, np.nan)
        human[asked] = truth[asked]
    return World(
        truth=truth,
        judged=np.where(known[:, None], said, np.nan),
        human=human,
        scores=np.stack(products, axis=1),
        design=design,
    )


def _labels(
    rate: float, *, ids: Int[np.ndarray, " rows"], within: float, generator: np.random.Generator
) -> Int[np.ndarray, " rows"]:
    """Labels that correlate `within` an item."""
    shares = np.full(ids[-1] + 1, rate)
    if within:
        weight = (1 - within) / within
        shares = generator.beta(rate * weight, (1 - rate) * weight, size=len(shares))
    return np.asarray(generator.random(len(ids)) < shares[ids]).astype(np.int64)


def _slipped(
    labels: Int[np.ndarray, " rows"],
    *,
    slips: tuple[float, float],
    generator: np.random.Generator,
) -> Int[np.ndarray, " rows"]:
    """What a judge makes of the labels."""
    missed, invented = slips
    chance = np.where(labels == 1, missed, invented)
    return np.asarray(np.where(generator.random(len(labels)) < chance, 1 - labels, labels))


def _probability(
    labels: Int[np.ndarray, " rows"], *, rate: float, generator: np.random.Generator
) -> Float[np.ndarray, " rows"]:
    signal = generator.normal((labels - 0.5) * _DISTANCE)
    return np.asarray(special.expit(special.logit(rate) + _DISTANCE * signal))


def _draw(
    setting: Setting,
    *,
    ids: Int[np.ndarray, " rows"],
    unsafe: Float[np.ndarray, " rows"],
    generator: np.random.Generator,
) -> tuple[Bool[np.ndarray, " rows"], Design]:
    """Which rows the judge saw, and the design that it goes by."""
    if setting.design == "stratified":
        return _stratified(setting, unsafe=unsafe, generator=generator)
    if setting.design == "active":
        chances = uncertainty_probabilities(
            np.sqrt(unsafe * (1 - unsafe)), total=setting.judged, floor=FLOOR
        )
        keys = generator.integers(0, 2**63, len(chances)).astype(np.uint64)
        drawn = systematic_draw(chances, keys=keys, start=float(generator.random()))
        return drawn, Unequal(probability=chances)
    chosen = np.zeros(setting.items, dtype=np.bool_)
    chosen[generator.permutation(setting.items)[: setting.judged]] = True
    return chosen[ids], SimpleRandom(items=ids if setting.answers > 1 else None)


def _stratified(
    setting: Setting, *, unsafe: Float[np.ndarray, " rows"], generator: np.random.Generator
) -> tuple[Bool[np.ndarray, " rows"], Design]:
    """Bins of the probability, and Neyman's allocation with a floor."""
    edges = np.quantile(unsafe, np.arange(1, BINS) / BINS)
    strata = np.searchsorted(edges, unsafe, side="right")
    sizes = np.bincount(strata, minlength=BINS)
    spread = np.sqrt(np.bincount(strata, weights=unsafe * (1 - unsafe)) * sizes)
    weights = (1 - FLOOR) * spread / spread.sum() + FLOOR * sizes / sizes.sum()
    counts = allocation(sizes, total=setting.judged, weights=weights, minimum=2)
    drawn = np.zeros(len(unsafe), dtype=np.bool_)
    for stratum, count in enumerate(counts):
        drawn[generator.permutation(np.flatnonzero(strata == stratum))[:count]] = True
    return drawn, Stratified(strata=strata)
