"""The command `plan`: which triples a judge should see next."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from nsgauge.cli import console
from nsgauge.errors import SettingsError

if TYPE_CHECKING:
    from nsgauge.data.plan_file import PlanNote
    from nsgauge.eval.plan import Plan


def plan(
    *,
    data: Annotated[Path, typer.Option("--data", help="Data folder, as `import` makes it.")],
    rows: Annotated[
        int | None, typer.Option(help="Triples to draw; with --by-item, items.")
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(help="Instead of --rows: as many as make the rates' intervals so narrow."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The new plan file.")] = Path("PLAN.parquet"),
    scores: Annotated[
        Path | None,
        typer.Option(help="Score folder; needed for uncertainty, neyman and --score-bins."),
    ] = None,
    design: Annotated[
        str, typer.Option(help="uniform, stratified (by VLLM and benchmark) or uncertainty.")
    ] = "uniform",
    judge: Annotated[
        str | None, typer.Option(help="Who will judge; what it has answered on is left out.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Of that judge: what it would not ask about is left out, too."),
    ] = None,
    by_item: Annotated[
        bool, typer.Option("--by-item", help="Draw items, each with all its responses.")
    ] = False,
    axis: Annotated[
        str, typer.Option(help="Whose uncertainty or bins: unsafe, not_grounded or either.")
    ] = "either",
    score_bins: Annotated[
        int, typer.Option(help="stratified: bins of the probability on --axis; 0 for none.")
    ] = 0,
    allocation: Annotated[
        str, typer.Option(help="stratified: proportional, equal or neyman.")
    ] = "proportional",
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Draw items that the bundle was fitted on, too.")
    ] = False,
    minimum: Annotated[int, typer.Option(help="stratified: least from each stratum.")] = 2,
    seed: Annotated[int, typer.Option(help="Another seed is another draw.")] = 0,
    round_: Annotated[
        int, typer.Option("--round", help="2, 3, ... for a further draw for the same judge.")
    ] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
) -> None:
    """Draw the triples that a judge should see next, each with its inclusion probability."""
    from nsgauge.data.judge.recipe import JUDGE_RECIPES, JudgeRecipe
    from nsgauge.data.plan_file import write_plan
    from nsgauge.eval.plan import plan_from_folders
    from nsgauge.eval.plan_settings import PlanSettings

    if out.suffix != ".parquet":
        raise SettingsError(f"{out}: a plan is Parquet; wanted a name that ends in .parquet")
    asked = None
    if recipe is not None:
        asked = JUDGE_RECIPES.load(recipe, settings=JudgeRecipe)
        if judge is None:
            judge = asked.judge_name
    options = {
        "size": rows,
        "width": width,
        "design": design,
        "judge": judge,
        "by_item": by_item,
        "axis": axis,
        "score_bins": score_bins,
        "allocation": allocation,
        "minimum": minimum,
        "include_seen": include_seen,
        "seed": seed,
        "round": round_,
    }
    settings = PlanSettings.from_mapping(options, source="options")
    drawn, note = plan_from_folders(data, scores=scores, settings=settings, recipe=asked)
    write_plan(out, rows=drawn.rows, note=note, overwrite=overwrite)
    show_plan(drawn, note=note, out=out)


def show_plan(drawn: "Plan", *, note: "PlanNote", out: Path) -> None:
    """What was drawn from what."""
    table = console.number_table("stratum", "population", "drawn", "probability", right_from=1)
    for stratum in drawn.strata:
        low, high = f"{stratum.lowest:.4g}", f"{stratum.highest:.4g}"
        table.add_row(
            escape(stratum.name),
            f"{stratum.population:,}",
            f"{stratum.drawn:,}",
            low if low == high else f"{low} to {high}",
        )
    console.show_table(table)
    if note.judged_before:
        console.say(
            f"{note.judged_before:,} triples that {note.judge!r} has answered on are left out: "
            "the probabilities are of the rest"
        )
    if drawn.unasked:
        reasons = console.listed(drawn.unasked)
        console.say(f"left out, for the recipe doesn't ask about them: {reasons}")
    if drawn.seen:
        console.say(
            f"{drawn.seen:,} triples of items that the classifier was fitted on are left out, as "
            "in a report: --include-seen draws them too"
        )
    show_forecasts(drawn, scored=note.settings["scores"] is not None)
    of_items = f" of {note.units:,} items" if note.settings["by_item"] else ""
    console.say(f"{drawn.rows.num_rows:,} of {note.population:,} triples{of_items}: {out}")


def show_forecasts(drawn: "Plan", *, scored: bool) -> None:
    """What this size and some larger ones would buy."""
    from nsgauge.protocol import RATE_TITLES

    if not drawn.forecasts:
        return
    titles = (f"{title}, width" for title in RATE_TITLES.values())
    table = console.number_table("judged", *titles, right_from=0)
    for each in drawn.forecasts:
        widths = (f"{each.widths[rate]:.3f}" for rate in RATE_TITLES)
        table.add_row(f"{each.triples:,}", *widths)
    console.show_table(table)
    ground = "if the classifier is calibrated" if scored else "without scores: at worst"
    console.say(f"expected width of the 95% intervals over these rows, {ground}")
