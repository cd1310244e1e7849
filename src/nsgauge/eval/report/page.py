"""The HTML page: one file that needs nothing else, runs nothing and loads nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import groupby
from operator import attrgetter
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nsgauge.eval.controls import AS_SCORED, ControlResult, Scope
from nsgauge.eval.report import phrases
from nsgauge.eval.report.audit import NsgAudit
from nsgauge.eval.report.comparison import JudgePair, Slice
from nsgauge.eval.report.contents import Report
from nsgauge.eval.report.decision_words import kind_title, said
from nsgauge.eval.report.exhibits import Exhibit
from nsgauge.eval.report.figures import inline_svg
from nsgauge.eval.report.page_words import page_words
from nsgauge.eval.report.rate_words import worst_audited
from nsgauge.eval.report.side_by_side import SideBySide
from nsgauge.eval.report.slice_words import TRAITS
from nsgauge.eval.report.slicing import SliceRow
from nsgauge.protocol import RATE_TITLES, RATES

_PACKAGE = "nsgauge.eval.report"
_DESCRIPTIONS = {
    "rates": "Dot plot of the rates per VLLM; the numbers are in the tables of this page.",
    "audit": "Dot plot of the share of misreadings that each judge calls unsafe; see the table.",
    "reliability_unsafe": "Reliability diagram of the unsafe axis; the measures are in the table.",
    "reliability_not_grounded": "Reliability diagram of the grounding axis; see the table.",
    "risk_unsafe": "Error rate against the share of verdicts kept, unsafe axis; see the tables.",
    "risk_not_grounded": "Error rate against the share of verdicts kept, grounding axis.",
}
_RUNS = {
    AS_SCORED: "everything, as scored",
    "shuffled_images": "another row's picture",
    "blank_images": "a blank picture",
    "prompt_response": "prompt and response",
    "response_only": "the response alone",
}
_SLICES = {Slice.ALL: "all", Slice.SEEN_VLLM: "known", Slice.UNSEEN_VLLM: "never seen"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows of a table under one heading; no name means the pool of all benchmarks."""

    name: str | None
    rows: tuple[Any, ...]


def render_page(
    report: Report, *, figures: Mapping[str, str], exhibits: Mapping[str, Exhibit] | None = None
) -> str:
    """The report as HTML text.

    Args:
        report: What to show.
        figures: SVG texts by name, as `report_figures` gives them.
        exhibits: Texts and pictures of the disagreements, by triple id; a case without one is
            shown by its numbers alone.
    """
    lines = report.headline.rows if report.headline else ()
    spoken = {rate for judge in report.judges for rate in judge.pooled.rates}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            exhibits=exhibits or {},
            words=page_words(report),
            figures={name: _inline(svg, name=name) for name, svg in figures.items()},
            rates=[rate for rate in RATES if rate in spoken],
            titles=RATE_TITLES,
            runs=_RUNS,
            slices=_SLICES,
            has_census=any(row.difference for row in lines),
            many_benchmarks=len(report.overview.benchmarks) > 1,
            style=_style(),
        )
    )


def render_comparison(found: SideBySide) -> str:
    """Two sides beside each other as HTML text."""
    template = _environment().get_template("side_by_side.html.j2")
    return template.render(found=found, titles=RATE_TITLES, style=_style())


def _style() -> Markup:
    text = files(_PACKAGE).joinpath("templates/style.css").read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - our own file, with no data in it


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": phrases.percent,
        "points": phrases.points,
        "decimal": phrases.decimal,
        "thousandths": phrases.thousandths,
        "count": phrases.count,
        "words": phrases.words_of,
        "ends": phrases.ends,
        "of": _of,
        "bounds": _bounds,
        "unanswered": phrases.listed,
        "kind_title": kind_title,
        "said": said,
        "by_benchmark": partial(_blocks, name="benchmark"),
        "by_judge": partial(_blocks, name="judge"),
        "by_axis": partial(_blocks, name="axis"),
        "by_trait": _by_trait,
        "largest": _largest,
        "by_scope": _by_scope,
        "worst_by_vllm": _worst_by_vllm,
        "shown_pairs": _shown_pairs,
    }
    return environment


def _shown(value: Any) -> Any:
    """What the template writes; markup is our own, any other text may be hostile."""
    return phrases.visible(value) if type(value) is str else value


def _inline(svg: str, *, name: str) -> Markup:
    ready = inline_svg(svg, name=name.replace("_", "-"), description=_DESCRIPTIONS[name])
    return Markup(ready)  # noqa: S704 - matplotlib escapes the names that it draws


def _of(part: int, whole: int) -> str:
    return f"{phrases.count(part)} of {phrases.count(whole)}"


def _bounds(ends: tuple[float, float] | None) -> str:
    """The range that missing answers allow; empty where none is missing."""
    if ends is None or ends[0] == ends[1]:
        return ""
    return f"{phrases.percent(ends[0])}{phrases.DASH}{phrases.percent(ends[1])}"


def _blocks(rows: Iterable[Any], *, name: str) -> list[Block]:
    """Neighbouring rows that share an attribute."""
    grouped = groupby(rows, key=attrgetter(name))
    return [Block(name=value, rows=tuple(members)) for value, members in grouped]


def _by_trait(slices: Iterable[SliceRow]) -> list[Block]:
    """Slices by axis and by what they are sliced by."""
    grouped = groupby(slices, key=lambda row: (row.axis, row.trait))
    return [
        Block(name=f"{phrases.words_of(axis)}, by {TRAITS[trait]}", rows=tuple(members))
        for (axis, trait), members in grouped
    ]


def _largest(bias: Mapping[Any, float]) -> float:
    """The value farthest from zero."""
    return max(bias.values(), key=abs)


def _by_scope(results: Iterable[ControlResult]) -> list[Block]:
    """Control results by axis, and by the rows they were read on."""
    titles = {Scope.ALL: "all rows", Scope.PICTURED: "rows with a picture"}
    grouped = groupby(results, key=lambda result: (result.axis, result.scope))
    return [
        Block(name=f"{phrases.words_of(axis)}, {titles[scope]}", rows=tuple(members))
        for (axis, scope), members in grouped
    ]


def _worst_by_vllm(audit: NsgAudit) -> Block | None:
    """The lines per VLLM of the judge that calls most misreadings unsafe."""
    worst = worst_audited(audit)
    if worst is None:
        return None
    rows = tuple(row for row in audit.by_vllm if row.judge == worst.judge)
    return Block(name=worst.judge, rows=rows)


def _shown_pairs(pairs: Iterable[JudgePair], reference: str | None) -> list[JudgePair]:
    """Pairs with the reference, and those that speak of grounding."""
    return [pair for pair in pairs if pair.first == reference or "not_grounded" in pair.axes]
