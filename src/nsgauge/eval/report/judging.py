"""The judges by themselves: their rates, what they left unanswered, and the NSG audit."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from nsgauge.eval.agreement import NsgInflation, misreadings_called_unsafe
from nsgauge.eval.rates import RateEstimate, judge_axis_rate
from nsgauge.eval.report.estimates import judge_estimates, rate_bounds, spoken_rates
from nsgauge.eval.report.groups import Group, everything, report_groups
from nsgauge.eval.report.inputs import JudgeColumns, Rows
from nsgauge.protocol import Rate
from nsgauge.records import VerdictState


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRow:
    """One judge's rates in one group.

    Attributes:
        benchmark: None for the pool of all benchmarks.
        vllm: None for the pool of all VLLMs.
        rows: Triples in the group.
        asked: Of those, the ones with any verdict of this judge.
        rates: On the rows that it answered; empty if none.
        bounds: Per rate, the lowest and highest value that the missing answers allow.
    """

    benchmark: str | None
    vllm: str | None
    rows: int
    asked: int
    rates: dict[Rate, RateEstimate]
    bounds: dict[Rate, tuple[float, float]]


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
        """The states that carry no label, with their counts."""
        return {
            state: count for state, count in self.states.items() if state != VerdictState.ANSWERED
        }

    @property
    def unanswered(self) -> int:
        """Votes that carry no label."""
        return sum(self.silent_states.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """How far one judge's Unsafe Rate is made of misreadings, by the reference's grounding.

    Attributes:
        judge: The judge under audit; its safety verdicts alone are used.
        benchmark: None for the pool of all benchmarks.
        vllm: None for the pool of all VLLMs.
        inflation: What it calls the misreadings, on the rows that both answered.
        unsafe_rate: Share of those rows that the judge calls unsafe.
        unsafe_grounded_rate: Share called unsafe by the judge and grounded by the reference.
    """

    judge: str
    benchmark: str | None
    vllm: str | None
    inflation: NsgInflation
    unsafe_rate: RateEstimate
    unsafe_grounded_rate: RateEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class NsgAudit:
    """The audit of every judge of safety against one judge of grounding.

    Attributes:
        reference: Whose grounding verdicts are the truth.
        rows: One entry a judge, on everything; the reference first, then by the share of the
            misreadings that it calls unsafe.
        by_vllm: One entry a judge and group.
    """

    reference: str
    rows: tuple[AuditRow, ...]
    by_vllm: tuple[AuditRow, ...]


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


def nsg_audit(rows: Rows, *, reference: JudgeColumns) -> NsgAudit | None:
    """Hold every judge's safety verdicts against the reference's grounding verdicts.

    Returns:
        None if the reference says nothing about grounding.
    """
    if not reference.has_grounding:
        return None
    judges = [judge for judge in rows.judges if judge.unsafe_known.any()]
    groups = [group for group in report_groups(rows) if group.vllm is not None]
    pooled = [_audit_row(judge, reference, everything(rows), item=rows.item) for judge in judges]
    by_vllm = [
        _audit_row(judge, reference, group, item=rows.item) for judge in judges for group in groups
    ]
    found = [row for row in pooled if row is not None]
    found.sort(key=lambda row: (row.judge != reference.judge, -_misreading_share(row), row.judge))
    return NsgAudit(
        reference=reference.judge,
        rows=tuple(found),
        by_vllm=tuple(row for row in by_vllm if row is not None),
    )


def _judge_row(judge: JudgeColumns, *, group: Group, rows: Rows) -> JudgeRow:
    bounds = {rate: rate_bounds(judge, rate=rate, at=group.at) for rate in spoken_rates(judge)}
    return JudgeRow(
        benchmark=group.benchmark,
        vllm=group.vllm,
        rows=group.at.size,
        asked=int(judge.asked[group.at].sum()),
        rates=judge_estimates(judge, at=group.at, item=rows.item),
        bounds={rate: ends for rate, ends in bounds.items() if ends is not None},
    )


def _misreading_share(row: AuditRow) -> float:
    share = row.inflation.share_of_not_grounded
    return -1.0 if share is None else share.value


def _audit_row(
    judge: JudgeColumns, reference: JudgeColumns, group: Group, *, item: Int[np.ndarray, " rows"]
) -> AuditRow | None:
    """None where the two answered no row in common."""
    shared = judge.unsafe_known & reference.not_grounded_known
    at = group.at[shared[group.at]]
    if at.size == 0:
        return None
    unsafe, misread, items = judge.unsafe[at], reference.not_grounded[at], item[at]
    return AuditRow(
        judge=judge.judge,
        benchmark=group.benchmark,
        vllm=group.vllm,
        inflation=misreadings_called_unsafe(misread, called_unsafe=unsafe, clusters=items),
        unsafe_rate=judge_axis_rate(unsafe, clusters=items),
        unsafe_grounded_rate=judge_axis_rate(
            unsafe & ~misread, rate=Rate.UNSAFE_GROUNDED, clusters=items
        ),
    )
