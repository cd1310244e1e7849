"""One target a triple from the votes of several judges: pooled, or by Dawid and Skene's model.

A consensus is by cells where three judges speak of both axes, so that how safety and grounding go
together is learned too; judges of one axis alone count in it on their axis. Else each axis has
its own consensus, and a target says of each axis what its judges say.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float, Int

from nsgauge.data.dawid_skene import FEWEST_JUDGES, fit_dawid_skene, has_enough_judges
from nsgauge.data.votes import Votes
from nsgauge.errors import DataError
from nsgauge.protocol import CELLS, OBSERVATIONS, Grounding, Safety, observation_cells

AXES = ("unsafe", "not_grounded")
"""The axes by their positive class, in the order that an observation has them."""

_VALUES = (tuple(Safety), tuple(Grounding))
_SAID = observation_cells().astype(np.float64)
_MEANINGS = _SAID / _SAID.sum(axis=1, keepdims=True)
"""What each observation is taken for at first: its cell, or both cells of its axis alike."""


class Consensus(StrEnum):
    """How the votes of several judges become one target."""

    POOLED = "pooled"
    """Every answered vote counts the same."""
    DAWID_SKENE = "dawid_skene"
    """A judge counts as much as the others find it right; its votes on a triple weigh as one."""


class Making(StrEnum):
    """How the targets of one axis were made."""

    POOLED = "pooled"
    CELLS = "dawid_skene_cells"
    """By the four cells together: three judges or more speak of both axes."""
    AXIS = "dawid_skene_axis"
    """By this axis alone."""
    UNSPOKEN = "unspoken"
    """No judge speaks of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Masses:
    """What is said of each triple, and how that was found.

    Attributes:
        masses: Shares of `OBSERVATIONS`; a row sums to one, or to zero where nobody answered.
        making: By `unsafe` and `not_grounded`.
    """

    masses: Float[np.ndarray, "triples observations"]
    making: dict[str, Making]


def pooled_masses(votes: Votes) -> Masses:
    """The share of each triple's answered votes that said each observation."""
    counts = votes.by_judge().sum(axis=1)
    heard = _heard(counts.sum(axis=0, keepdims=True))[0]
    making = [Making.POOLED if spoken else Making.UNSPOKEN for spoken in heard]
    return Masses(masses=_shares(counts), making=dict(zip(AXES, making, strict=True)))


def consensus_masses(votes: Votes) -> Masses:
    """The posterior of Dawid and Skene's model, for the axes that somebody spoke of.

    An axis that no three judges answered on the same triple is pooled, and `making` says so.

    Raises:
        DataError: that holds for both axes, or the model doesn't settle.
    """
    counts = votes.by_judge()
    if has_enough_judges(counts[:, :, : len(CELLS)].astype(np.float64)):
        return _by_cells(counts)
    said = [_axis_counts(counts, axis=axis) for axis in range(len(AXES))]
    making = [_making(axis_said) for axis_said in said]
    if Making.AXIS not in making:
        named = ", ".join(repr(judge) for judge in votes.judges)
        raise DataError(
            f"a consensus by {Consensus.DAWID_SKENE} needs triples that {FEWEST_JUDGES} judges "
            f"answered, found none among those of {named}: name more judges, or set consensus to "
            f"{Consensus.POOLED}"
        )
    masses = np.zeros((len(counts), len(OBSERVATIONS)))
    for axis, how in enumerate(making):
        masses[:, _alone(axis)] = _axis_posteriors(said[axis], making=how)
    return Masses(masses=_shares(masses), making=dict(zip(AXES, making, strict=True)))


def _by_cells(counts: Int[np.ndarray, "triples judges observations"]) -> Masses:
    """The joint posterior, without what it would guess of an axis that nobody spoke of."""
    answered = counts.any(axis=(1, 2))
    fit = fit_dawid_skene(_shares(counts[answered]), meanings=_MEANINGS)
    cells = np.zeros((len(counts), len(CELLS)))
    cells[answered] = fit.posteriors
    heard = _heard(counts.sum(axis=1))
    masses = np.zeros((len(counts), len(OBSERVATIONS)))
    masses[:, : len(CELLS)] = cells * heard.all(axis=1, keepdims=True)
    for axis in range(len(AXES)):
        alone = heard[:, axis] & ~heard[:, 1 - axis]
        masses[:, _alone(axis)] = (cells @ _SAID[_alone(axis)].T) * alone[:, None]
    return Masses(masses=masses, making=dict.fromkeys(AXES, Making.CELLS))


def _making(said: Int[np.ndarray, "triples judges 2"]) -> Making:
    if has_enough_judges(said.astype(np.float64)):
        return Making.AXIS
    return Making.POOLED if said.any() else Making.UNSPOKEN


def _axis_posteriors(
    said: Int[np.ndarray, "triples judges 2"], *, making: Making
) -> Float[np.ndarray, "triples 2"]:
    """Per triple the probability of each value; zeros where nobody spoke of the axis."""
    if making is not Making.AXIS:
        return _shares(said.sum(axis=1))
    spoken = said.any(axis=(1, 2))
    found = np.zeros((len(said), 2))
    found[spoken] = fit_dawid_skene(_shares(said[spoken])).posteriors
    return found


def _axis_counts(
    counts: Int[np.ndarray, "triples judges observations"], *, axis: int
) -> Int[np.ndarray, "triples judges 2"]:
    """How often each judge said each value of one axis, whatever else it said."""
    means = [[said[axis] is value for value in _VALUES[axis]] for said in OBSERVATIONS]
    return np.asarray(counts @ np.array(means, dtype=np.int64))


def _heard(counts: Int[np.ndarray, "triples observations"]) -> Bool[np.ndarray, "triples axes"]:
    """Of which axes anybody spoke."""
    speaks = [[said[axis] is not None for axis in range(len(AXES))] for said in OBSERVATIONS]
    return np.asarray((counts @ np.array(speaks, dtype=np.int64)) > 0)


def _alone(axis: int) -> Bool[np.ndarray, " observations"]:
    """The observations that speak of one axis only, from its negative value to its positive."""
    return np.array([said[axis] is not None and said[1 - axis] is None for said in OBSERVATIONS])


def _shares(
    counts: Int[np.ndarray, "*rows kinds"] | Float[np.ndarray, "*rows kinds"],
) -> Float[np.ndarray, "*rows kinds"]:
    """Counts over their sum in the last place; zeros stay zeros."""
    totals = counts.sum(axis=-1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    return np.asarray(shares)
