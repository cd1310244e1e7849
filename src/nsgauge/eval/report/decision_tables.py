"""Escalation and threshold checks as flat tables."""

from collections.abc import Iterable, Iterator

from nsgauge.eval.intervals import Bounded
from nsgauge.eval.report.decisions import AxisEscalation, ThresholdCheck
from nsgauge.eval.report.files import Cell, CsvTable

_CURVE = ("axis", "vllms", "confidence", "coverage", "risk")
_ESCALATION = (
    "axis", "vllms", "rows", "errors", "aurc", "aurc_low", "aurc_high", "excess", "excess_low",
    "excess_high", "void", "risk_limit", "failure", "confidence", "kept", "kept_errors", "waiting",
    "to_judge", "unseen_vllm_rows", "unseen_vllm_kept", "unseen_vllm_errors",
)  # fmt: skip
_CHECK = (
    "vllm", "axis", "vllm_seen", "rows", "items", "positives", "called", "hits", "precision",
    "precision_low", "precision_high", "recall", "recall_low", "recall_high", "difference",
    "difference_low", "difference_high", "promise", "wanted", "p_value", "adjusted", "uneven_draw",
    "standing",
)  # fmt: skip
_NO_OFFER = (None,) * 10


def curve_table(axes: Iterable[AxisEscalation]) -> CsvTable:
    """Risk against coverage, a row a point."""
    rows: list[tuple[Cell, ...]] = []
    for axis in axes:
        curve = axis.curve
        points = (curve.confidence.tolist(), curve.coverage.tolist(), curve.risk.tolist())
        rows += [(axis.axis, axis.slice, *point) for point in zip(*points, strict=True)]
    return CsvTable(header=_CURVE, rows=tuple(rows))


def escalation_table(axes: Iterable[AxisEscalation]) -> CsvTable:
    """Areas and guarantees, a row a limit; one row without them where none can be given."""
    return CsvTable(header=_ESCALATION, rows=tuple(row for axis in axes for row in _offers(axis)))


def check_table(checks: Iterable[ThresholdCheck]) -> CsvTable:
    """Threshold checks, a row a VLLM and axis."""
    return CsvTable(header=_CHECK, rows=tuple(_check(check) for check in checks))


def _offers(axis: AxisEscalation) -> Iterator[tuple[Cell, ...]]:
    curve = axis.curve
    areas = (*curve.aurc, *curve.excess)
    facts = (axis.axis, axis.slice, curve.rows, curve.errors, *areas, axis.void)
    if not axis.offers:
        yield (*facts, *_NO_OFFER)
    for offer in axis.offers:
        found = offer.guarantee
        yield (
            *facts,
            found.risk_limit,
            found.failure,
            found.confidence,
            found.kept,
            found.errors,
            offer.waiting,
            offer.to_judge,
            offer.unseen_rows,
            offer.unseen_kept,
            offer.unseen_errors,
        )


def _check(check: ThresholdCheck) -> tuple[Cell, ...]:
    shares = check.shares
    return (
        check.vllm,
        check.axis,
        check.vllm_seen,
        shares.rows,
        shares.items,
        shares.positives,
        shares.called,
        shares.hits,
        *_bounded(shares.precision),
        *_bounded(shares.recall),
        *_bounded(shares.difference),
        check.promise,
        check.wanted if check.wanted else None,
        check.p_value,
        check.adjusted,
        check.uneven_draw,
        check.standing,
    )


def _bounded(share: Bounded | None) -> tuple[Cell, Cell, Cell]:
    return (None, None, None) if share is None else (share.value, share.low, share.high)
