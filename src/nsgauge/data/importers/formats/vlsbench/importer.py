"""VLSBench: a VLLM's responses, each with a judge's class: refusal, warning or unsafe.

Source: Hu et al., "VLSBench: Unveiling Visual Leakage in Multimodal Safety", 2024, in the layout
that the public script writes. Its judge asks for safety alone, so grounding stays unknown.
"""

from itertools import chain
from pathlib import Path
from typing import Any

from nsgauge.data.folders import file_digest
from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, ImportOptions
from nsgauge.data.importers.conversion import SampleIds, converted, with_columns
from nsgauge.data.importers.formats.vlsbench.dataset import VlsbenchDataset
from nsgauge.data.importers.formats.vlsbench.rows import (
    BENCHMARK,
    COLUMNS,
    UNNAMED_JUDGE,
    content_item_id,
    label_columns,
    required_text,
    vlsbench_mapping,
)
from nsgauge.data.importers.reading.json_files import mentions
from nsgauge.data.importers.reading.pictures import picture_tail
from nsgauge.data.importers.reading.readers import rows_in
from nsgauge.data.importers.reading.records import Record, Rows, peeked, records_of
from nsgauge.data.importers.reading.sources import digests
from nsgauge.data.importers.rows import RowSource, import_rows
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError, SettingsError

_ENDING = "_outputs"
_LOGS = "logs"
_QUESTION = ("question", "instruction")
_PICTURE = ("image_path", "image")
_RESPONSE = ("pred_answer", "response")
_LABEL = ("safe_label", "label_str", "explanation")
_KNOWN = {*_QUESTION, *_PICTURE, *_RESPONSE, *_LABEL, "id"}


def import_vlsbench(source: Path, *, options: ImportOptions, images: ImageStore) -> Imported:
    """Start the import of one VLLM's run, or of a folder of runs `<VLLM>_outputs.json`.

    Labels 1 and 2 are safe and 3 is unsafe; `--label safe_label:2=grounded` takes a warning for a
    sign that the risk was seen. A file without any label is a run that nobody judged.

    Args:
        source: `{"stats", "logs"}` as the public script writes it, or its logs as a table of rows.
        options: `dataset` is data.json: with it an item is an instruction_id, and extras have its
            category and safety_reason; without it an item is a question about a picture. `vllm`
            names the VLLM of a single file, `judge` the judge.
        images: Takes the pictures, found under `image_root` (by default where the data set, or
            else the source, lies).

    Raises:
        SettingsError: a `vllm` for several files, or labels that aren't of their form.
        DataError: not of this format, no name for the VLLM, or an unknown label.
    """
    paths = _paths(source)
    logs = {path: _logs(path) for path in paths}
    vllms = _vllms(paths, given=options.vllm)
    dataset = None if options.dataset is None else VlsbenchDataset(options.dataset)
    runs = [
        _Run(logs[path], vllm=vllm, judge=options.judge or UNNAMED_JUDGE, dataset=dataset)
        for path, vllm in vllms.items()
    ]
    files = digests(paths, source=source)
    if options.dataset is not None:
        files[f"dataset/{options.dataset.name}"] = file_digest(options.dataset)
    beside = options.dataset or paths[0]
    return import_rows(
        RowSource(
            rows=chain.from_iterable(run.rows() for run in runs),
            mapping=vlsbench_mapping(options, present=chain(*(run.columns for run in runs))),
            image_root=options.image_root or beside.parent,
            files=files,
            benchmark=options.benchmark or BENCHMARK,
            pictures_may_miss=True,
            notes=_notes(runs, options=options),
        ),
        images=images,
    )


def recognises_vlsbench(source: Path) -> bool:
    """Whether `source` is a run, a folder of runs, or the data set that they lack."""
    try:
        path = _paths(source)[0]
        if not mentions(path, *_RESPONSE, "instruction_id"):
            return False
        rows = [row.values for row in records_of(peeked(rows_in(path, key=_LOGS))[0])]
    except DataError:
        return False
    is_run = any("pred_answer" in row and _first(row, _QUESTION) is not None for row in rows)
    return is_run or any(
        {"instruction_id", "instruction", "image_path"} <= set(row) for row in rows
    )


