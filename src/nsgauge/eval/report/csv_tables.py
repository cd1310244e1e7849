"""The report's numbers as flat tables, one row a thing, for spreadsheets and scripts."""

from collections.abc import Iterable, Mapping

from nsgauge.eval.intervals import Bounded
from nsgauge.eval.rates import RateEstimate
from nsgauge.eval.report.audit import AuditRow
from nsgauge.eval.report.contents import Report
from nsgauge.eval.report.decision_tables import check_table, curve_table, escalation_table
from nsgauge.eval.report.files import Cell, CsvTable
from nsgauge.eval.report.headline import HeadlineRow
from nsgauge.eval.report.judging import JudgeRow
from nsgauge.eval.report.orders import order_table
from nsgauge.eval.report.slice_tables import drift_table, slice_table
from nsgauge.eval.report.transport import Transport

_ESTIMATE = (
    "value", "low", "high", "low_super", "high_super", "low_joint", "high_joint",
    "low_super_joint", "high_super_joint", "rows", "judged", "positives", "status", "judge_only",
    "correlation", "effective", "labels_saved",
)  # fmt: skip
_AXIS = (
    "rows", "positives", "predicted_positives", "accuracy", "kappa", "kappa_low", "kappa_high",
    "ac1", "ac1_low", "ac1_high", "mcc", "precision", "recall", "f1", "balanced_accuracy",
    "auroc", "auroc_low", "auroc_high", "auprc", "prevalence",
)  # fmt: skip
_OUTCOME = ("rows", "accuracy", "kappa", "kappa_low", "kappa_high", "macro_f1")
_COUNTED = ("rows", "not_grounded", "called_unsafe", "both")
_BOUNDED = ("unsafe_rate", "unsafe_grounded_rate", "share_of_not_grounded", "share_of_unsafe")
_AUDITED = (*_BOUNDED, "share_of_grounded")
_CONTROL = (
    "axis", "run", "scope", "rows", "positives", "auroc", "as_scored", "difference", "low", "high",
)  # fmt: skip
_ERRORS = ("smooth_ece", "debiased_l2", "ece15", "mcb")


def report_tables(report: Report) -> dict[str, CsvTable]:
    """Every table of the report by file name (without .csv); some may have no rows."""
    return {
        "headline": _headline(report),
        "nsg_audit": _audit(report),
        "judges": _judges(report),
        "agreement": _agreement(report),
        "outcomes": _outcomes(report),
        "judge_pairs": _pairs(report),
        "judge_repeats": _repeats(report),
        "calibration": _calibration(report),
        "reliability_curves": _curves(report),
        "orders": order_table(report.orders),
        "slices": slice_table(report.slices),
        "drift": drift_table(report.transport),
        "picture_controls": _controls(report),
        "risk_coverage": curve_table(report.escalation),
        "escalation": escalation_table(report.escalation),
        "threshold_checks": check_table(report.thresholds),
        "coverage": _coverage(report),
    }


def _headline(report: Report) -> CsvTable:
    lines = report.headline.rows if report.headline else ()
    return _table(
        (
            "benchmark",
            "vllm",
            "group_rows",
            "seen",
            "unscored",
            "basis",
            "rate",
            "source",
            *_ESTIMATE,
            "naive",
            "difference",
            "difference_low",
            "difference_high",
            "gate",
        ),
        (entry for line in lines for entry in _headline_entries(line, transport=report.transport)),
    )


def _headline_entries(
    line: HeadlineRow, *, transport: Transport | None
) -> Iterable[tuple[Cell, ...]]:
    group = (line.benchmark, line.vllm, line.rows, line.seen, line.unscored, line.basis)
    gate = transport.gate(line) if transport else None
    for source, estimates in (("judge", line.judge), ("classifier", line.classifier)):
        for rate, estimate in estimates.items():
            gap = line.difference.get(rate)
            ends = (gap.value, gap.low, gap.high) if gap else (None, None, None)
            yield (*group, rate, source, *_estimate(estimate), line.naive.get(rate), *ends, gate)


def _audit(report: Report) -> CsvTable:
    audit = report.audit
    shares = [f"{name}{end}" for name in _AUDITED for end in _ENDS]
    bounds = [f"{name}{end}" for name in _BOUNDED for end in ("_lowest", "_highest")]
    lines = (*audit.rows, *audit.by_vllm) if audit else ()
    return _table(
        ("judge", "benchmark", "vllm", *_COUNTED, *shares, "unanswered", *bounds, "uneven_draw"),
        (_audit_entry(line) for line in lines),
    )


def _audit_entry(line: AuditRow) -> tuple[Cell, ...]:
    shares = [cell for name in _AUDITED for cell in _bounded(getattr(line.inflation, name))]
    bounds: list[Cell] = [0, *[None] * (2 * len(_BOUNDED))]
    if line.bounds is not None:
        ends = [getattr(line.bounds, name) or (None, None) for name in _BOUNDED]
        bounds = [line.bounds.unanswered, *(end for pair in ends for end in pair)]
    counts = _named(line.inflation, _COUNTED)
    group = (line.judge, line.benchmark, line.vllm)
    return (*group, *counts, *shares, *bounds, line.uneven_draw)


