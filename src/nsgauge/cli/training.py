"""`nsgauge train`, and `nsgauge demo`, which trains on the built-in sample and shows the rest."""

from pathlib import Path
from typing import Annotated

import typer

from nsgauge.cli import console
from nsgauge.cli.options import DataOption, OverridesArgument, OverwriteOption


def _list_recipes(*, wanted: bool) -> bool:
    if wanted:
        from nsgauge.train.recipe import RECIPES

        console.show_choices(RECIPES.summaries())
        raise typer.Exit
    return wanted


def train(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or a shipped recipe: --list.")],
    overrides: OverridesArgument = None,
    *,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="The new bundle.")],
    overwrite: OverwriteOption = False,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps what frozen towers read, for other trainings."),
    ] = None,
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
    console.show_training(
        fit(loaded, data=data, out=out, overwrite=overwrite, progress=True, cache=cache)
    )


def demo(
    *,
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path(
        "nsgauge-demo"
    ),
    overwrite: OverwriteOption = False,
) -> None:
    """Run the whole path on the built-in sample, offline: data, bundle, scores, report."""
    from nsgauge.cli.demonstration import run_demo

    run_demo(out, overwrite=overwrite)
