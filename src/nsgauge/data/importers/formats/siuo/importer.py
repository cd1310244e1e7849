"""SIUO: three responses to a question about a picture, each judged safe or not, and effective.

Source: Wang et al., "Safe Inputs but Unsafe Output", 2024, in the layouts that the public scripts
write. Safety is judged without grounding, which stays unknown; effectiveness goes into the extras.
"""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, ImportOptions
from nsgauge.data.importers.conversion import with_columns
from nsgauge.data.importers.formats.siuo.items import SiuoItem, SiuoItems, is_multiple_choice
from nsgauge.data.importers.formats.siuo.rows import (
    BENCHMARK,
    COLUMNS,
    UNNAMED_JUDGE,
    effectiveness_columns,
    safety_columns,
    siuo_mapping,
)
from nsgauge.data.importers.reading.json_files import listed, mentions, read_json_document
from nsgauge.data.importers.reading.pictures import picture_tail
from nsgauge.data.importers.reading.readers import read_records
from nsgauge.data.importers.reading.records import Record, records_of
from nsgauge.data.importers.reading.sources import digests, image_root
from nsgauge.data.importers.rows import RowSource, import_rows
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError, SettingsError

_RUN = re.compile(
    r"siuo[_-]gen-(?P<vllm>.+?)(?:-gpteval-(?P<mode>safe|effective|merged)(?:-pro)?)?",
    re.IGNORECASE,
)
_ITEM = re.compile(r"output_\d+-.+", re.IGNORECASE)
_MODES = ("safe", "effective")
_ITEM_KEYS = ("responses", "safety_warning", "correct_option")
_LISTS = ("safety_evaluation", "safety_score", "effectiveness_evaluation", "effectiveness_score")
_OWN = {*_LISTS, "responses", "question_id", "question", "image"}


def import_siuo(source: Path, *, options: ImportOptions, images: ImageStore) -> Imported:
    """Start the import of a VLLM's responses, judged or not.

    A question's responses are triples `<question_id>/<VLLM>#0`, `#1`, ... of one item. A verdict is
    read again from the judge's reply where that was kept. What several files say of one item (its
    safety, its effectiveness, a merged file) is put together.

    Args:
        source: A file of items, or a folder of such (also one with the folders `safe` and
            `effective`), each `siuo_gen-<VLLM>...json` or one item `output_<n>-<question_id>.json`.
        options: `vllm` names the VLLM where the file name doesn't, `judge` the judge of safety.
        images: Takes the pictures, found under `image_root` (by default where the source lies).

    Raises:
        SettingsError: a `vllm` for the files of several.
        DataError: not of this format, no free responses, or no name for the VLLM.
    """
    rows = {path: _rows(path) for path in _paths(source)}
    _check_has_responses(rows, source=source)
    items = SiuoItems()
    for path, vllm in _vllms(list(rows), given=options.vllm).items():
        items.add(iter(rows[path]), vllm=vllm, effectiveness=_mode(path) == "effective")
    judge = options.judge or UNNAMED_JUDGE
    records = [record for item in items for record in _records(item, judge=judge)]
    columns = [name for record in records for name in record.values]
    return import_rows(
        RowSource(
            rows=chain(items.rejects, records),
            mapping=siuo_mapping(options, present=columns),
            image_root=image_root(source, given=options.image_root),
            files=digests(rows, source=source),
            benchmark=options.benchmark or BENCHMARK,
            pictures_may_miss=True,
            notes=_notes(items, options=options),
        ),
        images=images,
    )


def recognises_siuo(source: Path) -> bool:
    """Whether `source` is responses to SIUO, or what they lack: its questions, its choices."""
    try:
        return any(_has_items(path) for path in _paths(source))
    except DataError:
        return False


def _has_items(path: Path) -> bool:
    found = records_of(_rows(path)) if mentions(path, "question_id") else []
    return any("question_id" in row.values and set(_ITEM_KEYS) & set(row.values) for row in found)


def _paths(source: Path) -> list[Path]:
    """The files with items, in the order of their names."""
    if not source.is_dir():
        return [source]
    folders = (source, *(source / mode for mode in _MODES))
    found = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    paths = [path for path in found if _RUN.fullmatch(path.stem) or _ITEM.fullmatch(path.stem)]
    if not paths:
        raise DataError(f"{source}: no file named siuo_gen-VLLM.json or output_N-QUESTION.json")
    return paths


