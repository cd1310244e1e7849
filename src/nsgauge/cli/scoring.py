"""`nsgauge score` and `nsgauge report`: what a classifier says, and how far to trust it."""

from pathlib import Path
from typing import Annotated

import typer

from nsgauge.cli import console
from nsgauge.cli.options import DataOption, OverwriteOption


def score(
    bundle: Annotated[Path, typer.Argument(help="A classifier, as `train` makes it.")],
    *,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="The score folder.")],
    controls_rows: Annotated[
        int, typer.Option(help="Most rows to score again without their picture; 0 for none.")
    ] = 2000,
    rows_per_shard: Annotated[int, typer.Option(help="Rows in a file of scores.")] = 8192,
    cache: Annotated[Path | None, typer.Option(help="Folder of vectors kept between runs.")] = None,
    device: Annotated[str | None, typer.Option(help="Of torch; default: CUDA, else CPU.")] = None,
    towers: Annotated[
        Path | None, typer.Option(help="Folder of a hub preset's weights, without a hub.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Score every triple of a data folder; a run that was stopped goes on where it was."""
    from nsgauge.eval.scoring.runner import Resources, score_folder
    from nsgauge.eval.scoring.settings import ScoringSettings
    from nsgauge.models.towers.packaged import cache_folder

    settings = ScoringSettings.from_mapping(
        {"rows_per_shard": rows_per_shard, "controls_rows": controls_rows}, source="options"
    )
    with console.progress_bar() as progress:
        resources = Resources(
            cache=cache or cache_folder("vectors"),
            tower_directory=towers,
            device=device,
            progress=progress,
        )
        manifest = score_folder(
            bundle, data=data, out=out, settings=settings, resources=resources, overwrite=overwrite
        )
    console.show_scores(manifest, out=out)


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
    title: Annotated[str, typer.Option(help="Heading of the page.")] = (
        "Safety and grounding report"
    ),
    cases: Annotated[
        int, typer.Option(min=0, max=48, help="Disagreements shown with text and picture.")
    ] = 16,
) -> None:
    """Write report.html, report.json and tables: rates, agreement, calibration, controls."""
    from nsgauge.eval.report.writing import report_from_folders

    made = report_from_folders(
        data, scores=scores, out=out, reference=reference, title=title, cases=cases
    )
    console.show_report(made, out=out)
