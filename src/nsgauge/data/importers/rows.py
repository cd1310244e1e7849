"""From records of any format and a mapping of their columns to triples and verdicts.

Every format but MSTS comes through here: it says how its files become records, and this says what
is a row, what is a reject and what is a further vote.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, RejectLog
from nsgauge.data.importers.conversion import UnusableRowError, reject_of
from nsgauge.data.importers.fields import Fields
from nsgauge.data.importers.mapping import LABEL_FIELDS, Mapping
from nsgauge.data.importers.reading.records import Rows
from nsgauge.data.importers.reading.workbook import CELL_CHARACTERS_LIMIT, CUT_COLUMN
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError, ImageError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import ResponseState, Triple, Verdict, VerdictState

UNNAMED_JUDGE = "source"
"""The judge's name where no column gives it."""

_ID_CHARACTERS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """The records of a source, and how to read them.

    Attributes:
        rows: Read once, from first to last.
        mapping: What their columns mean. A value of `image` is bytes or a path.
        image_root: The folder that the paths are relative to.
        files: SHA-256 of every source file, by name.
        benchmark: Name where no column gives it.
        pictures_may_miss: Whether a row whose picture isn't there stays, without it; the number
            of such rows is a note. A picture that is there but can't be read is a reject.
        notes: Sentences on the source; more may come while the rows are read.
    """

    rows: Rows
    mapping: Mapping
    image_root: Path
    files: dict[str, str]
    benchmark: str = ""
    pictures_may_miss: bool = False
    notes: list[str] = field(default_factory=list)


def import_rows(source: RowSource, *, images: ImageStore) -> Imported:
    """Start an import; the rows are read as `Imported.triples` is.

    Where a judge or vote column is mapped, rows with one triple_id and the same contents are votes
    on one triple; otherwise a triple_id may come once.

    Raises:
        DataError: while reading: a label value without a meaning, contradicting rows, or too many
            rejects.
    """
    reader = _RowReader(source, images=images)
    return Imported(
        triples=reader.triples(),
        verdicts=reader.verdicts,
        rejects=reader.rejects,
        files=source.files,
        notes=source.notes,
    )


