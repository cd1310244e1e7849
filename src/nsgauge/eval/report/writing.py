"""From a report to a folder, and from folders to a report: the thin outer layer."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from nsgauge.data.tables import data_fingerprint, iter_triples, read_verdicts
from nsgauge.errors import DataError
from nsgauge.eval.report.contents import Report, build_report
from nsgauge.eval.report.csv_tables import report_tables
from nsgauge.eval.report.drawings import FIGURES, report_figures
from nsgauge.eval.report.exhibits import Exhibit, exhibits_of
from nsgauge.eval.report.files import csv_text, json_text, write_whole
from nsgauge.eval.report.inputs import ReportInputs
from nsgauge.eval.report.page import render_page
from nsgauge.eval.report.paper_tables import headline_paper, latex, markdown
from nsgauge.eval.report.traits import ROWS_AT_ONCE, lean_folder

PAGE = "report.html"
NUMBERS = "report.json"
TITLE = "Safety and grounding report"
CASES = 16
"""Disagreements on the page, unless told otherwise."""
_OTHERS = ("triples.parquet", "manifest.json", "bundle.json")
"""By one of these a data, score or bundle folder is known."""


def write_report(
    report: Report, out: Path, *, exhibits: Mapping[str, Exhibit] | None = None
) -> Path:
    """Write a report folder: report.html, report.json, tables/ and figures/*.svg.

    The tables are CSV; the headline is in Markdown and in LaTeX besides. Every file is written
    whole, the page last. Of an older report in the same folder the tables and figures that this one
    doesn't have are removed, by their names; other files are left alone.

    Args:
        report: What to write.
        out: The folder.
        exhibits: Texts and pictures of the disagreements, for the page alone.

    Returns:
        The path of the page.

    Raises:
        DataError: `out` is a file, or a folder of ours that holds something else.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: a file is in the way; give a folder for the report")
    taken = [name for name in _OTHERS if (out / name).exists()]
    if taken:
        raise DataError(f"{out}: holds {taken[0]}, so it is no report; give a folder of its own")
    figures = report_figures(report)
    tables = report_tables(report)
    texts = {
        Path("tables", f"{name}.csv"): csv_text(table)
        for name, table in tables.items()
        if table.rows
    }
    texts |= {Path("figures", f"{name}.svg"): svg for name, svg in figures.items()}
    paper = headline_paper(report)
    if paper is not None:
        texts[Path("tables", "headline.md")] = markdown(paper)
        texts[Path("tables", "headline.tex")] = latex(paper)
    texts[Path(NUMBERS)] = json_text(report)
    own = {Path("tables", f"{name}.csv") for name in tables}
    own |= {Path("tables", "headline.md"), Path("tables", "headline.tex")}
    own |= {Path("figures", f"{name}.svg") for name in FIGURES}
    for stale in own - set(texts):
        (out / stale).unlink(missing_ok=True)
    for name, text in texts.items():
        write_whole(out / name, text=text)
    page = out / PAGE
    write_whole(page, text=render_page(report, figures=figures, exhibits=exhibits))
    return page


def report_from_folders(
    data: Path,
    *,
    scores: Path | None = None,
    out: Path,
    reference: str | None = None,
    title: str = TITLE,
    cases: int = CASES,
) -> Report:
    """Read a data folder and, if there is one, a score folder; write the report into `out`.

    Args:
        data: Has triples.parquet, and verdicts.parquet if there are verdicts.
        scores: Made from the same data; None reports the judges alone.
        out: The report folder.
        reference: The judge to take as the truth; None picks one.
        title: Heading of the page.
        cases: How many disagreements the page shows with their texts and pictures.

    Raises:
        DataError: a folder is missing or malformed, or the scores name triples that the data
            folder doesn't have.
        ScoringError: the score folder isn't whole.
    """
    fingerprint = data_fingerprint(data)
    inputs = ReportInputs(
        triples=lean_folder(data),
        verdicts=read_verdicts(data),
        reference=reference,
        title=title,
        command=shlex.join(
            [
                *("nsgauge", "report", "--data", str(data)),
                *(("--scores", str(scores)) if scores is not None else ()),
                *(("--reference", reference) if reference is not None else ()),
                *(("--title", title) if title != TITLE else ()),
                *(("--cases", str(cases)) if cases != CASES else ()),
                *("--out", str(out)),
            ]
        ),
        cases=cases,
        provenance={"data": data.name, "data_fingerprint": fingerprint},
    )
    if scores is not None:
        inputs = _with_scores(inputs, scores=scores, fingerprint=fingerprint)
    report = build_report(inputs)
    write_report(report, out, exhibits=_exhibits(report, data=data, verdicts=inputs.verdicts))
    return report


def _exhibits(report: Report, *, data: Path, verdicts: pa.Table) -> dict[str, Exhibit]:
    """Of the rows that the page shows; the triples are read again, a part at a time."""
    shown = report.disagreements
    if shown is None:
        return {}
    return exhibits_of(
        shown.triple_ids,
        triples=iter_triples(data, rows=ROWS_AT_ONCE),
        verdicts=verdicts,
        judge=shown.judge,
        images=data,
    )


def _with_scores(inputs: ReportInputs, *, scores: Path, fingerprint: str) -> ReportInputs:
    """Add what a score folder holds, after a look at which data it was made from."""
    # A report of the judges alone needs nothing of the scoring engine.
    from nsgauge.eval.scoring import shards  # noqa: PLC0415

    manifest = shards.read_manifest(scores)
    facts: dict[str, object] = {
        "scores": scores.name,
        "scores_created": manifest.created,
        "scored_by_nsgauge": manifest.nsgauge_version,
        "scored_data_fingerprint": manifest.data_fingerprint,
    }
    if manifest.data_fingerprint != fingerprint:
        # Verdicts may have come in since; rows that no longer exist are refused when joining.
        facts["data_changed_since_scoring"] = "yes"
    return replace(
        inputs,
        scores=shards.read_scores(scores),
        controls=shards.read_controls(scores),
        bundle=manifest.bundle,
        provenance={**inputs.provenance, **facts},
    )
