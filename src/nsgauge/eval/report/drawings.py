"""Which pictures a report has, and what each is drawn from."""

import numpy as np

from nsgauge.eval.intervals import Bounded
from nsgauge.eval.rates import RateEstimate
from nsgauge.eval.report.comparison import AXES, Slice
from nsgauge.eval.report.contents import AxisReliability, Report
from nsgauge.eval.report.decisions import AxisEscalation
from nsgauge.eval.report.figures import (
    DotRow,
    ReliabilityDrawing,
    RiskDrawing,
    Span,
    draw_dots,
    draw_reliability,
    draw_risk,
)
from nsgauge.eval.report.phrases import ends, words_of
from nsgauge.protocol import RATE_TITLES, Rate

_MOST_ROWS = 40


FIGURES = (
    "rates",
    "audit",
    *(f"{kind}_{axis}" for kind in ("reliability", "risk") for axis in AXES),
)
"""Names of all figures that a report may have."""


def report_figures(report: Report) -> dict[str, str]:
    """The SVG texts by name, of `FIGURES` those that the report has."""
    drawn = {"rates": _rates(report), "audit": _audit(report)}
    figures = {name: svg for name, svg in drawn.items() if svg is not None}
    for axis in report.reliability:
        figures[f"reliability_{axis.axis}"] = draw_reliability(_reliability(axis))
    for name in AXES:
        lines = [_risk(axis) for axis in report.escalation if axis.axis == name]
        if lines:
            figures[f"risk_{name}"] = draw_risk(lines, axis=words_of(name))
    return figures


def _rates(report: Report) -> str | None:
    """A line a VLLM: the rates to quote, over all benchmarks."""
    entries = _rates_by_vllm(report)
    rates = [rate for rate in Rate if any(rate in estimates for _, estimates in entries)]
    rows = [
        DotRow(label=label, spans=tuple(_span(estimates.get(rate)) for rate in rates))
        for label, estimates in entries[:_MOST_ROWS]
    ]
    if not rates:
        return None
    titles = [RATE_TITLES[rate] for rate in rates]
    return draw_dots(rows, series=titles, xlabel="share of responses")


def _rates_by_vllm(report: Report) -> list[tuple[str, dict[Rate, RateEstimate]]]:
    single = report.overview.benchmarks[0] if len(report.overview.benchmarks) == 1 else None
    if report.headline is not None:
        lines = [row for row in report.headline.rows if row.benchmark == single]
        gate = report.transport
        shown = [row for row in lines if gate is None or not gate.failed(row)]
        return [(row.vllm or "all VLLMs", row.best) for row in shown]
    for judge in report.judges:
        if judge.judge == report.overview.reference:
            groups = [row for row in judge.groups if row.benchmark == single]
            return [(row.vllm or "all VLLMs", row.rates) for row in groups]
    return []


def _audit(report: Report) -> str | None:
    """A line a judge: what share of the misreadings, and of the rest, it calls unsafe."""
    if report.audit is None:
        return None
    rows = [
        DotRow(
            label=row.judge,
            spans=(
                _span(row.inflation.share_of_not_grounded),
                _span(row.inflation.share_of_grounded),
            ),
        )
        for row in report.audit.rows[:_MOST_ROWS]
    ]
    if not any(row.spans[0] for row in rows):
        return None
    return draw_dots(
        rows,
        series=("misreadings called unsafe", "grounded responses called unsafe"),
        xlabel="share called unsafe",
    )


def _reliability(axis: AxisReliability) -> ReliabilityDrawing:
    found = axis.reliability.curve
    return ReliabilityDrawing(
        axis=words_of(axis.axis),
        predicted=found.probability,
        observed=found.positive_share,
        band_at=found.band_at,
        band_low=found.band_low,
        band_high=found.band_high,
        histogram=np.array(axis.histogram),
    )


def _risk(axis: AxisEscalation) -> RiskDrawing:
    kept = [offer.guarantee for offer in axis.offers if offer.guarantee.kept]
    return RiskDrawing(
        name="VLLMs it knows" if axis.slice is Slice.SEEN_VLLM else "VLLMs never seen",
        is_known=axis.slice is Slice.SEEN_VLLM,
        coverage=axis.curve.coverage,
        risk=axis.curve.risk,
        error_rate=axis.curve.error_rate,
        guaranteed=tuple((found.kept / found.rows, found.errors / found.kept) for found in kept),
    )


def _span(estimate: RateEstimate | Bounded | None) -> Span | None:
    if estimate is None or estimate.value is None:
        return None
    low, high = ends(estimate)
    return Span(
        value=estimate.value,
        low=estimate.value if low is None else low,
        high=estimate.value if high is None else high,
    )
