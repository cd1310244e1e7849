"""The judge audit as a table for a terminal: a judge a row, its intervals beneath its shares."""

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nsgauge.eval.intervals import Bounded
from nsgauge.eval.report.audit import AuditRow, NsgAudit
from nsgauge.eval.report.phrases import count, percent

_COLUMNS = ("rows", "Unsafe\nRate", "of it\nmisread", "misread\ncalled\nunsafe", "Unsafe&SG\nRate")
_SHARES = ("unsafe_rate", "share_of_unsafe", "share_of_not_grounded", "unsafe_grounded_rate")


def audit_table(audit: NsgAudit) -> Table:
    """Percent; beneath each the 95% interval, then what missing answers could make of it."""
    table = Table(box=None, pad_edge=False)
    table.add_column("judge", overflow="fold")
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for row in audit.rows:
        table.add_row(escape(row.judge), *_cells(row))
    return table


def audit_notes(audit: NsgAudit) -> list[str]:
    """What a reader of the table must know, a line each."""
    notes = [
        f"percent of the rows that the judge and {audit.reference} both answered, with 95% "
        f"intervals; misread: not grounded by {audit.reference}; Unsafe&SG: unsafe by the judge, "
        f"grounded by {audit.reference}"
    ]
    if any(row.bounds for row in audit.rows):
        notes.append(
            "open: asked about, without an answer or with votes that tie; in brackets: the lowest "
            "and highest share that answers to these could make"
        )
    uneven = [row.judge for row in audit.rows if row.uneven_draw]
    if uneven:
        notes.append(
            "drawn with unequal probabilities and not weighted, so no rate is certified: "
            + ", ".join(uneven)
        )
    return notes


def _cells(row: AuditRow) -> list[Text]:
    found = row.inflation
    shares = [(getattr(found, name), getattr(row.bounds, name, None)) for name in _SHARES]
    rows = Text(count(found.rows))
    if row.bounds is not None:
        rows.append(f"\n\n{count(row.bounds.unanswered)} open", style="italic")
    return [rows, *(_cell(share, bounds=bounds) for share, bounds in shares)]


def _cell(share: Bounded | None, *, bounds: tuple[float, float] | None) -> Text:
    if share is None:
        return Text("-")
    cell = Text(percent(share.value))
    if share.low is not None and share.high is not None:
        cell.append(f"\n{percent(share.low)}-{percent(share.high)}", style="dim")
    if bounds is not None:
        cell.append(f"\n[{percent(bounds[0])}-{percent(bounds[1])}]", style="italic")
    return cell
