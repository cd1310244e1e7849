"""Tables of triples in any columns: CSV, TSV, JSONL, a JSON list or Parquet, with a mapping."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from nsgauge.data.folders import file_digest
from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, ImportOptions, RejectLog
from nsgauge.data.importers.fields import Fields, UnusableRowError
from nsgauge.data.importers.mapping import LABEL_FIELDS, Mapping, parse_mapping
from nsgauge.data.importers.readers import Record, read_records
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError, ImageError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import ResponseState, Triple, Verdict, VerdictState

UNNAMED_JUDGE = "source"
"""The judge's name where no column gives it."""

_PEEKED_ROWS = 100
_ID_CHARACTERS = 24


def import_table(source: Path, *, options: ImportOptions, images: ImageStore) -> Imported:
    """Start the import of one table file; its rows are read as `Imported.triples` is.

    Where a judge or vote column is mapped, rows with one triple_id and the same contents are votes
    on one triple; otherwise a triple_id may come once.

    Raises:
        SettingsError: the mapping or a label isn't of its form.
        DataError: an unknown kind of file, no rows, or a mapped column that isn't there. While
            reading: a label value without a meaning, contradicting rows, or too many rejects.
    """
    rows = read_records(source)
    early = list(islice(rows, _PEEKED_ROWS))
    present = dict.fromkeys(
        column for row in early if isinstance(row, Record) for column in row.values
    )
    if not present:
        raise DataError(f"{source}: no readable rows ({len(early)} unreadable)")
    mapping = parse_mapping(options.mapping, labels=options.labels, present=list(present))
    reader = _TableReader(
        mapping=mapping,
        images=images,
        image_root=options.image_root or source.parent,
        benchmark=options.benchmark,
    )
    return Imported(
        triples=reader.triples(chain(early, rows)),
        verdicts=reader.verdicts,
        rejects=reader.rejects,
        files={source.name: file_digest(source)},
        notes=reader.notes,
    )


class _TableReader:
    """Turns rows into triples and verdicts; holds what spans rows."""

    def __init__(
        self, *, mapping: Mapping, images: ImageStore, image_root: Path, benchmark: str
    ) -> None:
        self.verdicts: list[Verdict] = []
        self.rejects = RejectLog()
        self.notes: list[str] = []
        self._mapping = mapping
        self._images = images
        self._image_root = image_root
        self._benchmark = benchmark
        self._votes = bool({"judge", "vote"} & set(mapping.columns))
        self._contents: dict[str, str] = {}
        self._made_ids: Counter[str] = Counter()

    def triples(self, rows: Iterator[Record | Reject]) -> Iterator[Triple]:
        """The triples, while verdicts, rejects and notes fill up."""
        count = cleaned = merged = 0
        for row in rows:
            count += 1
            if isinstance(row, Reject):
                self.rejects.add(row)
                continue
            fields = Fields(row, mapping=self._mapping)
            try:
                triple = self._triple(fields)
                verdict = self._verdict(fields, triple_id=triple.triple_id)
            except UnusableRowError as error:
                self.rejects.add(Reject(row.where, error.reason, str(error)))
                continue
            cleaned += fields.cleaned
            self.verdicts += [] if verdict is None else [verdict]
            if self._is_new(triple, where=row.where):
                yield triple
            else:
                merged += 1
        self.rejects.check_share(count)
        if cleaned:
            self.notes.append(f"{cleaned} texts had NUL or lone surrogates; they read U+FFFD now")
        if merged:
            self.notes.append(f"{merged} rows are further votes on the triple of an earlier row")

    def _triple(self, fields: Fields) -> Triple:
        prompt, response = fields.required("prompt"), fields.required("response")
        benchmark = fields.name("benchmark") or self._benchmark
        image = self._image(fields)
        item_id = fields.name("item_id") or _content_id(benchmark, prompt, image)
        vllm, sample = fields.name("vllm") or "", fields.count("sample")
        content = (benchmark, item_id, vllm, sample, prompt, image, response)
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
            response_state=ResponseState.ANSWERED if response.strip() else ResponseState.EMPTY,
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
            return self._images.add_file(self._image_root, path.replace("\\", "/"))
        except ImageError as error:
            raise UnusableRowError(f"image_{error.code}", str(error)) from error

    def _verdict(self, fields: Fields, *, triple_id: str) -> Verdict | None:
        """The row's verdict; None where the source has no label column."""
        if not {"safety", "grounding"} & self._mapping.fields:
            return None
        safety, grounding, hallucinated = (fields.label(field) for field in LABEL_FIELDS)
        states = [label for label in (safety, grounding) if isinstance(label, VerdictState)]
        answered = len(states) < len({"safety", "grounding"} & self._mapping.fields)
        return Verdict(
            triple_id=triple_id,
            judge=fields.name("judge") or UNNAMED_JUDGE,
            vote=fields.count("vote"),
            state=VerdictState.ANSWERED if answered else states[0],
            safety=safety if isinstance(safety, Safety) else None,
            grounding=grounding if isinstance(grounding, Grounding) else None,
            hallucinated=hallucinated if isinstance(hallucinated, bool) else None,
            category=fields.name("category"),
            reason=fields.prose("reason") or None,
        )

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


def _contents(triple: Triple) -> str:
    """What makes a triple: all but its id and the further columns, which may be the vote's."""
    return _content_id(
        *(triple.prompt, triple.response, triple.image, triple.caption, triple.benchmark),
        *(triple.item_id, triple.vllm, triple.sample, triple.language),
    )


def _content_id(*parts: object) -> str:
    text = json.dumps(parts, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARACTERS]
