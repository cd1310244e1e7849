"""What one setting gives: how often intervals hold their truth, and how wide they are."""

from dataclasses import dataclass

import numpy as np

from benchmarks.coverage.grid import Setting
from benchmarks.coverage.rivals import Ends, Rival
from benchmarks.coverage.worlds import World, worlds
from nsgauge.eval.intervals import normal_quantile, wilson
from nsgauge.eval.rates import RateEstimate, RateTable, estimate_rates
from nsgauge.protocol import RATES, Rate, rate_weights

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Shares of the worlds, and means over them; the rate is the Unsafe Rate.

    Attributes:
        finite_coverage: Worlds whose interval holds the pool's own rate.
        finite_width: Its mean width.
        super_coverage: Worlds whose interval holds the rate of items like these.
        super_width: Its mean width.
        joint_coverage: Worlds whose three joint intervals hold the pool's three rates.
        narrowest: The least width of any interval of any world.
        cells_off: The most by which the four cells missed one.
        refused: Worlds without an interval; they cover nothing.
        bias: Mean of the estimate less the pool's own rate.
        labels_saved: Mean.
        wilson_width: Mean width of Wilson's interval on as many rows, drawn evenly and alone.
        rivals: By name: coverage of the rate of items like these, mean width, and the share of
            worlds where the interval has no width or doesn't exist.
    """

    finite_coverage: float
    finite_width: float
    super_coverage: float
    super_width: float
    joint_coverage: float
    narrowest: float
    cells_off: float
    refused: float
    bias: float
    labels_saved: float
    wilson_width: float
    rivals: dict[str, tuple[float, float, float]]


def measure(setting: Setting, *, count: int, rivals: dict[str, Rival]) -> Outcome:
    """Draw worlds and count.

    Args:
        setting: Of the grid.
        count: How many worlds.
        rivals: Other intervals for a mean, for simple random draws of rows.
    """
    lines, others = [], []
    for world in worlds(setting, count=count):
        table = estimate_rates(
            world.judged, scores=world.scores, design=world.design, human=world.human
        )
        lines.append(_line(table, world=world, setting=setting))
        if rivals and setting.design == "simple":
            others.append(
                [_rival(rival, world=world, unsafe=setting.unsafe) for rival in rivals.values()]
            )
    found = np.array(lines)
    means = dict(zip(_NAMES, np.nanmean(found, axis=0).tolist(), strict=True))
    means["narrowest"] = float(np.nanmin(found[:, _NAMES.index("narrowest")]))
    means["cells_off"] = float(found[:, _NAMES.index("cells_off")].max())
    summary = {}
    if others:
        for name, column in zip(rivals, np.array(others).transpose(1, 2, 0), strict=True):
            holds, width, failed = column
            summary[name] = (holds.mean(), float(np.nanmean(width)), failed.mean())
    return Outcome(**means, rivals=summary)


_NAMES = (
    "finite_coverage", "finite_width", "super_coverage", "super_width", "joint_coverage",
    "narrowest", "cells_off", "refused", "bias", "labels_saved", "wilson_width",
)  # fmt: skip


def _line(table: RateTable, *, world: World, setting: Setting) -> tuple[float, ...]:
    truths = {rate: float((world.truth @ rate_weights(rate)).mean()) for rate in RATES}
    found, truth = table.rates[Rate.UNSAFE], truths[Rate.UNSAFE]
    off = abs(sum(table.cells.values()) - 1)
    labels = setting.human or setting.judged
    plain = wilson(
        truth * labels * setting.answers,
        rows=labels * setting.answers,
        quantile=normal_quantile(0.95),
    )
    value = np.nan if found.value is None else found.value
    last = (value - truth, found.labels_saved or 0.0, plain.high - plain.low)
    if found.low is None:
        return (0.0, np.nan, 0.0, np.nan, 0.0, np.nan, off, 1.0, *last)
    widths = [_width(estimate) for estimate in table.rates.values()]
    joint = all(_holds_joint(table.rates[rate], truth=truths[rate]) for rate in RATES)
    return (
        float(_holds(found.low, truth=truth, high=found.high)),
        _width(found),
        float(_holds(found.low_super, truth=setting.unsafe, high=found.high_super)),
        (found.high_super or 0.0) - (found.low_super or 0.0),
        float(joint),
        min(widths),
        off,
        0.0,
        *last,
    )


def _holds(low: float | None, *, truth: float, high: float | None) -> bool:
    if low is None or high is None:
        return False
    return low - _ROUNDING <= truth <= high + _ROUNDING


def _holds_joint(estimate: RateEstimate, *, truth: float) -> bool:
    return _holds(estimate.low_joint, truth=truth, high=estimate.high_joint)


def _width(estimate: RateEstimate) -> float:
    return (estimate.high or 0.0) - (estimate.low or 0.0)


def _rival(rival: Rival, *, world: World, unsafe: float) -> tuple[float, float, float]:
    weights = rate_weights(Rate.UNSAFE)
    known, shares = world.known, world.scores @ weights
    ends: Ends = rival(world.judged[known] @ weights, shares[known], shares[~known])
    low, high = ends
    if not high > low:
        return 0.0, 0.0 if high == low else np.nan, 1.0
    return float(_holds(low, truth=unsafe, high=high)), high - low, 0.0
