"""The report as one result object: everything that is shown is computed here first."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nsgauge.errors import DataError
from nsgauge.eval.calibration import Reliability, reliability
from nsgauge.eval.controls import ImageControls, image_controls
from nsgauge.eval.report.audit import NsgAudit, nsg_audit
from nsgauge.eval.report.columns import JudgeColumns, ScoreColumns
from nsgauge.eval.report.comparison import AXES, Comparison, compare
from nsgauge.eval.report.coverage import Coverage, coverage_of, provenance_of
from nsgauge.eval.report.decisions import (
    AxisEscalation,
    ThresholdCheck,
    escalations,
    threshold_checks,
)
from nsgauge.eval.report.disagreements import Disagreements, disagreements
from nsgauge.eval.report.headline import Headline, headline_table
from nsgauge.eval.report.inputs import ReportInputs, Rows, join_rows, pick_reference
from nsgauge.eval.report.judging import JudgeSummary, judge_summaries
from nsgauge.eval.report.orders import VllmOrder, vllm_orders
from nsgauge.eval.report.slicing import SliceRow, slice_rows
from nsgauge.eval.report.transport import Transport, transport

FORMAT = "nsgauge-report/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What the report is about, in names and counts.

    Attributes:
        triples: Rows of the data folder.
        items: Distinct items (prompts with their picture).
        benchmarks: In order of first appearance.
        vllms: Likewise.
        judges: Likewise.
        reference: The judge that is taken as the truth; None without verdicts.
        teachers: The judges that the classifier was trained on, if it says so.
        scored: Rows with probabilities; None without a score folder.
        unseen: Of those, rows whose item the classifier was not fitted on.
    """

    triples: int
    items: int
    benchmarks: tuple[str, ...]
    vllms: tuple[str, ...]
    judges: tuple[str, ...]
    reference: str | None
    teachers: tuple[str, ...]
    scored: int | None
    unseen: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisReliability:
    """How well the probabilities of one axis hold, against the reference on unseen rows.

    Attributes:
        axis: `unsafe` or `not_grounded`.
        judge: The reference.
        histogram: Rows in 20 bins of probability of equal width.
        reliability: Curve, band and measures.
    """

    axis: str
    judge: str
    histogram: tuple[int, ...]
    reliability: Reliability


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything on the page; report.json has the same fields under the same names.

    Attributes:
        format: Version of this layout.
        title: Heading of the page.
        command: The command that made the report.
        overview: Names and counts.
        headline: The three rates per VLLM and benchmark; None without scores.
        audit: What judges do with misreadings; None without grounding verdicts.
        judges: Every judge by itself, on all rows.
        comparison: Agreement of the classifier with judges and of judges with each other.
        reliability: One entry an axis; empty without scores or answers on unseen rows.
        orders: The order of the VLLMs by axis; empty likewise, or with fewer than three.
        slices: Calibration by VLLM, benchmark, length and the like; empty likewise.
        transport: The gate before rates that nothing checks; None where there are none, or where
            nothing is checked.
        controls: The picture controls; None without scores or reference.
        escalation: Risk against coverage by axis, of known VLLMs and of others; empty without
            scores or answers on unseen rows.
        thresholds: Each VLLM's verdicts at the bundle's thresholds; empty likewise.
        disagreements: Rows on which classifier and reference differ; None if there are none.
        coverage: What became of every row.
        provenance: Where the numbers come from.
    """

    format: str
    title: str
    command: str
    overview: Overview
    headline: Headline | None
    audit: NsgAudit | None
    judges: tuple[JudgeSummary, ...]
    comparison: Comparison
    reliability: tuple[AxisReliability, ...]
    orders: tuple[VllmOrder, ...]
    slices: tuple[SliceRow, ...]
    transport: Transport | None
    controls: ImageControls | None
    escalation: tuple[AxisEscalation, ...]
    thresholds: tuple[ThresholdCheck, ...]
    disagreements: Disagreements | None
    coverage: Coverage
    provenance: dict[str, object]


def build_report(inputs: ReportInputs) -> Report:
    """Compute everything that a report shows.

    Raises:
        DataError: tables that don't belong together, no triples, neither verdicts nor scores, or a
            reference that gave no verdicts.
    """
    rows = join_rows(inputs)
    scores = rows.scores
    teachers = _teachers(inputs)
    if scores is None and not rows.judges:
        raise DataError(
            "neither verdicts nor scores: judge some triples or give a score folder to report on"
        )
    name = pick_reference(rows, wanted=inputs.reference, teachers=teachers)
    reference = None if name is None else rows.judge(name)
    headline = headline_table(rows, scores=scores, reference=reference) if scores else None
    return Report(
        format=FORMAT,
        title=inputs.title,
        command=inputs.command,
        overview=_overview(rows, reference=name, teachers=teachers),
        headline=headline,
        audit=nsg_audit(rows, reference=reference) if reference else None,
        judges=judge_summaries(rows),
        comparison=compare(rows, reference=name),
        reliability=_reliability(rows, scores=scores, reference=reference, seed=inputs.seed),
        orders=_orders(rows, scores=scores, reference=reference, seed=inputs.seed),
        slices=slice_rows(rows, scores=scores, reference=reference) if scores and reference else (),
        transport=_transport(rows, headline=headline, seed=inputs.seed),
        controls=_controls(inputs, reference=reference),
        escalation=_escalation(rows, scores=scores, reference=reference, seed=inputs.seed),
        thresholds=_thresholds(inputs, rows=rows, reference=reference),
        disagreements=_disagreements(inputs, rows=rows, reference=reference),
        coverage=coverage_of(inputs, rows=rows),
        provenance=provenance_of(inputs),
    )


def _teachers(inputs: ReportInputs) -> tuple[str, ...]:
    judges = inputs.bundle.get("judges", ())
    if isinstance(judges, str):
        return (judges,)
    return tuple(str(judge) for judge in judges) if isinstance(judges, list | tuple) else ()


def _overview(rows: Rows, *, reference: str | None, teachers: tuple[str, ...]) -> Overview:
    return Overview(
        triples=rows.item.size,
        items=np.unique(rows.item).size,
        benchmarks=rows.benchmarks,
        vllms=rows.vllms,
        judges=tuple(judge.judge for judge in rows.judges),
        reference=reference,
        teachers=teachers,
        scored=int(rows.scores.scored.sum()) if rows.scores else None,
        unseen=int(rows.scores.fresh.sum()) if rows.scores else None,
    )


def _reliability(
    rows: Rows, *, scores: ScoreColumns | None, reference: JudgeColumns | None, seed: int
) -> tuple[AxisReliability, ...]:
    if scores is None or reference is None:
        return ()
    found: list[AxisReliability] = []
    for axis in AXES:
        known = scores.fresh & reference.known(axis)
        if not known.any():
            continue
        probability = scores.probability(axis)[known]
        histogram = np.histogram(probability, bins=20, range=(0, 1))[0]
        measured = reliability(
            probability,
            positive=reference.positive(axis)[known],
            clusters=rows.item[known],
            seed=seed,
        )
        found.append(
            AxisReliability(
                axis=axis,
                judge=reference.judge,
                histogram=tuple(histogram.tolist()),
                reliability=measured,
            )
        )
    return tuple(found)


def _orders(
    rows: Rows, *, scores: ScoreColumns | None, reference: JudgeColumns | None, seed: int
) -> tuple[VllmOrder, ...]:
    if scores is None or reference is None:
        return ()
    return vllm_orders(rows, scores=scores, reference=reference, seed=seed)


def _escalation(
    rows: Rows, *, scores: ScoreColumns | None, reference: JudgeColumns | None, seed: int
) -> tuple[AxisEscalation, ...]:
    if scores is None or reference is None:
        return ()
    return escalations(rows, scores=scores, reference=reference, seed=seed)


def _transport(rows: Rows, *, headline: Headline | None, seed: int) -> Transport | None:
    if rows.scores is None or headline is None:
        return None
    return transport(rows, scores=rows.scores, headline=headline, seed=seed)


def _thresholds(
    inputs: ReportInputs, *, rows: Rows, reference: JudgeColumns | None
) -> tuple[ThresholdCheck, ...]:
    if rows.scores is None or reference is None:
        return ()
    targets = inputs.bundle.get("threshold_target")
    return threshold_checks(
        rows,
        scores=rows.scores,
        reference=reference,
        targets=targets if isinstance(targets, Mapping) else {},
    )


def _disagreements(
    inputs: ReportInputs, *, rows: Rows, reference: JudgeColumns | None
) -> Disagreements | None:
    if rows.scores is None or reference is None:
        return None
    return disagreements(
        rows,
        ids=inputs.triples["triple_id"],
        scores=rows.scores,
        reference=reference,
        wanted=inputs.cases,
        seed=inputs.seed,
    )


def _controls(inputs: ReportInputs, *, reference: JudgeColumns | None) -> ImageControls | None:
    if inputs.scores is None or reference is None:
        return None
    return image_controls(
        inputs.scores, controls=inputs.controls, labels=reference.labels, triples=inputs.triples
    )
