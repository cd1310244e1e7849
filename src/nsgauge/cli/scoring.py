"""`nsgauge score` and `nsgauge report`: what a classifier says, and how far to trust it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from nsgauge.cli import console
from nsgauge.cli.options import DataOption, OverwriteOption
from nsgauge.errors import SettingsError

if TYPE_CHECKING:
    from nsgauge.eval.scoring.runner import Resources
    from nsgauge.eval.scoring.settings import ScoringSettings
    from nsgauge.eval.scoring.watch import Watch


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
    precision: Annotated[
        str, typer.Option(help="Of the towers: auto (bf16 on CUDA, else fp32), fp32 or bf16.")
    ] = "auto",
    estimate: Annotated[
        bool, typer.Option(help="Score a few rows, say what all will take, write nothing.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Score every triple of a data folder; a run that was stopped goes on where it was."""
    from nsgauge.eval.scoring.runner import Resources, score_folder
    from nsgauge.eval.scoring.settings import ScoringSettings
    from nsgauge.models.towers.packaged import cache_folder

    settings = ScoringSettings.from_mapping(
        {
            "rows_per_shard": rows_per_shard,
            "controls_rows": controls_rows,
            "precision": precision,
        },
        source="options",
    )
    resources = Resources(
        cache=None if estimate else cache or cache_folder("vectors"),
        tower_directory=towers,
        device=device,
    )
    if estimate:
        _say_estimate(bundle, data=data, settings=settings, resources=resources)
        return
    with _progress_bar(resources.watch) as progress:
        manifest = score_folder(
            bundle,
            data=data,
            out=out,
            settings=settings,
            resources=replace(resources, progress=progress),
            overwrite=overwrite,
        )
    console.show_scores(manifest, out=out)
    if resources.watch.rows:
        console.say(resources.watch.words())


def _say_estimate(
    bundle: Path, *, data: Path, settings: "ScoringSettings", resources: "Resources"
) -> None:
    from nsgauge.checkpoints.bundle import load_bundle
    from nsgauge.eval.scoring.estimate import estimate
    from nsgauge.eval.scoring.runner import engine_of

    loaded = load_bundle(bundle, tower_directory=resources.tower_directory)
    engine = engine_of(loaded, data=data, settings=settings, resources=resources)
    for line in estimate(engine, data=data).lines():
        console.say(line)


@contextmanager
def _progress_bar(watch: "Watch") -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr that also says where the time goes; yields what to call with progress."""
    stderr = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    # In a log, the bar would be an empty line before whatever error follows.
    quiet = not stderr.is_terminal
    with Progress(*columns, console=stderr, transient=True, disable=quiet) as bar:
        tasks: dict[str, TaskID] = {}

        def advance(doing: str, done: int, total: int) -> None:
            if doing not in tasks:
                tasks[doing] = bar.add_task(doing, total=total, note="")
            bar.update(tasks[doing], completed=done, total=total, note=watch.words())

        yield advance


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
        comparison_from_folders(data, sides=compare, out=out, reference=reference)
        console.say(f"comparison: {out / 'comparison.html'}")
        return
    from nsgauge.eval.report.writing import report_from_folders

    made = report_from_folders(
        data, scores=scores, out=out, reference=reference, title=title, cases=cases
    )
    console.show_report(made, out=out)
