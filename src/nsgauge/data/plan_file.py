"""The plan file: which triples a judge should see next, and with what probability each was drawn.

PLAN.parquet has a row a triple (PLAN_SCHEMA) and a PlanNote as JSON in its key-value metadata.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from nsgauge.data.folders import new_file
from nsgauge.data.parquet import Words, checked, read_parquet
from nsgauge.errors import DataError
from nsgauge.settings import Settings

NOTE_KEY = b"nsgauge_plan"
"""The key in the file's metadata that the note lies under."""
_WANTED = "give a file made by `nsgauge plan`"

PLAN_SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("triple_id", pa.string(), nullable=False),
        pa.field("inclusion_probability", pa.float64(), nullable=False),
        pa.field("stratum", pa.string(), nullable=False),
        pa.field("design", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
    ]
)


class Design(StrEnum):
    """How the triples of a plan were drawn."""

    UNIFORM = "uniform"
    STRATIFIED = "stratified"
    UNCERTAINTY = "uncertainty"


class PlanNote(Settings):
    """What a plan was drawn from, and how.

    Attributes:
        version: Of the format.
        data_fingerprint: Of the data folder when the plan was drawn; it changes as verdicts come.
        judge: For whom the plan is; None where the data had no verdicts and none was named.
        round: Which draw for this judge this is, from 1.
        judged_before: Triples left out because the judge had answered on them already. The
            probabilities are of the rest: see `nsgauge.eval.plan`.
        population: Triples that could have been drawn.
        units: What was drawn: that many triples, or items with all their responses.
        settings: Of the draw.
    """

    version: Literal[1] = 1
    data_fingerprint: str
    judge: str | None
    round: int = Field(ge=1)
    judged_before: int = Field(ge=0)
    population: int = Field(ge=0)
    units: int = Field(ge=0)
    settings: Mapping[str, Any]


def write_plan(path: Path, *, rows: pa.Table, note: PlanNote, overwrite: bool = False) -> None:
    """Write a plan file whole or not at all; the same plan gives the same bytes.

    Args:
        path: The new file.
        rows: PLAN_SCHEMA.
        note: What the plan was drawn from.
        overwrite: Replace a file that is there.

    Raises:
        DataError: the rows aren't a plan (see `read_plan`), or `path` is taken.
    """
    table = _checked_rows(rows, where=str(path))
    noted = table.replace_schema_metadata({NOTE_KEY: note.model_dump_json().encode()})
    with new_file(path, overwrite=overwrite) as part:
        pq.write_table(noted, part, compression="zstd")


def read_plan(path: Path) -> pa.Table:
    """A plan with PLAN_SCHEMA and its note in the schema's metadata (see `note_of`).

    Raises:
        DataError: no such file, not Parquet, without a note, a column missing or of another type,
            a triple_id twice, or a probability outside (0, 1].
    """
    if not path.exists():
        raise DataError(f"{path}: no such file; {_WANTED}")
    table = read_parquet(path)
    note = note_of(table, where=str(path))
    rows = _checked_rows(table, where=str(path))
    return rows.replace_schema_metadata({NOTE_KEY: note.model_dump_json().encode()})


def note_of(plan: pa.Table, *, where: str = "plan") -> PlanNote:
    """The note of a plan, as `read_plan` gives it.

    Args:
        plan: With the note in its schema's metadata.
        where: What to call the plan in an error.

    Raises:
        DataError: there is no note, or not one that this version reads.
    """
    content = (plan.schema.metadata or {}).get(NOTE_KEY)
    if content is None:
        raise DataError(f"{where}: no {NOTE_KEY.decode()} in its metadata; {_WANTED}")
    try:
        return PlanNote.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(str(step) for step in fault["loc"]) or "(top level)"
        raise DataError(f"{where}: note: {name}: {fault['msg']}; {_WANTED}") from error


def _checked_rows(table: pa.Table, *, where: str) -> pa.Table:
    words: Words = {"design": Design}
    rows = checked(table, schema=PLAN_SCHEMA, words=words, where=where)
    pi = rows["inclusion_probability"]
    # Written so that NaN, which compares to nothing, is refused too.
    good = pc.and_(pc.greater(pi, 0), pc.less_equal(pi, 1))
    wrong = rows.num_rows - (pc.sum(good).as_py() or 0)
    if wrong:
        found = f"{wrong} values of inclusion_probability outside (0, 1]"
        raise DataError(f"{where}: {found}; draw the plan again")
    twice = rows.num_rows - pc.count_distinct(rows["triple_id"]).as_py()
    if twice:
        raise DataError(f"{where}: {twice} rows repeat a triple_id; each may be drawn once")
    return rows
