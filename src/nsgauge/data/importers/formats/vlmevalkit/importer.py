"""VLMEvalKit's results: `<Model>_<Dataset>[_<judge>_detailed].{xlsx,tsv,json}`, judged or not."""

from ast import literal_eval
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, ImportOptions
from nsgauge.data.importers.conversion import UnusableRowError, converted, with_columns
from nsgauge.data.importers.formats.vlmevalkit.names import ResultName, result_name
from nsgauge.data.importers.formats.vlmevalkit.verdicts import JUDGED, plain, verdict_columns
from nsgauge.data.importers.mapping import by_field, format_mapping, lookup
from nsgauge.data.importers.reading.json_files import Constant
from nsgauge.data.importers.reading.pictures import PictureReader
from nsgauge.data.importers.reading.readers import read_records
from nsgauge.data.importers.reading.records import Record, Rows, peeked, records_of
from nsgauge.data.importers.reading.sources import digests, first_files, image_root, source_files
from nsgauge.data.importers.rows import RowSource, import_rows
from nsgauge.errors import DataError

_SUFFIXES = (".json", ".tsv", ".xlsx")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
_PICKLE = ".pkl"
_REQUIRED = {"index", "prediction"}
_FAILURE = "failed to obtain answer"
_COMPUTED = (
    *("triple_id", "item_id", "vllm", "benchmark", "image", "response_state"),
    *("safety", "state", "reason", "judge"),
)
_DEFAULTS = (
    "question=prompt",
    "prediction=response",
    *(f"{name}={name}" for name in _COMPUTED),
)


def import_vlmevalkit(source: Path, *, options: ImportOptions, images: ImageStore) -> Imported:
    """Start the import of a result file, or of a folder of them.

    Ids are `<benchmark>/<index>/<VLLM>`; files of several judges on the same predictions are votes
    on one triple. What is a verdict is told in `verdicts`.

    Args:
        source: The file, or a folder such as the harness's output path; what else lies there is
            passed over.
        options: `vllm`, `benchmark` and `judge` where the file's name doesn't tell them, or in
            place of what it tells; `image_root`, the folder with the pictures: named by index, as
            in `LMUData/images/<Dataset>`, or as the column image_path ends.
        images: Takes the pictures.

    Raises:
        SettingsError: the mapping or a label isn't of its form.
        DataError: no result files, a pickle, or a name that an option must tell. While reading: as
            `import_rows`.
    """
    paths, notes = _result_paths(source)
    files = [_ResultFile(path, options=options) for path in paths]
    present = {column: None for file in files for column in file.columns}
    root = image_root(source, given=options.image_root)
    reader = _Reader(options, root=root, notes=notes)
    return import_rows(
        RowSource(
            rows=reader.rows(files),
            mapping=format_mapping(_DEFAULTS, options=options, present=[*_COMPUTED, *present]),
            image_root=root,
            files=digests(paths, source=source),
            pictures_may_miss=True,
            notes=reader.notes,
        ),
        images=images,
    )


def recognises_vlmevalkit(source: Path) -> bool:
    """Whether `source` is a result file of VLMEvalKit, or a folder with one."""
    return any(_is_result(path) for path in first_files(source, suffixes=_SUFFIXES))


class _ResultFile:
    """One result file, its first rows already read."""

    def __init__(self, path: Path, *, options: ImportOptions) -> None:
        self.path = path
        self.name = result_name(path, options=options)
        early, later = peeked(read_records(path))
        self.rows: Rows = chain(early, later)
        self.columns = {column for row in records_of(early) for column in row.values}
        if self.columns & set(JUDGED) and not self.name.judge:
            raise DataError(f"{path}: judged, but its name doesn't tell by whom: give judge")