def _rows(path: Path) -> list[Record | Reject]:
    if path.suffix.lower() != ".json":
        return list(read_records(path))
    try:
        content = read_json_document(path)
    except DataError as error:
        if not _ITEM.fullmatch(path.stem):
            raise
        # One of the many files of a run that was killed while it wrote; the others are whole.
        return [Reject(path.name, "bad_json", str(error))]
    # One item alone is a list of one.
    is_item = isinstance(content, dict) and "question_id" in content
    return list(listed([content] if is_item else content, key="data", path=path))


def _check_has_responses(rows: dict[Path, list[Record | Reject]], *, source: Path) -> None:
    found = [row.values for group in rows.values() for row in records_of(group)]
    if any("responses" in values for values in found):
        return
    if any(is_multiple_choice(values) for values in found):
        raise DataError(
            f"{source}: SIUO's multiple-choice form has no free responses to judge; import the "
            "responses to siuo_gen.json"
        )
    raise DataError(
        f"{source}: no responses; the data set alone holds none: import the file that a VLLM's run "
        "wrote, which repeats what it needs of it"
    )


def _vllms(paths: list[Path], *, given: str) -> dict[Path, str]:
    """By file, who answered: as the user says, or as the file or its folder is named."""
    derived = {path: _named_vllm(path) for path in paths}
    several = sorted({name for name in derived.values() if name})
    if given and len(several) > 1:
        raise SettingsError(f"vllm {given!r} for files of {', '.join(several)}: leave it out")
    for path, name in derived.items():
        if not name and not given:
            raise DataError(
                f"{path}: the name doesn't tell which VLLM answered; name it siuo_gen-VLLM.json "
                "or give --vllm"
            )
    return {path: given or name for path, name in derived.items()}


def _named_vllm(path: Path) -> str:
    run = _RUN.fullmatch(path.stem)
    if run:
        return run["vllm"]
    folder = path.resolve().parent
    return folder.parent.name if folder.name in _MODES else ""


def _mode(path: Path) -> str:
    run = _RUN.fullmatch(path.stem)
    return (run["mode"] or "").casefold() if run else path.resolve().parent.name


def _records(item: SiuoItem, *, judge: str) -> Iterator[Record]:
    """One record a response."""
    values = item.values
    given = values.get("image")
    picture = picture_tail(given) if isinstance(given, str) else given
    rest = {name: value for name, value in values.items() if name not in _OWN}
    shared = {
        "question": values.get("question"),
        "image": picture,
        # Once more for the extras: a picture that isn't here leaves the triple without one.
        "image_path": picture,
        "item_id": item.question_id,
        "vllm": item.vllm,
    }
    for sample, response in enumerate(values["responses"]):
        said = {name: _nth(values[name], sample) for name in _LISTS if name in values}
        verdict = _verdict(said, response=response, judge=judge)
        triple_id = f"{item.question_id}/{item.vllm}#{sample}"
        own = {"triple_id": triple_id, "sample": sample, "response": response, **verdict}
        columns = with_columns(rest, {**shared, **own}, reserved=COLUMNS)
        yield Record(f"{item.where} response {sample}", columns)


def _verdict(said: dict[str, Any], *, response: Any, judge: str) -> dict[str, Any]:
    """The columns of what the judges said of one response, as far as they were asked."""
    columns: dict[str, Any] = {}
    reply, score = "safety_evaluation", "safety_score"
    if reply in said or score in said:
        verdict = safety_columns(said.get(reply), score=said.get(score), response=response)
        columns = {"judge": judge, **verdict}
    if said.get(score) is not None:
        columns["stored_safety_score"] = said[score]
    reply, score = "effectiveness_evaluation", "effectiveness_score"
    if reply in said or score in said:
        columns |= effectiveness_columns(said.get(reply), score=said.get(score))
    return columns


def _nth(values: Any, place: int) -> Any:
    """What a list says of one response; nothing where it is too short, or no list."""
    return values[place] if isinstance(values, list) and place < len(values) else None


def _notes(items: SiuoItems, *, options: ImportOptions) -> list[str]:
    notes = []
    judged = any(name in item.values for item in items for name in _LISTS[:2])
    if judged and not options.judge:
        notes.append(
            f"the files don't name their judge (the public script asks GPT-4 with vision): it is "
            f"called {UNNAMED_JUDGE!r}; name it with --judge"
        )
    if items.repeats:
        notes.append(f"{items.repeats} rows tell more of an item that an earlier row told of")
    return notes
