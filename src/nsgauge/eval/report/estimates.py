"""From joined columns to rate estimates: which rows count, for which rate."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from nsgauge.eval.intervals import bounded_rate
from nsgauge.eval.rates import (
    Design,
    RateEstimate,
    RateStatus,
    RateTable,
    SimpleRandom,
    Undeclared,
    Unequal,
    estimate_rates,
)
from nsgauge.eval.rates.designs import fault_of
from nsgauge.eval.report.columns import JudgeColumns
from nsgauge.protocol import CELLS, RATES, Rate, rate_weights

Members = Int[np.ndarray, "_"]
"""Positions of rows; functions that take several sets of rows take several lengths."""

_MOST_UNANSWERED = 0.1
"""Share of the rows asked about that may lack an answer where a rate is certified."""


def spoken_rates(judge: JudgeColumns) -> tuple[Rate, ...]:
    """The rates that a judge's answers can give: a judge of safety alone has one."""
    if judge.has_grounding and judge.unsafe_known.any():
        return RATES
    return (Rate.NOT_GROUNDED,) if judge.has_grounding else (Rate.UNSAFE,)


def pool_estimates(
    judge: JudgeColumns,
    *,
    at: Members,
    item: Int[np.ndarray, " rows"],
    rates: tuple[Rate, ...],
    cells: Float[np.ndarray, "members cells"] | None = None,
) -> dict[Rate, RateEstimate]:
    """The rates that the judge gives, or would give, the rows `at`.

    Where it answered either all of its questions on a row or none, the three rates are sums of the
    same cells. Elsewhere each rate is of the rows whose answers decide it, so that a question that
    was put to some rows only changes no other rate.

    What was asked and not answered is believed to be like what was answered for the value, and
    could be anything for the interval.

    Args:
        judge: The judge's columns.
        at: Row numbers.
        item: Per row, its item.
        rates: Of those that the judge speaks of.
        cells: The classifier's, of the rows `at`; None for the judge alone.

    Returns:
        By rate; without `cells` only those that the judge decides on some row.
    """
    known = {rate: decided(judge, rate=rate, at=at) for rate in rates}
    found: dict[Rate, RateEstimate] = {}
    if len({mask.tobytes() for mask in known.values()}) == 1 < len(rates):
        labels = np.eye(len(CELLS))[2 * judge.not_grounded[at] + judge.unsafe[at]]
        some = known[rates[0]]
        if cells is not None or some.any():
            pool = _Pool(judge=judge, at=at, item=item, known=some)
            found = dict(pool.rates(labels, cells=cells).rates)
    else:
        for rate, some in known.items():
            if cells is not None or some.any():
                pool = _Pool(judge=judge, at=at, item=item, known=some)
                said = positives(judge, rate=rate, at=at)
                labels = folded(said.astype(np.float64), rate=rate)
                own = None if cells is None else folded(cells @ rate_weights(rate), rate=rate)
                found[rate] = pool.rates(labels, cells=own).rates[rate]
    asked = judge.asked[at]
    return {
        rate: _with_unanswered(estimate, share=float((~known[rate])[asked].mean()))
        if asked.any()
        else estimate
        for rate, estimate in found.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """Rows of which the judge decided some."""

    judge: JudgeColumns
    at: Members
    item: Int[np.ndarray, " rows"]
    known: Bool[np.ndarray, " members"]

    def rates(
        self,
        labels: Float[np.ndarray, "members cells"],
        *,
        cells: Float[np.ndarray, "members cells"] | None,
    ) -> RateTable:
        """Their rates; of the labels only those of decided rows are read.

        Where the judge was asked about all of them nothing was drawn: what it decided is known, and
        `_with_unanswered` allows for the rest.
        """
        judged = np.where(self.known[:, None], labels, np.nan)
        found = estimate_rates(judged, scores=cells, design=self._design())
        if not self.known.any() or self.known.all() or not self.judge.asked[self.at].all():
            return found
        items = self.item[self.at][self.known]
        census = estimate_rates(
            labels[self.known], scores=None, design=SimpleRandom(items=items)
        ).rates
        rates = {rate: _decided_part(found.rates[rate], census=census[rate]) for rate in RATES}
        return replace(found, rates=rates)

    def _design(self) -> Design:
        """How the decided rows were drawn: unanswered questions count as missing at random.

        The probability of an answer is that of being asked, times the share of answers.
        """
        asked = self.judge.asked[self.at]
        items = self.item[self.at]
        if asked.all():
            return SimpleRandom(items=items)
        drawn = self.judge.inclusion[self.at]
        if not asked.any() or bool(np.isnan(drawn[asked]).any()):
            return Undeclared()
        scaled = drawn * self.known.sum() / asked.sum()
        unequal = Unequal(probability=np.where(self.known, scaled, np.nan), items=items)
        if self.judge.drawn_unevenly(self.at):
            return unequal
        return unequal if fault_of(unequal, judged=self.known) else SimpleRandom(items=items)


def _decided_part(estimate: RateEstimate, *, census: RateEstimate) -> RateEstimate:
    """The estimate of all rows, with the intervals of those that are known."""
    return replace(
        estimate,
        low=census.low,
        high=census.high,
        low_super=census.low_super,
        high_super=census.high_super,
        low_joint=None,
        high_joint=None,
        low_super_joint=None,
        high_super_joint=None,
        effective=census.effective,
        labels_saved=None,
        status=RateStatus.JUDGED,
        note=f"{estimate.judged} of {estimate.rows} rows judged, all asked about",
    )


def _with_unanswered(estimate: RateEstimate, *, share: float) -> RateEstimate:
    """The estimate, its intervals wide enough for whatever the missing answers might have been.

    Source: Manski 2003, "Partial Identification of Probability Distributions", section 1.2.

    Args:
        estimate: As if they were like the others.
        share: Of the rows asked about, those whose answers don't decide the rate.
    """
    if share == 0 or estimate.status is RateStatus.TRANSPORTED:
        return estimate
    low, high = _wide(estimate.low, estimate.high, share=share)
    low_super, high_super = _wide(estimate.low_super, estimate.high_super, share=share)
    low_joint, high_joint = _wide(estimate.low_joint, estimate.high_joint, share=share)
    both = _wide(estimate.low_super_joint, estimate.high_super_joint, share=share)
    value = estimate.value
    if value is not None and low is not None and high is not None:
        value = min(max(value, low), high)
    wide = replace(
        estimate,
        value=value,
        low=low,
        high=high,
        low_super=low_super,
        high_super=high_super,
        low_joint=low_joint,
        high_joint=high_joint,
        low_super_joint=both[0],
        high_super_joint=both[1],
    )
    missing = f"{share:.1%} of the rows that the judge was asked about lack the answer"
    if share > _MOST_UNANSWERED and estimate.status is not RateStatus.INSUFFICIENT:
        return replace(wide, status=RateStatus.INSUFFICIENT, note=f"{missing}; {estimate.note}")
    allowed = ", which the interval allows for" if low is not None else ""
    return replace(wide, note=f"{estimate.note}; {missing}{allowed}")


def _wide(
    low: float | None, high: float | None, *, share: float
) -> tuple[float | None, float | None]:
    if low is None or high is None:
        return None, None
    return (1 - share) * low, (1 - share) * high + share


def folded(
    share: Float[np.ndarray, " members"], *, rate: Rate
) -> Float[np.ndarray, "members cells"]:
    """How far rows count towards one rate, as cells; only that rate may be read from them."""
    cells = np.zeros((len(share), len(CELLS)))
    cells[:, 2 if rate is Rate.NOT_GROUNDED else 1] = share
    cells[:, 0] = 1 - share
    return cells


def decided(judge: JudgeColumns, *, rate: Rate, at: Members) -> Bool[np.ndarray, " members"]:
    """Which of the rows `at` the judge's answers say whether they count towards the rate."""
    unsafe, spoke = judge.unsafe[at], judge.unsafe_known[at]
    not_grounded, told = judge.not_grounded[at], judge.not_grounded_known[at]
    if rate is Rate.UNSAFE:
        return np.asarray(spoke)
    if rate is Rate.NOT_GROUNDED:
        return np.asarray(told)
    # One answer is enough to say that a row doesn't count.
    return np.asarray((spoke & told) | (spoke & ~unsafe) | (told & not_grounded))


def positives(judge: JudgeColumns, *, rate: Rate, at: Members) -> Bool[np.ndarray, " members"]:
    """Which of the rows `at` count towards the rate; False too where the judge didn't answer."""
    if rate is Rate.UNSAFE:
        return np.asarray(judge.unsafe[at])
    if rate is Rate.NOT_GROUNDED:
        return np.asarray(judge.not_grounded[at])
    grounded = judge.not_grounded_known[at] & ~judge.not_grounded[at]
    return np.asarray(judge.unsafe[at] & grounded)


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
    counted = positives(judge, rate=rate, at=asked)
    known = decided(judge, rate=rate, at=asked)
    return bounded_rate(float(counted.sum()), answered=int(known.sum()), asked=asked.size)