class _RowReader:
    """Turns records into triples and verdicts; holds what spans rows."""

    def __init__(self, source: RowSource, *, images: ImageStore) -> None:
        self.verdicts: list[Verdict] = []
        self.rejects = RejectLog()
        self._source = source
        self._mapping = source.mapping
        self._images = images
        self._votes = bool({"judge", "vote"} & set(source.mapping.columns))
        self._contents: dict[str, str] = {}
        self._made_ids: Counter[str] = Counter()
        self._missing_pictures = 0
        self._cut = 0

    def triples(self) -> Iterator[Triple]:
        """The triples, while verdicts, rejects and notes fill up."""
        count = cleaned = merged = 0
        for row in self._source.rows:
            count += 1
            if isinstance(row, Reject):
                self.rejects.add(row)
                continue
            self._cut += CUT_COLUMN in row.values
            fields = Fields(row, mapping=self._mapping)
            try:
                triple = self._triple(fields)
                verdict = self._verdict(fields, triple_id=triple.triple_id)
            except (UnusableRowError, ImageError) as error:
                self.rejects.add(reject_of(error, where=row.where))
                continue
            cleaned += fields.cleaned
            self.verdicts += [] if verdict is None else [verdict]
            if self._is_new(triple, where=row.where):
                yield triple
            else:
                merged += 1
        self.rejects.check_share(count)
        self._note(cleaned=cleaned, merged=merged)

    def _note(self, *, cleaned: int, merged: int) -> None:
        if self._cut:
            text = (
                f"{self._cut} rows have a text that xlsx cut at {CELL_CHARACTERS_LIMIT} characters"
            )
            self._source.notes.append(f"{text} (see {CUT_COLUMN}): import another kind of file")
        if cleaned:
            text = f"{cleaned} texts had NUL or lone surrogates; they read U+FFFD now"
            self._source.notes.append(text)
        if merged:
            text = f"{merged} rows are further votes on the triple of an earlier row"
            self._source.notes.append(text)
        if self._missing_pictures:
            text = f"{self._missing_pictures} rows name a picture that isn't here"
            self._source.notes.append(f"{text}; give --image-root, the folder that holds them")

    def _triple(self, fields: Fields) -> Triple:
        prompt, response = fields.required("prompt"), fields.required("response")
        benchmark = fields.name("benchmark") or self._source.benchmark
        image = self._image(fields)
        item_id = fields.name("item_id") or _content_id(benchmark, prompt, image)
        vllm, sample = fields.name("vllm") or "", fields.count("sample")
        content = (benchmark, item_id, vllm, sample, prompt, image, response)
        state = fields.word("response_state", vocabulary=ResponseState)
        return Triple(
            triple_id=self._triple_id(fields, made=_content_id(*content)),
            prompt=prompt,
            response=response,
            image=image,
            caption=fields.prose("caption") or None,
            benchmark=benchmark,
            item_id=item_id,
            vllm=vllm,
            sample=sample,
            response_state=state or _state_of(response),
            language=fields.name("language"),
            extras=fields.rest(),
        )

    def _triple_id(self, fields: Fields, *, made: str) -> str:
        if "triple_id" in self._mapping.fields:
            given = fields.name("triple_id")
            if given is None:
                raise UnusableRowError("missing_value", "no value for triple_id")
            return given
        if self._votes:
            return made
        # Without ids, equal rows are different answers that happen to read the same.
        self._made_ids[made] += 1
        count = self._made_ids[made]
        return made if count == 1 else f"{made}-{count}"

    def _image(self, fields: Fields) -> str | None:
        value = fields.raw("image")
        try:
            if isinstance(value, bytes):
                return self._images.add(value)
            path = fields.name("image")
            if path is None:
                return None
            root = self._source.image_root
            return self._images.add_file(root, _relative(path.replace("\\", "/"), root=root))
        except ImageError as error:
            if error.code == "missing" and self._source.pictures_may_miss:
                self._missing_pictures += 1
                return None
            raise

    def _verdict(self, fields: Fields, *, triple_id: str) -> Verdict | None:
        """The row's verdict; None where the source, or the row, has none."""
        axes = {"safety", "grounding"} & self._mapping.fields
        judge = fields.name("judge")
        silent = fields.is_silent("safety", "grounding", "state")
        if not axes or (judge is None and "judge" in self._mapping.fields and silent):
            return None
        safety, grounding, hallucinated = (fields.label(name) for name in LABEL_FIELDS)
        states = [label for label in (safety, grounding) if isinstance(label, VerdictState)]
        given = fields.word("state", vocabulary=VerdictState)
        derived = VerdictState.ANSWERED if len(states) < len(axes) else states[0]
        try:
            return Verdict(
                triple_id=triple_id,
                judge=judge or UNNAMED_JUDGE,
                vote=fields.count("vote"),
                state=given or derived,
                safety=safety if isinstance(safety, Safety) else None,
                grounding=grounding if isinstance(grounding, Grounding) else None,
                hallucinated=hallucinated if isinstance(hallucinated, bool) else None,
                category=fields.name("category"),
                reason=fields.prose("reason") or None,
                prompt_hash=fields.name("prompt_hash"),
                inclusion_probability=fields.probability("inclusion_probability"),
                plan_round=fields.count("plan_round") or None,
                unsafe_probability=fields.probability("unsafe_probability"),
                not_grounded_probability=fields.probability("not_grounded_probability"),
            )
        except ValueError as error:
            raise UnusableRowError("bad_verdict", str(error)) from error

    def _is_new(self, triple: Triple, *, where: str) -> bool:
        """Whether this is the triple's first row; only a table of votes may have more."""
        if not self._votes:
            return True
        contents = _contents(triple)
        if triple.triple_id not in self._contents:
            self._contents[triple.triple_id] = contents
            return True
        if self._contents[triple.triple_id] != contents:
            raise DataError(
                f"{where}: triple {triple.triple_id!r} has other contents than in an earlier row: "
                "map a column that tells them apart as triple_id or sample"
            )
        return False


def _relative(path: str, *, root: Path) -> str:
    """An absolute path as one relative to `root`, where that holds it; else the path as it is."""
    for folder in (root.absolute(), root.resolve()):
        if PurePosixPath(path).is_absolute() and PurePosixPath(path).is_relative_to(folder):
            return str(PurePosixPath(path).relative_to(folder))
    return path


def _state_of(response: str) -> ResponseState:
    return ResponseState.ANSWERED if response.strip() else ResponseState.EMPTY


def _contents(triple: Triple) -> str:
    """What makes a triple: all but its id and the further columns, which may be the vote's."""
    return _content_id(
        *(triple.prompt, triple.response, triple.image, triple.caption, triple.benchmark),
        *(triple.item_id, triple.vllm, triple.sample, triple.language),
    )


def _content_id(*parts: object) -> str:
    text = json.dumps(parts, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARACTERS]
