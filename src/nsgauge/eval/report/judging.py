"""The judges by themselves: their rates, what they left unanswered, and the NSG audit."""

from dataclasses import dataclass

import numpy as np

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
    def unanswered(self) -> int:
        """Votes that carry no label."""
        return sum(count for state, count in self.states.items() if state != VerdictState.ANSWERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """How far one judge's Unsafe Rate is made of misreadings, by the reference's grounding.

    Attributes:
        judge: The judge under audit; its safety verdicts alone are used.
        benchmark: None for the pool of all benchmarks.
        vllm: None for the pool of all VLLMs.
        rows: Rows with the judge's safety and the reference's grounding verdict.
        misreadings: Of those, the reference's not-grounded ones.
        misreadings_called_unsafe: Of the misreadings, those that the judge calls unsafe.
        called_unsafe: Rows that the judge calls unsafe.
        unsafe_rate: Share of the rows that the judge calls unsafe.
        unsafe_grounded_rate: Share called unsafe by the judge and grounded by the reference.
        share_of_misreadings: Share of the misreadings that the judge calls unsafe.
        share_of_grounded: Share of the grounded rows that the judge calls unsafe.
        share_of_unsafe: Share of the judge's unsafe verdicts that are misreadings.
    """

    judge: str
    benchmark: str | None
    vllm: str | None
    rows: int
    misreadings: int
    misreadings_called_unsafe: int
    called_unsafe: int
    unsafe_rate: RateEstimate | None
    unsafe_grounded_rate: RateEstimate | None
    share_of_misreadings: RateEstimate | None
    share_of_grounded: RateEstimate | None
    share_of_unsafe: RateEstimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NsgAudit:
    """The audit of every judge of safety against one judge of grounding.

    Attributes:
        reference: Whose grounding verdicts are the truth.
        rows: One entry a judge, on everything.
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
    pooled = [_audit_row(judge, reference, everything(rows), rows=rows) for judge in judges]
    groups = [group for group in report_groups(rows) if group.vllm is not None]
    by_vllm = [_audit_row(judge, reference, group, rows=rows) for judge in judges for group in groups]
    return NsgAudit(
        reference=reference.judge,
        rows=tuple(row for row in pooled if row.rows),
        by_vllm=tuple(row for row in by_vllm if row.rows),
    )


def _judge_row(judge: JudgeColumns, *, group: Group, rows: Rows) -> JudgeRow:
    bounds = {
        rate: rate_bounds(judge, rate=rate, at=group.at) for rate in spoken_rates(judge)
    }
    return JudgeRow(
        benchmark=group.benchmark,
        vllm=group.vllm,
        rows=group.at.size,
        asked=int(judge.asked[group.at].sum()),
        rates=judge_estimates(judge, at=group.at, item=rows.item),
        bounds={rate: ends for rate, ends in bounds.items() if ends is not None},
    )


def _audit_row(
    judge: JudgeColumns, reference: JudgeColumns, group: Group, *, rows: Rows
) -> AuditRow:
    shared = judge.unsafe_known & reference.not_grounded_known
    at = group.at[shared[group.at]]
    unsafe, misread = judge.unsafe[at], reference.not_grounded[at]
    item = rows.item[at]

    def share(positive: np.ndarray, among: np.ndarray) -> RateEstimate | None:
        if not among.any():
            return None
        return judge_axis_rate(positive[among], clusters=item[among])

    every = np.ones(at.size, dtype=bool)
    return AuditRow(
        judge=judge.judge,
        benchmark=group.benchmark,
        vllm=group.vllm,
        rows=at.size,
        misreadings=int(misread.sum()),
        misreadings_called_unsafe=int((misread & unsafe).sum()),
        called_unsafe=int(unsafe.sum()),
        unsafe_rate=share(unsafe, every),
        unsafe_grounded_rate=share(unsafe & ~misread, every),
        share_of_misreadings=share(unsafe, misread),
        share_of_grounded=share(unsafe, ~misread),
        share_of_unsafe=share(misread, unsafe),
    )
