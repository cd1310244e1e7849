"""How the rows with a label came to be the ones that have it: what an interval rests on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from nsgauge.eval.clusters import cluster_codes, mean_size
from nsgauge.eval.draws import Draw

Names = Shaped[np.ndarray, " rows"]
"""One identifier a row of the pool (a string, a number, or any other value that sorts)."""

_FAR = 5.0
"""Standard errors by which the probabilities may miss the size of the pool."""
_FAR_SHARE = 0.1
"""Share of the pool that they may miss anyway."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimpleRandom:
    """Every row, or every item, had the same chance.

    Attributes:
        items: The item of each row of the pool. An item whose rows are all judged, or all not, was
            drawn as a whole. None where no item repeats.
    """

    items: Names | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stratified:
    """A simple random draw in every stratum, whatever its size.

    Attributes:
        strata: The stratum of each row of the pool.
        items: As for `SimpleRandom`.
    """

    strata: Names
    items: Names | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unequal:
    """Every row, or item, had a known chance of its own (active sampling).

    The variance is that of independent draws (Poisson sampling). For draws of a fixed size in
    random order, as `nsgauge plan` makes them, it is the same but for a little: the estimator has
    an intercept, so that the number of rows drawn adds nothing to it.

    Attributes:
        probability: With what probability each row of the pool was to be judged, in (0, 1]; only
            those of judged rows are read, the others may be NaN.
        items: As for `SimpleRandom`.
    """

    probability: Float[np.ndarray, " rows"]
    items: Names | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Undeclared:
    """Nobody knows how: a convenience sample, of which no interval can be trusted."""


Declared = SimpleRandom | Stratified | Unequal
Design = Declared | Undeclared


def items_of(design: Design) -> Names | None:
    """The item of each row of the pool; None where no item repeats, or nobody says."""
    return None if isinstance(design, Undeclared) else design.items


def trusted(design: Design, *, fault: str | None) -> Declared:
    """The design, or the simplest one where it has a fault: that gives a point, no interval."""
    if fault is None and not isinstance(design, Undeclared):
        return design
    return SimpleRandom(items=items_of(design))


def fault_of(design: Design, *, judged: Bool[np.ndarray, " rows"]) -> str | None:
    """Why no interval can be trusted under this design; None if nothing speaks against it.

    Args:
        design: As declared.
        judged: Which rows of the pool have a label.

    Raises:
        ValueError: there isn't one entry a row, or a judged row has no probability in (0, 1].
    """
    if isinstance(design, Undeclared):
        return "nobody declared how the judged rows were drawn: draw them with `nsgauge plan`"
    if isinstance(design, Stratified):
        strata = cluster_codes(design.strata, rows=len(judged))
        count = int(strata.max()) + 1
        drawn = np.bincount(strata[judged], minlength=count)
        empty = np.flatnonzero((drawn == 0) & (np.bincount(strata, minlength=count) > 0))
        if empty.size:
            name = np.unique(design.strata)[empty[0]]
            return f"no row of stratum {name!s} was judged: judge two at least, or merge strata"
    if isinstance(design, Unequal):
        return _unlikely(_probabilities(design, judged=judged), rows=len(judged))
    return None


def draw_of(design: Declared, *, judged: Bool[np.ndarray, " rows"]) -> Draw:
    """The judged rows, and the rows that they stand for.

    Args:
        design: Without a fault.
        judged: Which rows of the pool have a label: one at least, and not all.

    Raises:
        ValueError: there isn't one entry a row.
    """
    rows = len(judged)
    items = cluster_codes(design.items, rows=rows)
    named = design.strata if isinstance(design, Stratified) else np.zeros(rows, dtype=np.int64)
    strata = cluster_codes(named, rows=rows)
    # A stratum that was judged whole stands for nothing; what is left is numbered from zero.
    open_, rest = np.unique(strata[~judged], return_inverse=True)
    live = np.isin(strata[judged], open_)
    of_judged = np.where(live, np.searchsorted(open_, strata[judged]), 0).clip(0, len(open_) - 1)
    left = np.bincount(rest.reshape(-1))
    if isinstance(design, Unequal):
        missed = 1 - _probabilities(design, judged=judged)
        stands = missed / (1 - missed)
    else:
        stands = live.astype(np.float64)
        missed = _missed(items, strata=strata, judged=judged)
    sums = np.bincount(of_judged, weights=stands, minlength=len(left))
    drawn, codes = np.unique(items[judged], return_inverse=True)
    pairs = np.unique((of_judged * len(drawn) + codes.reshape(-1))[stands > 0])
    return Draw(
        codes=codes.reshape(-1),
        strata=of_judged,
        left=left,
        rest=rest.reshape(-1),
        stands_for=stands * (left / sums)[of_judged],
        missed=np.where(stands > 0, missed, 1.0),
        pool_size=1.0 if design.items is None else mean_size(items),
        draws=len(drawn),
        units=np.bincount(pairs // len(drawn), minlength=len(left)),
    )


def _missed(
    items: Int[np.ndarray, " rows"],
    *,
    strata: Int[np.ndarray, " rows"],
    judged: Bool[np.ndarray, " rows"],
) -> Float[np.ndarray, " judged"]:
    """Per judged row, its unit's chance to be left out of an even draw in its stratum.

    Units are items where the items of a stratum were judged whole or not at all, else rows.
    """
    count = int(strata.max()) + 1
    drawn_rows = np.bincount(strata, weights=judged, minlength=count)
    pairs, first, of_pair = np.unique(
        items * count + strata, return_index=True, return_inverse=True
    )
    seen = np.bincount(of_pair.reshape(-1), weights=judged, minlength=len(pairs))
    sizes = np.bincount(of_pair.reshape(-1), minlength=len(pairs))
    cut = np.bincount(strata[first], weights=(seen > 0) & (seen < sizes), minlength=count) > 0
    drawn_items = np.bincount(strata[first], weights=seen > 0, minlength=count)
    drawn = np.where(cut, drawn_rows, drawn_items)
    units = np.where(cut, np.bincount(strata), np.bincount(strata[first]))
    return np.asarray((1 - drawn / units)[strata[judged]])


def _probabilities(
    design: Unequal, *, judged: Bool[np.ndarray, " rows"]
) -> Float[np.ndarray, " judged"]:
    if design.probability.shape != judged.shape:
        found = f"{len(design.probability)} probabilities of {len(judged)} rows"
        raise ValueError(f"{found}: give one a row of the pool, NaN where it wasn't judged")
    found_here: Float[np.ndarray, " judged"] = design.probability[judged].astype(np.float64)
    wrong = np.flatnonzero(~((found_here > 0) & (found_here <= 1)))
    if wrong.size:
        row, value = int(np.flatnonzero(judged)[wrong[0]]), found_here[wrong[0]]
        raise ValueError(f"row {row}: judged with probability {value:g}, wanted one in (0, 1]")
    return found_here


def _unlikely(probability: Float[np.ndarray, " judged"], *, rows: int) -> str | None:
    """Why these probabilities can't be those of a draw from so many rows; None if they can."""
    if len(probability) in (0, rows):
        return None
    weights = 1 / probability
    if bool((probability == 1).all()):
        return f"every judged row was certain to be judged, yet {rows - len(weights)} rows were not"
    spread = float(np.sqrt(((1 - probability) * weights**2).sum()))
    if abs(weights.sum() - rows) > max(_FAR * spread, _FAR_SHARE * rows):
        return (
            f"the probabilities are of a pool of about {weights.sum():.0f} rows, this one has "
            f"{rows}: were the rows drawn from this pool, and in one round?"
        )
    return None
