"""The HTML page: one file that needs nothing else, runs nothing and loads nothing."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nsgauge.eval.report import phrases, wording
from nsgauge.eval.report.contents import Report
from nsgauge.eval.report.files import plain
from nsgauge.eval.report.figures import inline_svg
from nsgauge.eval.report.headline import Basis, HeadlineRow
from nsgauge.eval.report.judging import AuditRow, NsgAudit
from nsgauge.protocol import RATE_TITLES, RATES

_LONGEST_VALUE = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows of a table under one heading; no name means the pool of all benchmarks."""

    name: str | None
    rows: tuple[Any, ...]


def render_page(report: Report, *, figures: Mapping[str, str]) -> str:
    """The report as HTML text.

    Args:
        report: What to show.
        figures: SVG texts by name, as `report_figures` gives them.
    """
    environment = _environment()
    template = environment.get_template("page.html.j2")
    style, _, _ = environment.loader.get_source(environment, "style.css")  # type: ignore[union-attr]
    return template.render(
        report=report,
        words=wording.Words.of(report),
        figures={name: _inline(svg, name=name) for name, svg in figures.items()},
        rates=[rate for rate in RATES if any(rate in j.pooled.rates for j in report.judges)],
        titles=RATE_TITLES,
        many_benchmarks=len(report.overview.benchmarks) > 1,
        style=Markup(style),  # noqa: S704 - our own file, no data in it
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nsgauge.eval.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": phrases.percent,
        "points": phrases.points,
        "decimal": phrases.decimal,
        "count": phrases.count,
        "words": phrases.words_of,
        "of": _of,
        "bounds": _bounds,
        "states": phrases.listed,
        "standing": standing,
        "groupby_benchmark": _by_benchmark,
        "audited_vllms": _audited_vllms,
    }
    return environment


def _inline(svg: str, *, name: str) -> Markup:
    """Matplotlib escapes the names in it; the page only adds ids and a description."""
    description = wording.FIGURE_DESCRIPTIONS[name]
    return Markup(inline_svg(svg, name=name.replace("_", "-"), description=description))  # noqa: S704
