"""From folders to a comparison of two score folders or two judges, and to its files."""

import shlex
from dataclasses import replace
from pathlib import Path

from nsgauge.data.tables import data_fingerprint, read_verdicts
from nsgauge.errors import DataError
from nsgauge.eval.report.files import Cell, CsvTable, csv_text, json_text, write_whole
from nsgauge.eval.report.inputs import ReportInputs, Rows, join_rows, pick_reference
from nsgauge.eval.report.page import render_comparison
from nsgauge.eval.report.paper_tables import comparison_paper, latex, markdown
from nsgauge.eval.report.side_by_side import (
    Side,
    SideBySide,
    classifier_side,
    judge_side,
    side_by_side,
)
from nsgauge.eval.report.traits import lean_folder

PAGE = "comparison.html"
NUMBERS = "comparison.json"


def comparison_from_folders(
    data: Path, *, sides: tuple[str, str], out: Path, reference: str | None
) -> SideBySide:
    """Set two sides beside each other and write comparison.html, .json and tables.

    Args:
        data: The data folder.
        sides: Each a score folder made from it, or the name of a judge.
        out: The folder to write into.
        reference: Whose answers AUROC and kappa are held against; None picks one that isn't a side.

    Raises:
        DataError: a side is neither, both are the same, or the data folder is malformed.
        ScoringError: a score folder isn't whole.
    """
    if sides[0] == sides[1]:
        raise DataError(f"{sides[0]!r} is on both sides: name two judges or two score folders")
    inputs = ReportInputs(triples=lean_folder(data), verdicts=read_verdicts(data))
    rows = join_rows(inputs)
    first, second = (_side(name, inputs=inputs, rows=rows) for name in sides)
    others = replace(rows, judges=tuple(j for j in rows.judges if j.judge not in sides))
    held = pick_reference(rows if reference else others, wanted=reference, teachers=())
    words = ["nsgauge", "report", "--data", str(data), "--compare", *sides]
    words += ["--reference", reference] if reference else []
    found = side_by_side(
        rows,
        first=first,
        second=second,
        reference=None if held is None else rows.judge(held),
        facts={
            "command": shlex.join([*words, "--out", str(out)]),
            "data": data.name,
            "data_fingerprint": data_fingerprint(data),
        },
    )
    write_comparison(found, out)
    return found


def write_comparison(found: SideBySide, out: Path) -> Path:
    """Write the files of a comparison, each whole, the page last.

    Returns:
        The path of the page.
    """
    paper = comparison_paper(found)
    write_whole(out / "tables" / "comparison.csv", text=csv_text(_table(found)))
    write_whole(out / "tables" / "comparison.md", text=markdown(paper))
    write_whole(out / "tables" / "comparison.tex", text=latex(paper))
    write_whole(out / NUMBERS, text=json_text(found))
    page = out / PAGE
    write_whole(page, text=render_comparison(found))
    return page


def _side(name: str, *, inputs: ReportInputs, rows: Rows) -> Side:
    """A judge where one has that name, else a score folder."""
    if any(judge.judge == name for judge in rows.judges):
        return judge_side(rows.judge(name))
    if not Path(name).is_dir():
        known = ", ".join(repr(judge.judge) for judge in rows.judges) or "none"
        vllms = ""
        if name in rows.vllms:
            vllms = "; VLLMs are compared in a report without --compare, see its tables/orders.csv"
        raise DataError(
            f"{name!r}: no judge of that name (known: {known}), and no score folder{vllms}"
        )
    # Comparing judges needs nothing of the scoring engine.
    from nsgauge.eval.scoring import shards  # noqa: PLC0415

    scores = join_rows(replace(inputs, scores=shards.read_scores(Path(name)))).scores
    if scores is None:
        raise DataError(f"{name}: no scores")
    return classifier_side(name, scores)


def _table(found: SideBySide) -> CsvTable:
    header = ("benchmark", "vllm", "measure", "rows", "items", "first", "second")
    rows: list[tuple[Cell, ...]] = []
    measures = [
        (entry.benchmark, entry.vllm, str(entry.rate), entry.paired) for entry in found.rates
    ]
    for name, by_axis in (("auroc", found.auroc), ("kappa", found.kappa)):
        measures += [(None, None, f"{name}_{axis}", paired) for axis, paired in by_axis.items()]
    for benchmark, vllm, measure, paired in measures:
        counts = (paired.rows, paired.items, paired.first, paired.second)
        rows.append((benchmark, vllm, measure, *counts, *paired.difference))
    return CsvTable(
        header=(*header, "difference", "difference_low", "difference_high"), rows=tuple(rows)
    )
