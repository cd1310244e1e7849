"""The pictures of a report, as SVG text: the only file that imports matplotlib."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK = "#1d2430"
FAINT = "#8a93a1"
COLOURS: tuple[str, ...] = ("#cc5f45", "#4587c4", "#8d6fc7")
# The stubs name every setting as a literal type, which no constant of ours can have.
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nsgauge",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "text.parse_math": False,
}
_LABEL_CHARACTERS = 34


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A point and its interval, all in [0, 1]."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DotRow:
    """One line of a dot plot: a name and one span a series, None where there is none."""

    label: str
    spans: tuple[Span | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityDrawing:
    """What a reliability diagram is drawn from; all probabilities in [0, 1]."""

    axis: str
    predicted: Float[np.ndarray, " points"]
    observed: Float[np.ndarray, " points"]
    band_at: Float[np.ndarray, " grid"]
    band_low: Float[np.ndarray, " grid"]
    band_high: Float[np.ndarray, " grid"]
    histogram: Int[np.ndarray, " bins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskDrawing:
    """One line of a risk-coverage plot; everything in [0, 1].

    Attributes:
        name: For the legend.
        is_known: Whether the line is of VLLMs that the classifier knows; it sets the colour.
        coverage: Shares kept, ascending.
        risk: Error rate among them.
        error_rate: The same if all are kept.
        guaranteed: Coverage and risk at each guaranteed threshold.
    """

    name: str
    is_known: bool
    coverage: Float[np.ndarray, " points"]
    risk: Float[np.ndarray, " points"]
    error_rate: float
    guaranteed: tuple[tuple[float, float], ...]


def draw_dots(rows: Sequence[DotRow], *, series: Sequence[str], xlabel: str) -> str:
    """A dot plot with intervals: a line a row, a colour a series.

    Args:
        rows: From top to bottom; their labels are plain text.
        series: Legend entries, as many as the spans of each row.
        xlabel: What the share is a share of.

    Raises:
        ValueError: a row whose number of spans isn't that of the series.
    """
    if any(len(row.spans) != len(series) for row in rows):
        raise ValueError(f"every row needs {len(series)} spans, one for each of {list(series)}")
    with mpl.rc_context(_STYLE):
        height = 0.75 + len(rows) * max(0.26, 0.15 * len(series) + 0.08)
        figure, axes = _canvas(7.2, height)
        for column, name in enumerate(series):
            _dot_series(axes, rows=rows, column=column, name=name, of=len(series))
        axes.set_yticks(range(len(rows)), [_short(row.label) for row in rows])
        axes.set_ylim(len(rows) - 0.45, -0.55)
        _percent_axis(axes, xlabel=xlabel)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        if len(series) > 1:
            figure.legend(
                loc="outside upper left", ncols=len(series), frameon=False, handletextpad=0.3
            )
        return _svg(figure)


def draw_reliability(drawing: ReliabilityDrawing) -> str:
    """A reliability diagram: the fitted curve over its band, the scores' histogram beneath."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.7, 4.4), layout="constrained")
        FigureCanvasSVG(figure)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4.2, 1))
        upper.fill_between(
            drawing.band_at,
            drawing.band_low,
            drawing.band_high,
            color=FAINT,
            alpha=0.25,
            linewidth=0,
        )
        upper.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
        upper.plot(drawing.predicted, drawing.observed, color=COLOURS[0], linewidth=1.6)
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel=f"share judged {drawing.axis}")
        edges = np.linspace(0, 1, drawing.histogram.size + 1)
        lower.stairs(drawing.histogram, edges, fill=True, color=COLOURS[1], alpha=0.7)
        lower.set(xlabel=f"probability of {drawing.axis}", ylabel="rows")
        lower.yaxis.get_major_locator().set_params(nbins=2, integer=True)
        return _svg(figure)


def draw_risk(lines: Sequence[RiskDrawing], *, axis: str) -> str:
    """Error rate against the share of verdicts kept, a line a kind of VLLM.

    Raises:
        ValueError: there is no line.
    """
    if not lines:
        raise ValueError("a risk-coverage plot needs a line")
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(3.7, 3.3)
        for line in lines:
            colour = COLOURS[0 if line.is_known else 1]
            coverage, risk = np.append(0, line.coverage), np.append(line.risk[:1], line.risk)
            axes.step(coverage, risk, where="pre", color=colour, linewidth=1.5, label=line.name)
            axes.axhline(line.error_rate, color=colour, linewidth=0.8, linestyle=(0, (4, 3)))
            for point in line.guaranteed:
                axes.plot(*point, "o", color=colour, markersize=4.6)
        _percent_axis(axes, xlabel=f"share of {axis} verdicts kept")
        # The few surest rows alone make any error rate, and would squeeze the rest of the line.
        settled = [line.risk[line.coverage >= min(0.1, line.coverage[-1])] for line in lines]
        highest = max(float(risk.max()) for risk in settled)
        axes.set_ylim(0, min(1.02, max(0.05, 1.2 * highest)))
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        axes.set_ylabel("of these wrong")
        if len(lines) > 1:
            figure.legend(loc="outside upper left", ncols=2, frameon=False, handlelength=1.2)
        return _svg(figure)


def inline_svg(svg: str, *, name: str, description: str) -> str:
    """An SVG made ready to stand inside a page: its own ids, the page's ink, a text alternative.

    Args:
        svg: As one of the functions here drew it.
        name: Prefix of all ids in it; letters, digits and hyphens.
        description: What a reader who can't see it should know; plain text.

    Raises:
        ValueError: a name that can't be an id.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise ValueError(f"{name!r} can't be an id: use lower-case letters, digits and hyphens")
    body = svg[svg.index("<svg") :]
    body = re.sub(r"\bid=\"", f'id="{name}-', body)
    body = re.sub(r"(xlink:href=\"|url\()#", rf"\g<1>#{name}-", body)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = body.replace(INK, "currentColor")
    label = _escape(description)
    return body.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).strip()


def _escape(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.subplots()


def _dot_series(axes: Axes, *, rows: Sequence[DotRow], column: int, name: str, of: int) -> None:
    """The dots and whiskers of one series, set off from the others of the row."""
    offset = (column - (of - 1) / 2) * 0.6 / of
    present = [(at, row.spans[column]) for at, row in enumerate(rows)]
    spans = [(at + offset, span) for at, span in present if span is not None]
    heights = [height for height, _ in spans]
    colour = COLOURS[column % len(COLOURS)]
    axes.hlines(
        heights,
        [span.low for _, span in spans],
        [span.high for _, span in spans],
        color=colour,
        linewidth=1.4,
        alpha=0.75,
    )
    axes.plot(
        [span.value for _, span in spans], heights, "o", color=colour, markersize=4.2, label=name
    )


def _percent_axis(axes: Axes, *, xlabel: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    ticks = np.linspace(0, 1, 6)
    axes.set_xticks(ticks, [f"{100 * tick:.0f}%" for tick in ticks])
    axes.set_xlabel(xlabel)
    axes.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def _short(label: str) -> str:
    """The label on one line, cut where it would squeeze the plot, without unprintable signs."""
    text = "".join(sign if sign.isprintable() else " " for sign in label)
    cut = len(text) > _LABEL_CHARACTERS
    return text[: _LABEL_CHARACTERS - 3] + "..." if cut else text


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
