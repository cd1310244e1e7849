"""From units to a draw: each unit's inclusion probability, and which units were drawn."""

import numpy as np
from jaxtyping import Bool, Float, Int

from nsgauge.data.plan_file import Design
from nsgauge.errors import SettingsError
from nsgauge.eval.inclusion import (
    allocation,
    draw_keys,
    simple_draw,
    systematic_draw,
    uncertainty_probabilities,
)
from nsgauge.eval.plan_settings import PlanSettings
from nsgauge.eval.plan_units import Units


def inclusion(units: Units, *, size: int, settings: PlanSettings) -> Float[np.ndarray, " units"]:
    """With what probability each unit is drawn; they sum to the size, or to all there is.

    Args:
        units: What can be drawn.
        size: Units to draw.
        settings: How.

    Raises:
        SettingsError: the size can't give every stratum its minimum.
    """
    total = min(size, len(units.names))
    if settings.design is Design.UNCERTAINTY:
        return uncertainty_probabilities(units.uncertainty, total=total, floor=settings.floor)
    counts = _allocated(units, total=total, settings=settings)
    return np.asarray((counts / units.sizes)[units.stratum_of])


def drawn_units(
    units: Units, *, probabilities: Float[np.ndarray, " units"], settings: PlanSettings
) -> Bool[np.ndarray, " units"]:
    """Which units are drawn.

    Args:
        units: What can be drawn.
        probabilities: As `inclusion` gives them.
        settings: How; its seed and round decide.
    """
    salt = f"plan:{settings.seed}:{settings.round}"
    kind = "item" if settings.by_item else "triple"
    keys = draw_keys(units.names, salt=f"{salt}:{kind}")
    if settings.design is Design.UNCERTAINTY:
        start = int(draw_keys(["start"], salt=salt)[0]) / 2**64
        return systematic_draw(probabilities, keys=keys, start=start)
    drawn = np.zeros(len(units.names), dtype=np.bool_)
    for code in range(len(units.strata)):
        of_stratum = np.flatnonzero(units.stratum_of == code)
        count = round(float(probabilities[of_stratum].sum()))
        drawn[of_stratum[simple_draw(keys[of_stratum], count=count)]] = True
    return drawn


def least_size(units: Units, *, settings: PlanSettings) -> int:
    """The smallest size that gives every stratum its minimum."""
    if settings.design is not Design.STRATIFIED:
        return 0
    return int(np.minimum(settings.minimum, units.sizes).sum())


def _allocated(units: Units, *, total: int, settings: PlanSettings) -> Int[np.ndarray, " strata"]:
    sizes = units.sizes
    if settings.design is not Design.STRATIFIED or total == 0:
        return np.full(len(sizes), total)
    least = least_size(units, settings=settings)
    if total < least:
        found = f"{len(sizes)} strata with at least {settings.minimum} each take {least}"
        raise SettingsError(f"{found}, the size is {total}: raise it, or lower the minimum")
    weights = _weights(units, settings=settings)
    return allocation(sizes, total=total, weights=weights, minimum=settings.minimum)


def _weights(units: Units, *, settings: PlanSettings) -> Float[np.ndarray, " strata"]:
    """How the size is shared out.

    Source: Neyman 1934: a stratum's size times its standard deviation, which here is that of a
    calibrated classifier's error.
    """
    sizes = units.sizes.astype(float)
    if settings.allocation == "equal":
        return np.ones(len(sizes))
    if settings.allocation == "proportional":
        return sizes
    squares = np.bincount(units.stratum_of, units.uncertainty**2, len(sizes))
    spread = np.sqrt(squares * sizes)
    if spread.sum() == 0:
        return sizes
    even = settings.floor * sizes / sizes.sum()
    return np.asarray((1 - settings.floor) * spread / spread.sum() + even)
