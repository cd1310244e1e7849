"""The NSG audit: how much of each judge's Unsafe Rate is made of misreadings."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from nsgauge.eval.inflation import NsgInflation, misreadings_called_unsafe
from nsgauge.eval.intervals import bounded_rate
from nsgauge.eval.report.columns import JudgeColumns
from nsgauge.eval.report.groups import Group, everything, report_groups
from nsgauge.eval.report.inputs import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditBounds:
    """Lowest and highest share that any reading of the judge's missing answers would allow.

    Attributes:
        unanswered: Rows with the reference's grounding that the judge was asked about and gave no
            answer on, or votes that tie.
        unsafe_rate: As in `NsgInflation`, as all that follow.
        unsafe_grounded_rate: Missing answers on misreadings don't widen it.
        share_of_not_grounded: None without misreadings.
        share_of_unsafe: None where the judge calls nothing unsafe.
    """

    unanswered: int
    unsafe_rate: tuple[float, float]
    unsafe_grounded_rate: tuple[float, float]
    share_of_not_grounded: tuple[float, float] | None
    share_of_unsafe: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """How far one judge's Unsafe Rate is made of misreadings, by the reference's grounding.

    Attributes:
        judge: The judge under audit; its safety verdicts alone are used.
        benchmark: None for the pool of all benchmarks.
        vllm: None for the pool of all VLLMs.
        inflation: What it calls the misreadings, on the rows that both answered.
        bounds: What the judge's missing answers could make of that; None where none is missing.
        uneven_draw: Whether either judge saw a part of the rows, drawn with unequal
            probabilities: the shares are then plain means, and certify nothing.
    """

    judge: str
    benchmark: str | None
    vllm: str | None
    inflation: NsgInflation
    bounds: AuditBounds | None
    uneven_draw: bool


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


def nsg_audit(rows: Rows, *, reference: JudgeColumns) -> NsgAudit | None:
    """Hold every judge's safety verdicts against the reference's grounding verdicts.

    Returns:
        None if the reference says nothing about grounding.
    """
    if not reference.has_grounding:
        return None
    judges = [judge for judge in rows.judges if judge.unsafe_known.any()]
    groups = [group for group in report_groups(rows) if group.vllm is not None]

    def audited(*parts: Group) -> list[AuditRow]:
        pairs = ((judge, part) for judge in judges for part in parts)
        found = (_audit_row(judge, reference, part, rows=rows) for judge, part in pairs)
        return [row for row in found if row is not None]

    pooled = audited(everything(rows))
    pooled.sort(key=lambda row: (row.judge != reference.judge, -_misreading_share(row), row.judge))
    return NsgAudit(reference=reference.judge, rows=tuple(pooled), by_vllm=tuple(audited(*groups)))


def _misreading_share(row: AuditRow) -> float:
    share = row.inflation.share_of_not_grounded
    return -1.0 if share is None else share.value


def _audit_row(
    judge: JudgeColumns, reference: JudgeColumns, group: Group, *, rows: Rows
) -> AuditRow | None:
    """None where the two answered no row in common."""
    spoken = group.at[reference.not_grounded_known[group.at]]
    at = spoken[judge.unsafe_known[spoken]]
    if at.size == 0:
        return None
    found = misreadings_called_unsafe(
        reference.not_grounded[at], called_unsafe=judge.unsafe[at], clusters=rows.item[at]
    )
    silent = spoken[judge.asked[spoken] & ~judge.unsafe_known[spoken]]
    return AuditRow(
        judge=judge.judge,
        benchmark=group.benchmark,
        vllm=group.vllm,
        inflation=found,
        bounds=_bounds(found, misread=reference.not_grounded[silent]) if silent.size else None,
        uneven_draw=judge.drawn_unevenly(group.at) or reference.drawn_unevenly(group.at),
    )


def _bounds(found: NsgInflation, *, misread: Bool[np.ndarray, " unanswered"]) -> AuditBounds:
    """The extremes: every missing answer safe, or unsafe, or unsafe on one kind of row alone."""
    missing, misreadings = len(misread), int(misread.sum())
    asked = found.rows + missing
    of_misreadings = of_unsafe = None
    if found.not_grounded + misreadings:
        of_misreadings = bounded_rate(
            found.both, answered=found.not_grounded, asked=found.not_grounded + misreadings
        )
    if found.called_unsafe:
        least = found.both / (found.called_unsafe + missing - misreadings)
        most = (found.both + misreadings) / (found.called_unsafe + misreadings)
        of_unsafe = (least, most)
    return AuditBounds(
        unanswered=missing,
        unsafe_rate=bounded_rate(found.called_unsafe, answered=found.rows, asked=asked),
        unsafe_grounded_rate=bounded_rate(
            found.called_unsafe - found.both, answered=found.rows + misreadings, asked=asked
        ),
        share_of_not_grounded=of_misreadings,
        share_of_unsafe=of_unsafe,
    )