def _paths(source: Path) -> list[Path]:
    """The files of the runs, in the order of their names."""
    if not source.is_dir():
        return [source]
    paths = sorted(path for path in source.glob(f"*{_ENDING}.json*") if path.is_file())
    if not paths:
        raise DataError(f"{source}: no file named VLLM{_ENDING}.json; name the file itself")
    return paths


def _logs(path: Path) -> list[Record | Reject]:
    """The rows of one file, which should be responses."""
    rows = list(rows_in(path, key=_LOGS))
    values = [row.values for row in records_of(rows)]
    if values and not any(name in row for row in values for name in _RESPONSE):
        raise DataError(
            f"{path}: no responses (columns: {', '.join(values[0])}); the data set alone holds "
            "none: give it as --dataset of a file that does"
        )
    return rows


def _vllms(paths: list[Path], *, given: str) -> dict[Path, str]:
    """By file, who answered: as the user says, or as the file is named."""
    if given and len(paths) > 1:
        raise SettingsError(
            f"vllm {given!r} for {len(paths)} files: leave it out to take their names, or import "
            "one file"
        )
    named = {path: given or path.stem.removesuffix(_ENDING) for path in paths}
    for path, name in named.items():
        if not given and name in (path.stem, ""):
            wanted = f"name it VLLM{_ENDING}{path.suffix} or give --vllm"
            raise DataError(f"{path}: the name doesn't tell which VLLM answered; {wanted}")
    return named


class _Run:
    """One file: what one VLLM answered, and how it was judged."""

    def __init__(
        self,
        logs: list[Record | Reject],
        *,
        vllm: str,
        judge: str,
        dataset: VlsbenchDataset | None,
    ) -> None:
        self._rows = logs
        self._vllm = vllm
        self._judge = judge
        self._dataset = dataset
        values = [row.values for row in records_of(logs)]
        self.columns = [name for row in values for name in row if name not in _KNOWN]
        self.judged = any("safe_label" in row for row in values)

    def rows(self) -> Rows:
        """The rows with plain column names; one that can't be placed is a Reject."""
        ids = SampleIds(self._vllm)

        def convert(row: Record) -> dict[str, Any]:
            placed = self._placed(row.values)
            return {**placed, **ids.columns(placed["item_id"]), **self._verdict(row.values)}

        return converted(iter(self._rows), convert=convert)

    def _placed(self, values: dict[str, Any]) -> dict[str, Any]:
        """The row's own columns and those of its item."""
        question = required_text(_first(values, _QUESTION), column="question")
        given = _first(values, _PICTURE)
        picture = None if given is None else picture_tail(required_text(given, column="image_path"))
        rest = {name: value for name, value in values.items() if name not in _KNOWN}
        own = {
            "question": question,
            "pred_answer": _first(values, _RESPONSE),
            "image": picture,
            # Once more for the extras: a picture that isn't here leaves the triple without one.
            "image_path": picture,
            # Called `id` there, but a place in the run and no id of anything.
            "position": values.get("id"),
        }
        told = {name: value for name, value in own.items() if value is not None}
        columns = with_columns(rest, told, reserved=COLUMNS)
        if self._dataset is not None:
            return {**columns, **self._dataset.columns(question, picture=picture or "")}
        return {**columns, "item_id": content_item_id(question, picture=picture)}

    def _verdict(self, values: dict[str, Any]) -> dict[str, Any]:
        if not self.judged:
            return {}
        label = label_columns(values.get("safe_label"), label_str=values.get("label_str"))
        return {"judge": self._judge, **label, "explanation": values.get("explanation")}


def _first(values: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The value under the first of these names that has one."""
    return next((values[name] for name in names if values.get(name) is not None), None)


def _notes(runs: list[_Run], *, options: ImportOptions) -> list[str]:
    notes = []
    if any(run.judged for run in runs) and not options.judge:
        notes.append(
            f"the files don't name their judge (the public script asks GPT-4o): it is called "
            f"{UNNAMED_JUDGE!r}; name it with --judge"
        )
    if options.dataset is None:
        notes.append(
            "without --dataset, VLSBench's data.json, rows have no safety_reason, category or "
            "caption"
        )
    return notes