class _Reader:
    """Turns the rows of result files into records; holds what spans rows."""

    def __init__(self, options: ImportOptions, *, root: Path, notes: list[str]) -> None:
        self.notes = notes
        """Full once the rows are read."""
        self._pictures = PictureReader(root)
        mapped = by_field(options.mapping)
        axes = [mapped[field] for field in ("safety", "grounding") if field in mapped]
        self._axes = [*(axes or ["safety"]), "state"]

    def rows(self, files: Sequence[_ResultFile]) -> Rows:
        """The records of all files."""
        for file in files:
            self._pictures.start_file()
            yield from converted(file.rows, convert=partial(self._columns, name=file.name))
        columns = {column for file in files for column in file.columns}
        if columns & set(JUDGED):
            self.notes.append("VLMEvalKit's judges read the texts alone, without the picture")
        if "pred_behavior" in columns:
            text = "pred_behavior falls back to refusal patterns row by row, without a mark"
            self.notes.append(f"MSSBench's {text}")
        self.notes += self._pictures.notes()

    def _columns(self, row: Record, *, name: ResultName) -> dict[str, Any]:
        computed = self._computed(row.values, name=name)
        own = {key: value for key, value in row.values.items() if key != "image"}
        own = with_columns(own, {}, reserved=_COMPUTED)
        own["prediction"] = _prediction(own.get("prediction"))
        said = verdict_columns(own, judge=name.judge)
        if all(plain(lookup(said, axis)) == "" for axis in self._axes):
            said["judge"] = None
        return {**said, **computed}

    def _computed(self, values: dict[str, Any], *, name: ResultName) -> dict[str, Any]:
        index = plain(values.get("index"))
        if not index:
            raise UnusableRowError("missing_value", "no value for index")
        item_id = f"{name.benchmark}/{index}"
        failed = str(values.get("prediction")).strip().lower().startswith(_FAILURE)
        return {
            "triple_id": f"{item_id}/{name.vllm}",
            "item_id": item_id,
            "vllm": name.vllm,
            "benchmark": name.benchmark,
            "response_state": "not_a_response" if failed else None,
            **self._picture(values.get("image_path"), index=index),
        }

    def _picture(self, path: Any, *, index: str) -> dict[str, Any]:
        if path:
            return self._pictures.columns(_paths(path))
        names = [f"{index}{suffix}" for suffix in _PICTURES]
        return {"image": next(filter(self._pictures.is_here, names), names[0])}


def _result_paths(source: Path) -> tuple[list[Path], list[str]]:
    """The result files of a source, and notes on those that can't be read.

    The harness writes other files beside them, which lack their columns.
    """
    if source.suffix.lower() == _PICKLE:
        wanted = "run the harness again with its output as xlsx, tsv or json"
        raise DataError(f"{source}: a pickle can run code when it is read, so it isn't: {wanted}")
    paths = source_files(source, suffixes=_SUFFIXES)
    left: list[Path] = []
    if source.is_dir():
        kinds = {path: _is_result(path) for path in paths}
        paths = [path for path, kind in kinds.items() if kind]
        broken = [path for path, kind in kinds.items() if kind is None]
        left = [*broken, *source_files(source, suffixes=(_PICKLE,))]
    if not paths:
        known = ", ".join(_SUFFIXES)
        raise DataError(f"{source}: no results of VLMEvalKit ({known} with index and prediction)")
    names = ", ".join(path.name for path in left)
    return paths, [f"{len(left)} files can't be read and are left out: {names}"] if left else []


def _is_result(path: Path) -> bool | None:
    """Whether a file has the columns of results; None where it can't be read."""
    if path.suffix.lower() == ".json":
        with path.open("rb") as file:
            # Any list may be one; other documents are spared the parsing.
            if not file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
                return False
    try:
        early, _ = peeked(read_records(path), rows_count=1)
    except DataError:
        return None
    return any(set(row.values) >= _REQUIRED for row in records_of(early))


def _prediction(value: Any) -> Any:
    """The response; pandas writes an empty one as null or as a bare NaN."""
    return "" if value is None or isinstance(value, Constant) else value


def _paths(value: Any) -> list[str]:
    """One path, or a list of them that is often written as Python would."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            value = literal_eval(value)
    paths = value if isinstance(value, list) else [value]
    if not all(isinstance(path, str) for path in paths):
        raise UnusableRowError("bad_image_path", "image_path holds other things than texts")
    return paths
