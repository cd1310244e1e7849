"""`nsgauge judge`: cost first, then a bar, then what became of every question."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nsgauge.cli import console
from nsgauge.cli.options import OverridesArgument

if TYPE_CHECKING:
    from nsgauge.data.judge.asking import Progress as JudgeProgress
    from nsgauge.data.judge.budget import Tokens
    from nsgauge.data.judge.estimate import Estimate
    from nsgauge.data.judge.recipe import JudgeRecipe
    from nsgauge.data.judge.runner import JudgeRun


def _list_recipes(*, wanted: bool) -> bool:
    if wanted:
        from nsgauge.data.judge.prompt import JUDGE_PROMPTS
        from nsgauge.data.judge.recipe import JUDGE_RECIPES

        console.say("recipes:")
        console.show_choices(JUDGE_RECIPES.summaries())
        console.say("prompts:")
        console.show_choices(JUDGE_PROMPTS.summaries())
        raise typer.Exit
    return wanted


def judge(
    data: Annotated[Path, typer.Argument(help="Data folder, as `import` makes it.")],
    overrides: OverridesArgument = None,
    *,
    recipe: Annotated[
        list[str], typer.Option(help="A judge's YAML file, or a shipped one: --list. Repeatable.")
    ],
    plan: Annotated[
        Path | None, typer.Option(help="Only the triples of this file, as `plan` makes it.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="File that keeps every answer, for all folders.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would cost, and send nothing.")
    ] = False,
    max_calls: Annotated[int | None, typer.Option(help="limits.max_calls")] = None,
    max_cost: Annotated[float | None, typer.Option(help="limits.max_cost")] = None,
    _list: Annotated[
        bool,
        typer.Option(
            "--list",
            help="Name the shipped recipes and prompts.",
            is_eager=True,
            callback=_list_recipes,
        ),
    ] = False,
) -> None:
    """Ask a judge the protocol's questions; what was answered is kept, whatever stops the run."""
    from nsgauge.data.judge.cache import default_answers
    from nsgauge.data.judge.estimate import estimate_folder
    from nsgauge.data.judge.recipe import JUDGE_RECIPES, JudgeRecipe

    limits = {"limits.max_calls": max_calls, "limits.max_cost": max_cost}
    given = [f"{key}={value}" for key, value in limits.items() if value is not None]
    file = answers or default_answers()
    for name in recipe:
        loaded = JUDGE_RECIPES.load(
            name, settings=JudgeRecipe, overrides=[*(overrides or ()), *given]
        )
        estimate = estimate_folder(data, recipe=loaded, answers=file, plan=plan)
        _show_estimate(estimate, recipe=loaded)
        if plan is not None:
            _note_other_judge(plan, judge=estimate.judge)
        if not dry_run:
            _run(data, recipe=loaded, answers=file, plan=plan)


def _run(data: Path, *, recipe: "JudgeRecipe", answers: Path, plan: Path | None) -> None:
    from nsgauge.data.judge.asking import End
    from nsgauge.data.judge.runner import judge_folder

    with _bar(currency=recipe.price.currency if recipe.price else "") as progress:
        run = judge_folder(data, recipe=recipe, answers=answers, plan=plan, progress=progress)
    _show_run(run, answers=answers)
    if run.end is End.INTERRUPTED:
        raise typer.Exit(console.INTERRUPTED)


def _note_other_judge(plan: Path, *, judge: str) -> None:
    """What another judge has answered on is in the plan's way, not what this one has."""
    from nsgauge.data.plan_file import note_of, read_plan

    drawn_for = note_of(read_plan(plan), where=str(plan)).judge
    if drawn_for not in {None, judge}:
        console.say(
            f"note: {plan} was drawn for {drawn_for!r}: what that judge has answered on is left "
            f"out, not what {judge!r} has"
        )


def _show_estimate(estimate: "Estimate", *, recipe: "JudgeRecipe") -> None:
    where = recipe.endpoint.base_url or "OpenAI"
    prompt = f"{recipe.prompt}, {estimate.prompt_hash[:12]}"
    console.say(f"{estimate.judge}: {recipe.model} at {where}, prompt {prompt}")
    console.say(
        f"{estimate.triples:,} triples x {recipe.votes} votes: {estimate.kept:,} answers are "
        f"there, {estimate.calls:,} calls to make"
    )
    if estimate.left_out:
        console.say(f"not asked about: {console.listed(estimate.left_out)}")
    cost = "no price given" if estimate.cost is None else _money(estimate.cost, estimate.currency)
    console.say(f"at most, as estimated, {_tokens(estimate.tokens)}: {cost}")


def _show_run(run: "JudgeRun", *, answers: Path) -> None:
    console.say(f"verdicts: {console.listed(run.states) or 'none'}")
    spent = "" if run.cost is None else f", {_money(run.cost, run.currency)}"
    console.say(
        f"{run.answers:,} answers in {run.seconds:.0f} s with {run.calls:,} calls, "
        f"{_tokens(run.tokens)}{spent}; kept in {answers}"
    )
    if run.last_error:
        console.say(f"the last error: {run.last_error}")
    if run.unasked:
        console.say(f"{run.unasked:,} answers are missing ({run.end}): the same command goes on")


def _tokens(tokens: "Tokens") -> str:
    return f"{tokens.sent:,} tokens in, {tokens.received:,} out"


def _money(amount: float, currency: str) -> str:
    return f"{amount:.4f} {currency}" if amount < 1 else f"{amount:,.2f} {currency}"


@contextmanager
def _bar(*, currency: str) -> Iterator[Callable[["JudgeProgress"], None]]:
    """A bar on stderr with the rate, the cost, what failed and the time left."""
    columns: Sequence[TextColumn | BarColumn | MofNCompleteColumn | TimeRemainingColumn] = (
        TextColumn("judging"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
    )
    stderr = Console(stderr=True)
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("judging", total=None, facts="")

        def show(now: "JudgeProgress") -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed or 0.0
            facts = [f"{speed:.1f}/s", f"{now.at_a_time} at a time"]
            facts += [_money(now.cost, currency)] if currency else []
            facts += [f"{now.failed} failed"] if now.failed else []
            bar.update(task, completed=now.done, total=now.total, facts=", ".join(facts))

        yield show
