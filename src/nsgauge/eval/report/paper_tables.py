"""The headline as a table for a paper, in Markdown and in LaTeX; every name is escaped."""

from collections.abc import Sequence
from dataclasses import dataclass

from nsgauge.eval.paired import Paired
from nsgauge.eval.rates import RateEstimate
from nsgauge.eval.report.contents import Report
from nsgauge.eval.report.headline import HeadlineRow
from nsgauge.eval.report.phrases import (
    count,
    decimal,
    ends,
    percent,
    points,
    visible,
    words_of,
)
from nsgauge.eval.report.side_by_side import PairedRate, SideBySide
from nsgauge.protocol import RATE_TITLES

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """A table of plain texts; the first columns are names, the rest numbers.

    Attributes:
        header: Column headings.
        rows: Of the same width.
        names: How many columns are names.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int


def headline_paper(report: Report) -> PaperTable | None:
    """The rates to quote per benchmark and VLLM; None without a headline."""
    if report.headline is None:
        return None
    rates = report.headline.rates
    rows = []
    for line in report.headline.rows:
        withheld = report.transport is not None and report.transport.failed(line)
        best = {} if withheld else line.best
        cells = tuple(_with_range(best.get(rate)) for rate in rates)
        standing = "too strange" if withheld else words_of(line.standing)
        counts = (count(line.judged), count(line.judged + line.unjudged))
        rows.append((*_place(line), standing, *counts, *cells))
    titles = (RATE_TITLES[rate] for rate in rates)
    header = ("Benchmark", "VLLM", "standing", "judged", "scored", *titles)
    return PaperTable(header=header, rows=tuple(rows), names=3)


def comparison_paper(found: SideBySide) -> PaperTable:
    """Both sides and their difference, a line a group and rate, then AUROC and kappa."""
    rows = [
        (*_place(entry), RATE_TITLES[entry.rate], *_shares(entry.paired)) for entry in found.rates
    ]
    for name, measures in (("AUROC", found.auroc), ("kappa", found.kappa)):
        rows += [
            ("all", "all", f"{name}, {axis.replace('_', ' ')}", *_values(paired))
            for axis, paired in measures.items()
        ]
    header = ("Benchmark", "VLLM", "measure", "rows", found.first, found.second, "difference")
    return PaperTable(header=header, rows=tuple(rows), names=3)


def markdown(table: PaperTable) -> str:
    r"""The table in GitHub's Markdown.

    Example:
        >>> print(markdown(PaperTable(header=("a|b",), rows=(("<i>",),), names=1)))
        | a\|b |
        | --- |
        | &lt;i&gt; |
        <BLANKLINE>
    """
    rule = ["---"] * table.names + ["---:"] * (len(table.header) - table.names)
    rows = [[_in_markdown(cell) for cell in row] for row in (table.header, *table.rows)]
    lines = [rows[0], rule, *rows[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(table: PaperTable) -> str:
    r"""The table as a LaTeX `tabular`; it needs the package booktabs.

    Example:
        >>> print(latex(PaperTable(header=("a&b",), rows=(("50%",),), names=1)))
        \begin{tabular}{l}
        \toprule
        a\&b \\
        \midrule
        50\% \\
        \bottomrule
        \end{tabular}
        <BLANKLINE>
    """
    columns = "l" * table.names + "r" * (len(table.header) - table.names)
    head, *rows = (
        " & ".join(_in_latex(cell) for cell in row) + r" \\" for row in (table.header, *table.rows)
    )
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _place(line: HeadlineRow | PairedRate) -> tuple[str, str]:
    return line.benchmark or "all", line.vllm or "all"


def _with_range(estimate: RateEstimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "\N{EN DASH}"
    low, high = ends(estimate)
    spread = "" if low is None else f" ({percent(low)}\N{EN DASH}{percent(high)})"
    return f"{percent(estimate.value)}{spread}"


def _shares(paired: Paired) -> Sequence[str]:
    gap = paired.difference
    spread = "" if gap.low is None else f" ({points(gap.low)} to {points(gap.high)})"
    sides = (percent(paired.first), percent(paired.second))
    return (count(paired.rows), *sides, f"{points(gap.value)}{spread}")


def _values(paired: Paired) -> Sequence[str]:
    gap = paired.difference
    spread = "" if gap.low is None else f" ({decimal(gap.low)} to {decimal(gap.high)})"
    sides = (decimal(paired.first), decimal(paired.second))
    return (count(paired.rows), *sides, f"{decimal(gap.value)}{spread}")


def _one_line(text: str) -> str:
    shown = visible(text)
    return "".join(sign if sign.isprintable() else " " for sign in shown)


def _in_markdown(text: str) -> str:
    line = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{sign}" if sign in "\\`*_[]|~$" else sign for sign in line)


def _in_latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in _one_line(text))
