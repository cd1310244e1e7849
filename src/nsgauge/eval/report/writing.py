"""From folders to a report folder: the thin outer layer of the report."""

from pathlib import Path

from nsgauge.data.tables import data_fingerprint, read_triples, read_verdicts
from nsgauge.errors import DataError
from nsgauge.eval.report.contents import Report, build_report
from nsgauge.eval.report.csv_tables import report_tables
from nsgauge.eval.report.drawings import report_figures
from nsgauge.eval.report.files import csv_text, json_text, write_whole
from nsgauge.eval.report.inputs import ReportInputs
from nsgauge.eval.report.page import render_page

PAGE = "report.html"
NUMBERS = "report.json"


def write_report(report: Report, out: Path) -> Path:
    """Write a report folder: report.html, report.json, tables/*.csv and figures/*.svg.

    Every file is written whole, the page last. Tables and figures of an older report in the same
    folder that this one doesn't have are removed; other files are left alone.

    Returns:
        The path of the page.

    Raises:
        DataError: `out` is a file.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: a file is in the way; give a folder for the report")
    figures = report_figures(report)
    texts = {
        Path("tables", f"{name}.csv"): csv_text(t) for name, t in report_tables(report).items()
    }
    texts |= {Path("figures", f"{name}.svg"): svg for name, svg in figures.items()}
    texts[Path(NUMBERS)] = json_text(report)
    for stale in {*out.glob("tables/*.csv"), *out.glob("figures/*.svg")}:
        if stale.relative_to(out) not in texts:
            stale.unlink()
    for name, text in texts.items():
        write_whole(out / name, text=text)
    page = out / PAGE
    write_whole(page, text=render_page(report, figures=figures))
    return page
