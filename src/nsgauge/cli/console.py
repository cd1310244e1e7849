"""What the commands print: results on stdout, errors and progress on stderr."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from nsgauge.data.doctor import Diagnosis
    from nsgauge.data.tables import DataSummary
    from nsgauge.eval.report.contents import Report
    from nsgauge.eval.scoring.shards import ScoreManifest
    from nsgauge.train.fit import TrainingResult

INTERRUPTED = 130
"""The exit code that typer makes of Ctrl-C."""

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def _stdout() -> Console:
    return Console(highlight=False)


def show_error(message: str) -> None:
    """One line on stderr."""
    line = " ".join(message.split())
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        Text.assemble(("error: ", "bold red"), line)
    )


def say(message: str) -> None:
    """A line on stdout; nothing in it is markup."""
    _stdout().print(Text(message), soft_wrap=True)


def show_choices(choices: Mapping[str, str]) -> None:
    """Names, each with what it is."""
    width = max(map(len, choices))
    for name, summary in choices.items():
        say(f"{name:{width}}  {summary}")


def show_import(summary: "DataSummary", *, out: Path) -> None:
    """What an import wrote."""
    say(
        f"{out}: {summary.triples:,} triples, {summary.verdicts:,} verdicts, "
        f"{summary.images:,} pictures"
    )
    if summary.rejects:
        listed = ", ".join(f"{reason} {count:,}" for reason, count in summary.rejects.items())
        say(f"rejected: {listed}; see {out / 'rejects.jsonl'}")
    for note in summary.notes:
        say(f"note: {note}")


def show_diagnosis(diagnosis: "Diagnosis", *, data: Path) -> bool:
    """What a data folder holds.

    Returns:
        Whether there are errors among the findings.
    """
    say(f"{data}: {diagnosis.triples:,} triples of {diagnosis.items:,} items")
    groups = {
        "benchmark": diagnosis.benchmarks,
        "VLLM": diagnosis.vllms,
        "response": diagnosis.response_states,
        "image": diagnosis.images,
        **{f"judge {judge}": said for judge, said in diagnosis.verdicts.items()},
    }
    table = Table("what", "which", "rows", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for what, counts in groups.items():
        for row, (which, count) in enumerate(counts.items()):
            table.add_row(escape(what) if row == 0 else "", escape(which), f"{count:,}")
    _stdout().print(table)
    words = ", ".join(f"{q:.0%} {n:,}" for q, n in diagnosis.response_words.items())
    say(f"words in a response, by quantile: {words or 'none'}")
    say(f"repeated responses: {diagnosis.duplicate_responses:.1%}")
    for finding in diagnosis.findings:
        line = Text.assemble(
            (f"{finding.severity}: ", _STYLES[str(finding.severity)]), finding.text
        )
        _stdout().print(line, soft_wrap=True)
    if not diagnosis.findings:
        say("nothing amiss")
    return any(finding.severity == "error" for finding in diagnosis.findings)


def show_training(result: "TrainingResult") -> None:
    """What a training gave, on validation."""
    facts = result.manifest.training
    table = Table("on validation", "rows", "positive", "AUROC", "AUPRC", "F1", box=None)
    for rate, quality in result.quality.items():
        measures = (quality.auroc, quality.average_precision, quality.f1)
        table.add_row(
            str(rate),
            f"{quality.rows:,}",
            f"{quality.positives:,}",
            *("-" if value is None else f"{value:.3f}" for value in measures),
        )
    _stdout().print(table)
    left = ", ".join(f"{reason} {count:,}" for reason, count in facts.left_out.items())
    say(f"left out: {left or 'nothing'}")
    how = "resumed and trained" if result.resumed else "trained"
    say(f"{how} in {facts.seconds:.0f} s: {result.bundle}")


def show_scores(manifest: "ScoreManifest", *, out: Path) -> None:
    """What became of the rows."""
    for counts in (manifest.statuses, manifest.image_states):
        say(", ".join(f"{name} {count:,}" for name, count in counts.items()))
    if manifest.truncated:
        say(f"truncated {manifest.truncated:,}: longer than the window policy reads")
    say(f"{manifest.rows:,} rows in {len(manifest.shards)} shards: {out}")


def show_report(report: "Report", *, out: Path) -> None:
    """Where the report is, and its headline in numbers."""
    if report.headline is not None:
        unseen = report.overview.unseen
        say(f"{unseen:,} unseen rows scored; reference: {report.overview.reference or 'none'}")
    say(f"report: {out / 'report.html'}")


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr; yields what to call with (doing, done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    stderr = Console(stderr=True)
    # In a log, the bar would be an empty line before whatever error follows.
    quiet = not stderr.is_terminal
    with Progress(*columns, console=stderr, transient=True, disable=quiet) as bar:
        tasks = {}

        def advance(doing: str, done: int, total: int) -> None:
            if doing not in tasks:
                tasks[doing] = bar.add_task(doing, total=total)
            bar.update(tasks[doing], completed=done, total=total)

        yield advance
