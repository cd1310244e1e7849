"""The judges by themselves: their rates, and what they left unanswered."""

from dataclasses import dataclass

from nsgauge.eval.rates import RateEstimate
from nsgauge.eval.report.columns import JudgeColumns
from nsgauge.eval.report.estimates import pool_estimates, rate_bounds, spoken_rates
from nsgauge.eval.report.groups import Group, everything, report_groups
from nsgauge.eval.report.inputs import Rows
from nsgauge.protocol import Rate
from nsgauge.records import VerdictState


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRow:
    """One judge's rates in one group.

    Attributes:
        benchmark: None for the pool of all benchmarks.
        vllm: None for the pool of all VLLMs.
        rows: Triples in the group.
        asked: Of those, the ones that this judge was asked about, whether it answered or not.
        rates: That it gives the group, or would give it where it saw a part; those that none of
            its answers decides are left out.
        bounds: Per rate, the lowest and highest value that the missing answers allow.
        uneven_draw: Whether the judge saw a part of the rows, drawn with unequal probabilities:
            where these aren't declared, its rates certify nothing.
    """

    benchmark: str | None
    vllm: str | None
    rows: int
    asked: int
    rates: dict[Rate, RateEstimate]
    bounds: dict[Rate, tuple[float, float]]
    uneven_draw: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSummary:
    """One judge on all rows, seen or not by any classifier.

    Attributes:
        judge: Its name.
        states: Votes by state; all but `answered` carry no label.
        pooled: Its rates on everything.
        groups: Its rates per group.
    """

    judge: str
    states: dict[str, int]
    pooled: JudgeRow
    groups: tuple[JudgeRow, ...]

    @property
    def silent_states(self) -> dict[str, int]:
        """The states of questions that were asked and gave no label, with their counts."""
        others = (VerdictState.ANSWERED, VerdictState.UNJUDGED)
        return {state: count for state, count in self.states.items() if state not in others}

    @property
    def unanswered(self) -> int:
        """Questions without a label."""
        return sum(self.silent_states.values())


def judge_summaries(rows: Rows) -> tuple[JudgeSummary, ...]:
    """Every judge's rates on everything and per group."""
    groups = report_groups(rows)
    return tuple(
        JudgeSummary(
            judge=judge.judge,
            states=judge.states,
            pooled=_judge_row(judge, group=everything(rows), rows=rows),
            groups=tuple(_judge_row(judge, group=group, rows=rows) for group in groups),
        )
        for judge in rows.judges
    )


def _judge_row(judge: JudgeColumns, *, group: Group, rows: Rows) -> JudgeRow:
    rates = spoken_rates(judge)
    bounds = {rate: rate_bounds(judge, rate=rate, at=group.at) for rate in rates}
    return JudgeRow(
        benchmark=group.benchmark,
        vllm=group.vllm,
        rows=group.at.size,
        asked=int(judge.asked[group.at].sum()),
        rates=pool_estimates(judge, at=group.at, item=rows.item, rates=rates),
        bounds={rate: ends for rate, ends in bounds.items() if ends is not None},
        uneven_draw=judge.drawn_unevenly(group.at),
    )
