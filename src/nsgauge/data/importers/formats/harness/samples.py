"""What the sample files of lm-eval and lmms-eval have in common: names, ids, responses, doubles."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, ImportOptions
from nsgauge.data.importers.conversion import UnusableRowError, reject_of, with_columns
from nsgauge.data.importers.mapping import format_mapping
from nsgauge.data.importers.reading.pictures import PictureReader
from nsgauge.data.importers.reading.readers import read_records
from nsgauge.data.importers.reading.records import Record, Rows, peeked, records_of
from nsgauge.data.importers.reading.sources import digests, first_files, image_root, source_files
from nsgauge.data.importers.rows import RowSource, import_rows
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError, ImageError

_SUFFIXES = (".jsonl", ".ndjson")
_ROWS_PEEKED = 10
_FIELDS = (
    *("prompt", "response", "triple_id", "item_id", "vllm", "benchmark", "sample", "image"),
    "response_state",
)
_DROPPED = {"arguments", "input", "input_media", "filtered_resps", "doc_id"}

Converter = Callable[[dict[str, Any]], dict[str, Any] | None]
"""From a row its `prompt`, `image` and further columns, or None to leave it out.

Raises UnusableRowError or ImageError where the row is a reject.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """One sample file.

    Attributes:
        path: Where it is.
        vllm: Name of the VLLM.
        task: Name of the benchmark.
    """

    path: Path
    vllm: str
    task: str


def sample_files(
    source: Path, *, name: re.Pattern[str], options: ImportOptions
) -> list[SampleFile]:
    """The sample files of a source, each with its VLLM and task.

    Args:
        source: A file, or a folder of folders of files.
        name: Matches a file's name as the harness gives it; its group `task` is the benchmark, and
            the folder that such a file lies in is named for the VLLM.
        options: `vllm` and `benchmark` take precedence.

    Raises:
        DataError: no such files, names that don't tell the VLLM or task, or two files that tell
            the same.
    """
    paths = source_files(source, suffixes=_SUFFIXES)
    if source.is_dir():
        paths = [path for path in paths if name.fullmatch(path.name)]
    if not paths:
        raise DataError(f"{source}: no sample files; give a .jsonl file or the folder of a run")
    files: dict[tuple[str, str], SampleFile] = {}
    for path in paths:
        file = _sample_file(path, match=name.fullmatch(path.name), options=options)
        if (other := files.setdefault((file.vllm, file.task), file)) is not file:
            both = f"{other.path.name} and {path.name} both hold {file.vllm} on {file.task}"
            raise DataError(f"{source}: {both}: name the one to take")
    return list(files.values())


def _sample_file(path: Path, *, match: re.Match[str] | None, options: ImportOptions) -> SampleFile:
    vllm = options.vllm or (path.resolve().parent.name if match else "")
    task = options.benchmark or (match["task"] if match else "")
    if not vllm or not task:
        wanted = "give vllm and benchmark, or the name that the harness gave it"
        raise DataError(f"{path}: its name doesn't tell VLLM and benchmark: {wanted}")
    return SampleFile(path=path, vllm=vllm, task=task)


def recognises_samples(source: Path, *, has: set[str], lacks: set[str]) -> bool:
    """Whether a file, or one in the folder, begins with a row that has and lacks these columns."""
    for path in first_files(source, suffixes=_SUFFIXES):
        early, _ = peeked(read_records(path), rows_count=_ROWS_PEEKED)
        if any(has <= set(row.values) and not lacks & set(row.values) for row in records_of(early)):
            return True
    return False


