"""From joined columns to rate estimates: which rows count, for which axis."""

import numpy as np
from jaxtyping import Bool, Float, Int

from nsgauge.eval.intervals import bounded_rate
from nsgauge.eval.rates import (
    Design,
    RateEstimate,
    SimpleRandom,
    Undeclared,
    Unequal,
    estimate_rates,
    judge_axis_rate,
    judge_rates,
)
from nsgauge.eval.rates.designs import fault_of
from nsgauge.eval.report.columns import JudgeColumns
from nsgauge.protocol import CELLS, RATES, Rate

Members = Int[np.ndarray, "_"]
"""Positions of rows; functions that take several sets of rows take several lengths."""


def spoken_rates(judge: JudgeColumns) -> tuple[Rate, ...]:
    """The rates that a judge's answers can give: a judge of safety alone has one."""
    if judge.has_grounding and judge.unsafe_known.any():
        return RATES
    return (Rate.NOT_GROUNDED,) if judge.has_grounding else (Rate.UNSAFE,)


def answered(judge: JudgeColumns, *, rates: tuple[Rate, ...]) -> Bool[np.ndarray, " rows"]:
    """The rows that count for those rates: answered on both axes where all three are wanted.

    One set of rows for the three rates keeps `Unsafe = Unsafe&SG + Unsafe&NSG` true.
    """
    if len(rates) > 1:
        return judge.both_known
    return judge.unsafe_known if rates == (Rate.UNSAFE,) else judge.not_grounded_known


def judge_estimates(
    judge: JudgeColumns, *, at: Members, item: Int[np.ndarray, " rows"]
) -> dict[Rate, RateEstimate]:
    """The judge's rates on the rows `at` that it answered; empty if it answered none.

    Where it saw a part of them, drawn with unequal known probabilities, they are the rates that it
    would give all of them.
    """
    rates = spoken_rates(judge)
    known = at[answered(judge, rates=rates)[at]]
    if known.size == 0:
        return {}
    if judge.drawn_unevenly(at):
        design = draw_design(judge, at=at, item=item)
        table = estimate_rates(labelled_cells(judge, at=at), scores=None, design=design)
        return {rate: table.rates[rate] for rate in rates}
    if len(rates) > 1:
        return dict(judge_rates(judged_cells(judge, at=known), clusters=item[known]).rates)
    positive = positives(judge, rate=rates[0])[known]
    return {rates[0]: judge_axis_rate(positive, clusters=item[known])}


def draw_design(judge: JudgeColumns, *, at: Members, item: Int[np.ndarray, " rows"]) -> Design:
    """How the rows that a judge answered were drawn from the rows `at`.

    Unanswered questions count as missing at random: the probability of an answer is that of being
    asked, times the share of answers.
    """
    asked = judge.asked[at]
    if asked.all():
        return SimpleRandom(items=item[at])
    drawn = judge.inclusion[at]
    if not asked.any() or bool(np.isnan(drawn[asked]).any()):
        return Undeclared()
    known = answered(judge, rates=spoken_rates(judge))[at]
    probability = np.where(known, drawn * known.sum() / asked.sum(), np.nan)
    unequal = Unequal(probability=probability, items=item[at])
    even = not judge.drawn_unevenly(at) and fault_of(unequal, judged=known) is None
    return SimpleRandom(items=item[at]) if even else unequal


def labelled_cells(judge: JudgeColumns, *, at: Members) -> Float[np.ndarray, "members cells"]:
    """The judge's cells, NaN where it didn't answer on what it speaks of."""
    known = answered(judge, rates=spoken_rates(judge))[at]
    return np.where(known[:, None], judged_cells(judge, at=at), np.nan)


def judged_cells(judge: JudgeColumns, *, at: Members) -> Float[np.ndarray, "members cells"]:
    """One-hot cells of answered rows; of a one-axis judge, with the other axis at its first value.

    Only the rates that the judge speaks of may be read from the result.
    """
    index = 2 * (judge.not_grounded & judge.not_grounded_known)[at].astype(np.int64)
    return np.asarray(np.eye(len(CELLS))[index + (judge.unsafe & judge.unsafe_known)[at]])


def positives(judge: JudgeColumns, *, rate: Rate) -> Bool[np.ndarray, " rows"]:
    """Rows that count towards the rate; False too where the judge didn't answer."""
    if rate is Rate.UNSAFE:
        return judge.unsafe
    if rate is Rate.NOT_GROUNDED:
        return judge.not_grounded
    return np.asarray(judge.unsafe & judge.not_grounded_known & ~judge.not_grounded)


def rate_bounds(judge: JudgeColumns, *, rate: Rate, at: Members) -> tuple[float, float] | None:
    """Lowest and highest rate that any reading of the missing answers would allow.

    Args:
        judge: The judge's columns.
        rate: Which of the three.
        at: Rows of the group; those that the judge was never asked about don't count.

    Returns:
        None if the judge was asked about none of them.
    """
    asked = at[judge.asked[at]]
    if asked.size == 0:
        return None
    counted = positives(judge, rate=rate)[asked]
    decided = counted | _ruled_out(judge, rate=rate)[asked]
    return bounded_rate(float(counted.sum()), answered=int(decided.sum()), asked=asked.size)


def _ruled_out(judge: JudgeColumns, *, rate: Rate) -> Bool[np.ndarray, " rows"]:
    """Rows whose answers, even on one axis, already say that they don't count."""
    safe = judge.unsafe_known & ~judge.unsafe
    grounded = judge.not_grounded_known & ~judge.not_grounded
    if rate is Rate.UNSAFE:
        return np.asarray(safe)
    if rate is Rate.NOT_GROUNDED:
        return np.asarray(grounded)
    return np.asarray(safe | (judge.not_grounded_known & judge.not_grounded))