def _judges(report: Report) -> CsvTable:
    lines = (
        (summary.judge, line)
        for summary in report.judges
        for line in (summary.pooled, *summary.groups)
    )
    return _table(
        (
            "judge",
            "benchmark",
            "vllm",
            "group_rows",
            "asked",
            "rate",
            *_ESTIMATE,
            "lowest",
            "highest",
            "uneven_draw",
        ),
        (entry for judge, line in lines for entry in _judge_entries(judge, line=line)),
    )


def _judge_entries(judge: str, *, line: JudgeRow) -> Iterable[tuple[Cell, ...]]:
    for rate, estimate in line.rates.items():
        bounds = line.bounds.get(rate, (None, None))
        group = (judge, line.benchmark, line.vllm, line.rows, line.asked, rate)
        yield (*group, *_estimate(estimate), *bounds, line.uneven_draw)


def _agreement(report: Report) -> CsvTable:
    return _table(
        ("judge", "axis", "slice", *_AXIS),
        (
            (entry.judge, entry.axis, entry.slice, *_named(entry.agreement, _AXIS))
            for entry in report.comparison.classifier
        ),
    )


def _outcomes(report: Report) -> CsvTable:
    return _table(
        ("judge", "slice", *_OUTCOME),
        (
            (entry.judge, entry.slice, *_named(entry.agreement, _OUTCOME))
            for entry in report.comparison.classifier_outcomes
        ),
    )


def _pairs(report: Report) -> CsvTable:
    rows: list[tuple[Cell, ...]] = []
    for pair in report.comparison.judges:
        rows += [
            (pair.first, pair.second, axis, *_named(found, _AXIS))
            for axis, found in pair.axes.items()
        ]
        if pair.outcomes is not None:
            measures = {name: getattr(pair.outcomes, name) for name in _OUTCOME}
            cells = [measures.get(name) for name in _AXIS]
            rows.append((pair.first, pair.second, "three_outcomes", *cells))
    return _table(("first", "second", "axis", *_AXIS), rows)


def _repeats(report: Report) -> CsvTable:
    measures = ("flip_rate", "kappa", "ac1")
    rows: list[tuple[Cell, ...]] = []
    for judge in report.comparison.repeats:
        for axis, found in judge.axes.items():
            cells = [cell for name in measures for cell in _bounded(getattr(found, name))]
            rows.append((judge.judge, axis, found.triples, found.votes, *cells))
    names = [f"{name}{end}" for name in measures for end in _ENDS]
    return _table(("judge", "axis", "triples", "votes", *names), rows)


def _calibration(report: Report) -> CsvTable:
    measures = ("value", "null", "null_high", "p_value")
    rows: list[tuple[Cell, ...]] = []
    for axis in report.reliability:
        found = axis.reliability
        for name in _ERRORS:
            cells = _named(getattr(found, name), measures)
            rows.append((axis.axis, axis.judge, found.rows, name, *cells))
    return _table(("axis", "judge", "rows", "measure", *measures), rows)


def _curves(report: Report) -> CsvTable:
    rows: list[tuple[Cell, ...]] = []
    for axis in report.reliability:
        found = axis.reliability.curve
        curve = zip(found.probability.tolist(), found.positive_share.tolist(), strict=True)
        rows += [(axis.axis, "curve", at, share, None) for at, share in curve]
        ends = (found.band_at.tolist(), found.band_low.tolist(), found.band_high.tolist())
        rows += [(axis.axis, "band", *point) for point in zip(*ends, strict=True)]
    return _table(("axis", "what", "probability", "share_or_low", "high"), rows)


def _controls(report: Report) -> CsvTable:
    results = report.controls.results if report.controls else ()
    return _table(_CONTROL, (_named(result, _CONTROL) for result in results))


def _coverage(report: Report) -> CsvTable:
    coverage = report.coverage
    kinds: Mapping[str, Mapping[str, int]] = {
        "response_state": coverage.response_states,
        "score_status": coverage.statuses,
        "image_code": coverage.image_codes,
        "image_state": coverage.image_states,
    }
    rows = (
        (kind, state, number) for kind, states in kinds.items() for state, number in states.items()
    )
    return _table(("kind", "state", "rows"), rows)


_ENDS = ("", "_low", "_high")


def _estimate(estimate: RateEstimate) -> tuple[Cell, ...]:
    return _named(estimate, _ESTIMATE)


def _bounded(share: Bounded | None) -> tuple[Cell, ...]:
    return (None, None, None) if share is None else (share.value, share.low, share.high)


def _named(record: object, names: Iterable[str]) -> tuple[Cell, ...]:
    return tuple(getattr(record, name) for name in names)


def _table(header: tuple[str, ...], rows: Iterable[tuple[Cell, ...]]) -> CsvTable:
    return CsvTable(header=header, rows=tuple(rows))
