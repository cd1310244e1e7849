"""The commands. Rooms are imported where they are used: asking for help must not load torch."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from nsgauge.cli import console
from nsgauge.cli.judging import judge
from nsgauge.errors import NsgaugeError

app = typer.Typer(
    name="nsgauge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Distils an LLM judge's verdicts on vision-language models into a small classifier, and "
    "reports how far to trust it.",
)

DataOption = Annotated[Path, typer.Option("--data", help="Data folder, as `import` makes it.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier run left at --out.")
]
TowersOption = Annotated[
    Path | None, typer.Option(help="Folder of a hub preset's weights, for machines without a hub.")
]


def _list_importers(*, wanted: bool) -> bool:
    if wanted:
        from nsgauge.data.importers.registry import FORMATS

        console.show_choices({name: FORMATS[name].summary for name in sorted(FORMATS)})
        raise typer.Exit
    return wanted


def _list_recipes(*, wanted: bool) -> bool:
    if wanted:
        from nsgauge.train.recipe import recipe_names

        typer.echo("\n".join(recipe_names()))
        raise typer.Exit
    return wanted


def _print_version(*, wanted: bool) -> bool:
    if wanted:
        from nsgauge import __version__

        typer.echo(__version__)
        raise typer.Exit
    return wanted


@app.command()
def demo(
    *,
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path(
        "nsgauge-demo"
    ),
    overwrite: OverwriteOption = False,
) -> None:
    """Run the whole path on the built-in sample, offline: data, bundle, scores, report."""
    from nsgauge.cli.demo import run_demo

    run_demo(out, overwrite=overwrite)


@app.command("import")
def import_(
    importer: Annotated[
        str, typer.Argument(metavar="FORMAT", help="A name that --list gives, or `auto`.")
    ],
    source: Annotated[Path, typer.Argument(help="File or folder of that format.")],
    *,
    out: Annotated[Path, typer.Option(help="The new data folder.")],
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="Which column is which field."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN:VALUE=LABEL", help="What a label value means."),
    ] = None,
    image_root: Annotated[Path | None, typer.Option(help="Folder of the pictures.")] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="The benchmark's own file, for sources that need it.")
    ] = None,
    benchmark: Annotated[str, typer.Option(help="Its name, where the source has none.")] = "",
    vllm: Annotated[str, typer.Option(help="The VLLM's name, where the source has none.")] = "",
    judge: Annotated[str, typer.Option(help="The judge's name, where the source has none.")] = "",
    filter_: Annotated[
        str, typer.Option("--filter", help="lm-eval: which filtered responses to take.")
    ] = "",
    strip_reasoning: Annotated[
        bool, typer.Option("--strip-reasoning", help="Take the answer after <think> and the like.")
    ] = False,
    language: Annotated[
        list[str] | None, typer.Option(help="msts: further response files, or `all`.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="msts: leave grounding open where labels do.")
    ] = False,
    overwrite: OverwriteOption = False,
    _list: Annotated[
        bool,
        typer.Option("--list", help="Name the formats.", is_eager=True, callback=_list_importers),
    ] = False,
) -> None:
    """Make a data folder: triples.parquet, verdicts.parquet, rejects.jsonl, images/."""
    from nsgauge.data.importers.contract import ImportOptions
    from nsgauge.data.importers.registry import import_source

    options = ImportOptions(
        mapping=mapping or (),
        labels=label or (),
        image_root=image_root,
        dataset=dataset,
        benchmark=benchmark,
        vllm=vllm,
        judge=judge,
        filter=filter_,
        strip_reasoning=strip_reasoning,
        languages=language or ("english",),
        strict=strict,
        overwrite=overwrite,
    )
    console.show_import(import_source(importer, source, out=out, options=options), out=out)


@app.command()
def doctor(
    data: Annotated[Path, typer.Argument(help="Data folder, as `import` makes it.")],
) -> None:
    """Say what a data folder holds, what will go wrong and what to do; exit 1 on errors."""
    from nsgauge.data.doctor import examine

    if console.show_diagnosis(examine(data), data=data):
        raise typer.Exit(1)


app.command()(judge)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or a shipped recipe: --list.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...")] = None,
    *,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="The new bundle.")],
    overwrite: OverwriteOption = False,
    _list: Annotated[
        bool,
        typer.Option(
            "--list", help="Name the shipped recipes.", is_eager=True, callback=_list_recipes
        ),
    ] = False,
) -> None:
    """Train a classifier; a run that was stopped goes on where it was."""
    from nsgauge.train.fit import train as fit
    from nsgauge.train.recipe import load_recipe

    loaded = load_recipe(recipe, overrides=tuple(overrides or ()))
    console.show_training(fit(loaded, data=data, out=out, overwrite=overwrite, progress=True))


@app.command()
def score(
    bundle: Annotated[Path, typer.Argument(help="A classifier, as `train` makes it.")],
    *,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="The score folder.")],
    controls_rows: Annotated[
        int, typer.Option(help="Most rows to score again without their picture; 0 for none.")
    ] = 2000,
    rows_per_shard: Annotated[int, typer.Option(help="Rows in a file of scores.")] = 8192,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of image vectors kept between runs.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Of torch; default: CUDA, else CPU.")] = None,
    towers: TowersOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Score every triple of a data folder; a run that was stopped goes on where it was."""
    from nsgauge.eval.scoring.runner import Resources, score_folder
    from nsgauge.eval.scoring.settings import ScoringSettings, default_cache

    settings = ScoringSettings.from_mapping(
        {"rows_per_shard": rows_per_shard, "controls_rows": controls_rows}, source="options"
    )
    with console.progress_bar() as progress:
        resources = Resources(
            cache=cache or default_cache(),
            tower_directory=towers,
            device=device,
            progress=progress,
        )
        manifest = score_folder(
            bundle, data=data, out=out, settings=settings, resources=resources, overwrite=overwrite
        )
    console.show_scores(manifest, out=out)


@app.command()
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
) -> None:
    """Write report.html, report.json and tables: rates, agreement, calibration, controls."""
    from nsgauge.eval.report.writing import report_from_folders

    made = report_from_folders(data, scores=scores, out=out, reference=reference, title=title)
    console.show_report(made, out=out)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="Data folder, as `import` makes it.")],
    *,
    to: Annotated[str, typer.Option(help="`table`: triples and verdicts as rows.")] = "table",
    out: Annotated[Path, typer.Option(help="The new file: .jsonl or .parquet.")],
    overwrite: OverwriteOption = False,
) -> None:
    """Write a data folder as one table, which `import table` reads again."""
    from nsgauge.data.export import export_rows
    from nsgauge.errors import SettingsError

    if to != "table":
        raise SettingsError(f"--to {to!r}: wanted table")
    console.say(f"{out}: {export_rows(source, out=out, overwrite=overwrite):,} rows")


@app.callback()
def main_options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run a command; what the user can mend is one line on stderr and exit code 2."""
    try:
        app()
    except NsgaugeError as error:
        console.show_error(str(error))
        sys.exit(2)
    except OSError as error:
        # A path that isn't ours to write, a full disk: the user's to mend, and no bug of ours.
        where = f"{error.filename}: " if error.filename else ""
        console.show_error(f"{where}{error.strerror or error}")
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == console.INTERRUPTED:
            console.show_error("stopped; started again as before, it goes on")
        raise
