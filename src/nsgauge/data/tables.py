"""The tables of a data folder: written whole or not at all, read with their schema checked."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nsgauge.data.folders import (
    FORMAT_KEY,
    FORMAT_VERSION,
    REJECTS_FILE,
    SOURCE_FILE,
    TRIPLES_FILE,
    VERDICTS_FILE,
    copy_image,
    file_digest,
    new_file,
    new_folder,
)
from nsgauge.data.parquet import Row, Words, checked, opened_parquet, read_parquet, write_rows
from nsgauge.errors import DataError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import (
    TRIPLES_SCHEMA,
    VERDICTS_SCHEMA,
    ResponseState,
    Triple,
    Verdict,
    VerdictState,
)

LISTED = 20
"""How many offenders an error names."""

_VERDICT_KEY = "(triple_id, judge, vote)"
_TRIPLE_WORDS: Words = {"response_state": ResponseState}
_VERDICT_WORDS: Words = {"state": VerdictState, "safety": Safety, "grounding": Grounding}


@dataclass(frozen=True, slots=True)
class Reject:
    """A row of the source that couldn't become a triple.

    Attributes:
        where: File and row or line.
        reason: Short stable code, for counting.
        detail: What was found and what was wanted.
    """

    where: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceNote:
    """Where a data folder comes from; all but `image_root` goes into source.json.

    Attributes:
        importer: What made the rows.
        options: Its settings, as JSON can hold them.
        files: SHA-256 of every source file read, by name.
        notes: What a reader of the data should know; read after the last row was written.
        image_root: The folder that `Triple.image` is relative to: the root of an `ImageStore`.
            Needed only where a triple has a picture.
    """

    importer: str
    options: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    image_root: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """What was written.

    Attributes:
        triples: Rows of triples.parquet.
        verdicts: Rows of verdicts.parquet.
        images: Distinct pictures.
        rejects: Rows of rejects.jsonl by reason.
        notes: As in the SourceNote.
    """

    triples: int
    verdicts: int
    images: int
    rejects: dict[str, int]
    notes: list[str]


def write_data(  # noqa: D417 - the rows are documented together
    out: Path,
    *,
    triples: Iterable[Triple],
    verdicts: Iterable[Verdict],
    rejects: Iterable[Reject],
    source: SourceNote,
    overwrite: bool = False,
) -> DataSummary:
    """Write a data folder: built beside `out`, flushed, then renamed.

    Triples are read to their end first, then verdicts, then rejects, so that one pass over a
    source may yield the first and gather the others.

    Args:
        out: The new folder.
        source: Where the rows come from, and where their pictures lie.
        overwrite: Replace `out` if it is a data folder of ours.

    Raises:
        DataError: `out` is taken; a triple_id is empty or twice there; a verdict is twice there
            or of an unknown triple; a picture is missing; a text has a lone surrogate.
    """
    with new_folder(out, overwrite=overwrite) as folder:
        images: set[str] = set()
        known: set[str] = set()
        named = _identified(triples, images=images)
        once = _once(named, key=lambda triple: triple.triple_id, seen=known, what="triple_id")
        triples_count = write_rows(folder / TRIPLES_FILE, once, schema=TRIPLES_SCHEMA)
        votes = _once(
            _of_known(verdicts, known=known),
            key=lambda verdict: (verdict.triple_id, verdict.judge, verdict.vote),
            seen=set(),
            what=_VERDICT_KEY,
        )
        verdicts_count = write_rows(folder / VERDICTS_FILE, votes, schema=VERDICTS_SCHEMA)
        if not verdicts_count:
            (folder / VERDICTS_FILE).unlink()
        for name in sorted(images):
            if source.image_root is None:
                raise DataError(f"a triple has the picture {name}: SourceNote needs image_root")
            copy_image(name, source=source.image_root, target=folder)
        summary = DataSummary(
            triples=triples_count,
            verdicts=verdicts_count,
            images=len(images),
            rejects=_write_rejects(folder / REJECTS_FILE, rejects),
            notes=list(source.notes),
        )
        _write_source(folder / SOURCE_FILE, source=source, summary=summary)
    return summary


def replace_verdicts(data: Path, *, verdicts: Iterable[Verdict]) -> None:
    """Write the verdicts of a data folder anew, whole or not at all.

    Raises:
        DataError: a text has a lone surrogate, or a (triple_id, judge, vote) comes twice.
    """
    votes = _once(
        verdicts,
        key=lambda verdict: (verdict.triple_id, verdict.judge, verdict.vote),
        seen=set(),
        what=_VERDICT_KEY,
    )
    with new_file(data / VERDICTS_FILE, overwrite=True) as part:
        write_rows(part, votes, schema=VERDICTS_SCHEMA)


def read_triples(data: Path) -> pa.Table:
    """All triples of a data folder, with TRIPLES_SCHEMA.

    Raises:
        DataError: no such file, not Parquet, a column missing, of another type or with bad values.
    """
    path = data / TRIPLES_FILE
    return checked(read_parquet(path), schema=TRIPLES_SCHEMA, words=_TRIPLE_WORDS, where=str(path))


def read_verdicts(data: Path) -> pa.Table:
    """All verdicts of a data folder, with VERDICTS_SCHEMA; no rows where there are none.

    Raises:
        DataError: no data folder, not Parquet, a column missing, of another type or with bad
            values, or a verdict whose state and labels disagree.
    """
    path = data / VERDICTS_FILE
    if not path.exists() and (data / TRIPLES_FILE).exists():
        return VERDICTS_SCHEMA.empty_table()
    table = checked(
        read_parquet(path), schema=VERDICTS_SCHEMA, words=_VERDICT_WORDS, where=str(path)
    )
    labelled = pc.or_(pc.is_valid(table["safety"]), pc.is_valid(table["grounding"]))
    answered = pc.equal(table["state"], str(VerdictState.ANSWERED))
    wrong = pc.sum(pc.xor(labelled, answered)).as_py() or 0
    if wrong:
        raise DataError(f"{path}: {wrong} verdicts are labelled but not answered, or the reverse")
    return table


def iter_triples(data: Path, *, rows: int) -> Iterator[pa.Table]:
    """The triples of a data folder in order, at most `rows` at a time, with TRIPLES_SCHEMA.

    Raises:
        DataError: as `read_triples`.
    """
    path = data / TRIPLES_FILE
    with opened_parquet(path) as file:
        for batch in file.iter_batches(batch_size=rows):
            table = pa.Table.from_batches([batch])
            yield checked(table, schema=TRIPLES_SCHEMA, words=_TRIPLE_WORDS, where=str(path))


def count_triples(data: Path) -> int:
    """Rows of triples.parquet, from its footer.

    Raises:
        DataError: no such file, or not Parquet.
    """
    with opened_parquet(data / TRIPLES_FILE) as file:
        return int(file.metadata.num_rows)


def triples_of(table: pa.Table) -> list[Triple]:
    """The rows of a table that has TRIPLES_SCHEMA."""
    return [
        Triple(**{**row, "response_state": ResponseState(row["response_state"])})
        for row in table.to_pylist()
    ]


def verdicts_of(table: pa.Table) -> list[Verdict]:
    """The rows of a table that has VERDICTS_SCHEMA."""
    return [_verdict(row) for row in table.to_pylist()]


def data_fingerprint(data: Path) -> str:
    """SHA-256 over the bytes of triples.parquet and verdicts.parquet, in hex.

    Raises:
        DataError: there is no triples.parquet.
    """
    digest = hashlib.sha256()
    for name in (TRIPLES_FILE, VERDICTS_FILE):
        path = data / name
        if name == TRIPLES_FILE and not path.exists():
            raise DataError(f"{path}: no such file; give a data folder, as `nsgauge import` makes")
        digest.update(f"{name}:{file_digest(path) if path.exists() else 'absent'}\n".encode())
    return digest.hexdigest()


def _verdict(row: dict[str, Any]) -> Verdict:
    safety, grounding = row["safety"], row["grounding"]
    parsed = {
        "state": VerdictState(row["state"]),
        "safety": None if safety is None else Safety(safety),
        "grounding": None if grounding is None else Grounding(grounding),
    }
    return Verdict(**{**row, **parsed})


def _identified(triples: Iterable[Triple], *, images: set[str]) -> Iterator[Triple]:
    """Pass triples on that have an id, and gather the pictures that they name."""
    for triple in triples:
        if not triple.triple_id:
            raise DataError(f"a triple of {triple.vllm!r} on {triple.item_id!r} has no triple_id")
        if triple.image is not None:
            images.add(triple.image)
        yield triple


def _of_known(verdicts: Iterable[Verdict], *, known: set[str]) -> Iterator[Verdict]:
    for verdict in verdicts:
        if verdict.triple_id not in known:
            found = f"{verdict.judge!r} judged {verdict.triple_id!r}"
            raise DataError(f"verdict of an unknown triple: {found}; keep its triple or drop it")
        yield verdict


def _once(
    rows: Iterable[Row], *, key: Callable[[Row], Any], seen: set[Any], what: str
) -> Iterator[Row]:
    """Pass rows on; at the end, refuse them all if a key came twice."""
    twice: dict[Any, None] = {}
    for row in rows:
        value = key(row)
        if value in seen:
            twice[value] = None
            continue
        seen.add(value)
        yield row
    if twice:
        listed = ", ".join(str(value) for value in islice(twice, LISTED))
        raise DataError(
            f"{len(twice)} values of {what} come more than once; the first: {listed}; map columns "
            "that tell such rows apart: triple_id, sample (answers to one prompt) or vote (of one "
            "judge)"
        )


def _write_rejects(path: Path, rejects: Iterable[Reject]) -> dict[str, int]:
    """One JSON object a line; how many there were of each reason."""
    reasons: Counter[str] = Counter()
    with path.open("w", encoding="utf-8") as file:
        for reject in rejects:
            reasons[reject.reason] += 1
            file.write(json.dumps(asdict(reject)) + "\n")
    return dict(sorted(reasons.items()))


def _write_source(path: Path, *, source: SourceNote, summary: DataSummary) -> None:
    note = {
        FORMAT_KEY: FORMAT_VERSION,
        "importer": source.importer,
        "options": source.options,
        "files": source.files,
        "counts": asdict(summary),
    }
    path.write_text(json.dumps(note, indent=2, sort_keys=True) + "\n", encoding="utf-8")