class SampleReader:
    """Turns the rows of sample files into records, one for each response.

    Args:
        convert: What the format makes of a row.
        pictures: What `convert` reads pictures by.
    """

    def __init__(self, convert: Converter, *, pictures: PictureReader) -> None:
        self.notes: list[str] = []
        """Full once the rows are read."""
        self._convert = convert
        self._pictures = pictures
        self._left_out = 0
        self._repeated = 0
        self._several = 0

    def rows(self, files: Iterable[SampleFile]) -> Rows:
        """The records of all files."""
        for file in files:
            self._pictures.start_file()
            yield from self._file_rows(file)
        counted = [
            (self._left_out, "are of other filters and left out"),
            (self._repeated, "repeat an earlier row of their file and are left out"),
            (self._several, "have several responses: each is a triple, with the row's metrics"),
        ]
        self.notes += [f"{count} rows {words}" for count, words in counted if count]
        self.notes += self._pictures.notes()

    def _file_rows(self, file: SampleFile) -> Rows:
        seen: dict[str, bytes] = {}
        for row in read_records(file.path):
            if isinstance(row, Reject):
                yield row
                continue
            try:
                yield from self._records(row, file=file, seen=seen)
            except (UnusableRowError, ImageError) as error:
                yield reject_of(error, where=row.where)

    def _records(
        self, row: Record, *, file: SampleFile, seen: dict[str, bytes]
    ) -> Iterator[Record]:
        doc_id = doc_id_of(row.values)
        columns = self._convert(row.values)
        if columns is None:
            self._left_out += 1
            return
        if self._is_repeated(row.values, doc_id=doc_id, seen=seen):
            self._repeated += 1
            return
        responses = _responses(row.values)
        self._several += len(responses) > 1
        item_id = f"{file.task}/{doc_id}"
        shared = {"item_id": item_id, "vllm": file.vllm, "benchmark": file.task, **columns}
        left = {key: value for key, value in row.values.items() if key not in _DROPPED}
        for sample, response in enumerate(responses):
            mark = f"#{sample}" if len(responses) > 1 else ""
            own = {"triple_id": f"{item_id}/{file.vllm}{mark}", "sample": sample}
            values = with_columns(left, {**shared, **own, "response": response}, reserved=_FIELDS)
            yield Record(row.where, values)

    def _is_repeated(self, values: dict[str, Any], *, doc_id: str, seen: dict[str, bytes]) -> bool:
        """Whether the row came before: harnesses append to the file of an earlier run."""
        content = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()
        if doc_id not in seen:
            seen[doc_id] = content
            return False
        if seen[doc_id] != content:
            found = f"doc_id {doc_id} came before with other contents"
            raise UnusableRowError("doubled_doc_id", f"{found}: the file holds several runs")
        return True


def import_samples(
    source: Path,
    *,
    files: Sequence[SampleFile],
    reader: SampleReader,
    options: ImportOptions,
    images: ImageStore,
) -> Imported:
    """Start the import of sample files; their rows are read as `Imported.triples` is.

    Raises:
        SettingsError: the mapping or a label isn't of its form.
        DataError: a column that the user named isn't there. While reading: as `import_rows`.
    """
    early, later = peeked(reader.rows(files))
    present = {column: None for row in records_of(early) for column in row.values}
    defaults = [f"{name}={name}" for name in _FIELDS]
    judge = [f'"{options.judge}"=judge'] if options.judge else []
    return import_rows(
        RowSource(
            rows=chain(early, later),
            mapping=format_mapping(
                [*defaults, *judge], options=options, present=[*_FIELDS, *present]
            ),
            image_root=image_root(source, given=options.image_root),
            files=digests([file.path for file in files], source=source),
            pictures_may_miss=True,
            notes=reader.notes,
        ),
        images=images,
    )


def doc_id_of(values: dict[str, Any]) -> str:
    """A row's `doc_id` as text.

    Raises:
        UnusableRowError: `missing_value`.
    """
    doc_id = values.get("doc_id")
    if isinstance(doc_id, bool) or not isinstance(doc_id, int | str) or doc_id == "":
        found = f"doc_id is {doc_id!a:.40}"
        raise UnusableRowError("missing_value", f"{found}, wanted a number or a name")
    return str(doc_id)


def _responses(values: dict[str, Any]) -> list[str]:
    """What the VLLM answered, as the filter left it: a text, or the texts of nested lists."""
    texts = list(_leaves(values.get("filtered_resps", values.get("resps"))))
    if not texts or not all(isinstance(text, str) for text in texts):
        kinds = ", ".join(sorted({type(text).__name__ for text in texts})) or "nothing"
        raise UnusableRowError("not_text", f"filtered_resps holds {kinds}, wanted text")
    return texts


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value
