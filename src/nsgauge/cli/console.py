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
    show_table(_groups_table(diagnosis))
    if diagnosis.judges:
        show_table(_judges_table(diagnosis))
    show_table(_lengths_table(diagnosis))
    say(f"repeated responses: {diagnosis.duplicate_responses:.1%}")
    for finding in diagnosis.findings:
        line = Text.assemble(
            (f"{finding.severity}: ", _STYLES[str(finding.severity)]), finding.text
        )
        _stdout().print(line, soft_wrap=True)
    if not diagnosis.findings:
        say("nothing amiss")
    return any(finding.severity == "error" for finding in diagnosis.findings)


def _groups_table(diagnosis: "Diagnosis") -> Table:
    """How many rows are of what kind."""
    groups = {
        "benchmark": diagnosis.benchmarks,
        "VLLM": diagnosis.vllms,
        "response": diagnosis.response_states,
        "image": diagnosis.images,
        "default split": diagnosis.copies.sides,
        **{f"judge {judge}": said for judge, said in diagnosis.verdicts.items()},
    }
    table = number_table("what", "which", "rows", right_from=2)
    for what, counts in groups.items():
        for row, (which, count) in enumerate(counts.items()):
            table.add_row(escape(what) if row == 0 else "", escape(which), f"{count:,}")
    return table


def _judges_table(diagnosis: "Diagnosis") -> Table:
    """How each judge was asked: triples answered on, most votes on one, ties on either axis."""
    table = number_table("judge", "answered", "votes", "tied", "prompts", right_from=1)
    for judge, facts in diagnosis.judges.items():
        tied = facts.unsafe_ties + facts.not_grounded_ties
        prompts = str(len(facts.prompt_hashes)) if facts.prompts_known else "unknown"
        numbers = (f"{n:,}" for n in (facts.answered, facts.most_votes, tied))
        table.add_row(escape(judge), *numbers, prompts)
    return table


def _lengths_table(diagnosis: "Diagnosis") -> Table:
    """How long the texts are, by quantile."""
    rows = {"words in a response": diagnosis.response_words}
    if (texts := diagnosis.texts) is not None:
        rows[f"tokens in a response ({texts.preset})"] = texts.response_tokens
        rows["tokens in a prompt"] = texts.prompt_tokens
        for layout, windows in texts.windows.items():
            rows[f"windows of {texts.context} tokens, {layout}"] = windows
    table = number_table(
        "by quantile", *(f"{q:.0%}" for q in diagnosis.response_words), right_from=1
    )
    for name, lengths in rows.items():
        table.add_row(escape(name), *(f"{length:,}" for length in lengths.values()))
    return table


def number_table(*headings: str, right_from: int) -> Table:
    """A plain table whose columns from that one on hold numbers."""
    table = Table(*headings, box=None, pad_edge=False)
    for column in table.columns[right_from:]:
        column.justify = "right"
    return table


def show_table(table: Table) -> None:
    """A table on stdout."""
    _stdout().print(table)


def show_training(result: "TrainingResult") -> None:
    """What a training gave, on rows held out."""
    from nsgauge.checkpoints.card import choice_words

    facts = result.manifest.training
    table = Table("on rows held out", "rows", "positive", "AUROC", "AUPRC", "F1", box=None)
    for rate, quality in result.quality.items():
        measures = (quality.auroc, quality.average_precision, quality.f1)
        table.add_row(
            str(rate),
            f"{quality.rows:,}",
            f"{quality.positives:,}",
            *("-" if value is None else f"{value:.3f}" for value in measures),
        )
    _stdout().print(table)
    for axis, choice in facts.thresholds.items():
        say(f"threshold of {axis}: {choice.threshold:.3f}, for {choice_words(choice)}")
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
    """Where the report is, and what it found; without scores, the judge audit."""
    # They import what a report is made of, which most commands do without.
    from nsgauge.cli.audit_table import audit_notes, audit_table
    from nsgauge.eval.report.page_words import page_words

    if report.headline is not None:
        unseen = report.overview.unseen
        say(f"{unseen:,} unseen rows scored; reference: {report.overview.reference or 'none'}")
    if report.headline is None and report.audit is not None and report.audit.rows:
        _stdout().print(audit_table(report.audit))
        for note in audit_notes(report.audit):
            say(note)
    else:
        for finding in page_words(report).findings:
            say(finding)
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


def listed(counts: dict[str, int]) -> str:
    """Counts by name on one line."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
