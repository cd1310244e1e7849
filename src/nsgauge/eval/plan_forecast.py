"""What a draw would buy: the width of the rates' intervals, before anybody judges a row."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nsgauge.eval.intervals import clopper_pearson, t_quantile
from nsgauge.eval.plan_draw import inclusion, least_size
from nsgauge.eval.plan_settings import PlanSettings
from nsgauge.eval.plan_units import Units
from nsgauge.eval.plus_two import SCARCE
from nsgauge.protocol import RATES, Rate

STEP = 100
"""Triples between two lines of a forecast."""
_STEPS = 4
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What one size would buy.

    Attributes:
        units: Drawn: triples, or items.
        triples: Expected to be judged.
        widths: By rate, of the interval for what the judge would say of all rows that can be drawn,
            in (0, 1].
    """

    units: int
    triples: int
    widths: dict[Rate, float]


def forecast(units: Units, *, size: int, settings: PlanSettings) -> Forecast:
    """The widths that the intervals may be expected to have.

    They hold if the classifier is calibrated and, for items, its errors on the responses to one
    item don't go together; both make them narrower than they will be. A row without a score counts
    as a probability of a half.

    Args:
        units: What can be drawn.
        size: Units to draw; at least 1.
        settings: How they would be drawn.

    Raises:
        SettingsError: the size can't give every stratum its minimum.

    Source: the variance of the report's own estimator (`nsgauge.eval.rates`) under the design.
    """
    chances = inclusion(units, size=size, settings=settings)
    responses = np.bincount(units.unit_of, minlength=len(units.names))
    return Forecast(
        units=min(size, len(units.names)),
        triples=round(float(chances @ responses)),
        widths={rate: _width(units, rate=rate, chances=chances) for rate in RATES},
    )


def further_forecasts(units: Units, *, size: int, settings: PlanSettings) -> tuple[Forecast, ...]:
    """What the size would buy, and each further hundred triples; empty if nothing is drawn."""
    count = len(units.names)
    if size == 0 or count == 0:
        return ()
    step = max(1, round(STEP * count / len(units.unit_of)))
    sizes = sorted({min(size + number * step, count) for number in range(_STEPS + 1)})
    return tuple(forecast(units, size=each, settings=settings) for each in sizes)


def size_for(units: Units, *, width: float, settings: PlanSettings) -> int:
    """The fewest units that make the intervals of the rates on the axis so narrow.

    Args:
        units: What can be drawn.
        width: Wanted, in (0, 1).
        settings: How they would be drawn; `either` axis stands for all three rates.
    """
    rates = RATES if settings.axis == "either" else (Rate(settings.axis),)
    low, high = max(1, least_size(units, settings=settings)) - 1, len(units.names)
    while high - low > 1:
        middle = (low + high) // 2
        widths = forecast(units, size=middle, settings=settings).widths
        if max(widths[rate] for rate in rates) <= width:
            high = middle
        else:
            low = middle
    return high


def _width(units: Units, *, rate: Rate, chances: Float[np.ndarray, " units"]) -> float:
    """Of one rate's interval: sampling, the two extra rows, and exact limits for rare things."""
    weights = 1 / chances
    # Kish's effective number of the draws that may be expected.
    drawn = len(chances) ** 2 / float(weights.sum())
    left = 1 - float(chances.mean())
    sampling = float((1 - chances) @ (weights * units.variance[rate])) / len(units.unit_of) ** 2
    half = t_quantile(_CONFIDENCE, freedom=drawn + 1) * (sampling + left / drawn**2) ** 0.5
    share = units.share[rate]
    if left == 0 or drawn * min(share, 1 - share) >= SCARCE:
        return float(min(1.0, 2 * half))
    exact = clopper_pearson(share * drawn, rows=drawn, confidence=_CONFIDENCE)
    return float(min(1.0, max(2 * half, exact.high - exact.low)))
