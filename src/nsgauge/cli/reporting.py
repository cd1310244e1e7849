"""`nsgauge report`: how often, and how far to trust it."""

from pathlib import Path
from typing import Annotated

import typer

from nsgauge.cli import console
from nsgauge.cli.options import DataOption
from nsgauge.errors import SettingsError


def report(
    *,
    data: DataOption,
    scores: Annotated[
        Path | None, typer.Option(help="Score folder; without it, a report of the judges.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The report folder.")],
    reference: Annotated[
        str | None, typer.Option(help="The judge to take as the truth; default: the teacher.")
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Heading of the page.", show_default="of its own")
    ] = None,
    cases: Annotated[
        int | None,
        typer.Option(
            min=0, max=48, help="Disagreements shown with text and picture.", show_default="16"
        ),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Two score folders or judges to set side by side instead of a report."),
    ] = None,
) -> None:
    """Write report.html, report.json and tables: rates, agreement, calibration, controls."""
    if compare is not None:
        from nsgauge.eval.report.comparing import comparison_from_folders

        if scores is not None:
            raise SettingsError("--compare names its score folders itself: leave --scores out")
        if title is not None or cases is not None:
            raise SettingsError("--title and --cases are of a report: leave them out of --compare")
        comparison_from_folders(data, sides=compare, out=out, reference=reference)
        console.say(f"comparison: {out / 'comparison.html'}")
        return
    from nsgauge.eval.report.writing import CASES, TITLE, report_from_folders

    made = report_from_folders(
        data,
        scores=scores,
        out=out,
        reference=reference,
        title=TITLE if title is None else title,
        cases=CASES if cases is None else cases,
    )
    console.show_report(made, out=out)
