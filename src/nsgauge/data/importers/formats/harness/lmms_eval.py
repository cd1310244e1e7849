"""lmms-eval's samples: `<out>/<model>/<date>_samples_<task>.jsonl`, with pictures in input_media.

Its metrics are no verdicts until the user says so: `--map METRIC=safety --label METRIC:1=unsafe`.
"""

import re
from pathlib import Path
from typing import Any

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, ImportOptions
from nsgauge.data.importers.conversion import UnusableRowError
from nsgauge.data.importers.formats.harness.samples import (
    SampleReader,
    doc_id_of,
    import_samples,
    recognises_samples,
    sample_files,
)
from nsgauge.data.importers.reading.messages import asked
from nsgauge.data.importers.reading.pictures import PictureReader
from nsgauge.data.importers.reading.readers import read_records
from nsgauge.data.importers.reading.sources import image_root
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError

_NAME = re.compile(r".+?_samples_(?P<task>.+)\.jsonl")


def import_lmms_eval(source: Path, *, options: ImportOptions, images: ImageStore) -> Imported:
    """Start the import of a sample file, or of a folder of them.

    Ids are `<task>/<doc_id>/<VLLM>`. A row that repeats an earlier one is left out, as the harness
    appends to its files; one that contradicts an earlier one is a reject. The harness leaves the
    data set out: with `options.dataset` (JSONL, a JSON list or Parquet) each row gets its object
    `doc`, by the column doc_id or else by position from 0, for `--map doc.COLUMN=FIELD`.

    Args:
        source: The file, or a folder such as the harness's output path.
        options: `vllm` and `benchmark` in place of the folder's and file's names; `image_root`
            for pictures that are paths; `dataset`.
        images: Takes the pictures.

    Raises:
        SettingsError: the mapping or a label isn't of its form.
        DataError: no sample files, names that don't tell VLLM and task, or a data set that can't
            be read. While reading: as `import_rows`.
    """
    files = sample_files(source, name=_NAME, options=options)
    pictures = PictureReader(image_root(source, given=options.image_root))
    docs = _docs(options.dataset)

    def convert(values: dict[str, Any]) -> dict[str, Any]:
        return {
            **_prompt(values.get("input")),
            **pictures.columns(_media(values.get("input_media"))),
            **({} if docs is None else {"doc": _doc(docs, doc_id=doc_id_of(values))}),
        }

    reader = SampleReader(convert, pictures=pictures)
    return import_samples(source, files=files, reader=reader, options=options, images=images)


def recognises_lmms_eval(source: Path) -> bool:
    """Whether `source` is a sample file of lmms-eval, or a folder with one."""
    return recognises_samples(
        source, has={"doc_id", "input", "filtered_resps"}, lacks={"arguments"}
    )


def _prompt(value: Any) -> dict[str, Any]:
    """The prompt, which the input of a chat model holds as messages."""
    spoken = asked(value) if isinstance(value, list) else None
    return {"prompt": value} if spoken is None else spoken.columns()


def _media(value: Any) -> list[str]:
    names = value if isinstance(value, list) else [value or ""]
    if not all(isinstance(name, str) for name in names):
        raise UnusableRowError("bad_media", "input_media holds other things than texts")
    return names


def _docs(path: Path | None) -> dict[str, dict[str, Any]] | None:
    """The data set's rows by doc_id, or by position where it has none."""
    if path is None:
        return None
    docs: dict[str, dict[str, Any]] = {}
    for position, row in enumerate(read_records(path)):
        if isinstance(row, Reject):
            raise DataError(f"{path}: {row.where}: {row.detail}")
        doc_id = str(row.values.get("doc_id", position))
        if doc_id in docs:
            raise DataError(f"{path}: {row.where}: doc_id {doc_id} comes twice")
        docs[doc_id] = row.values
    return docs


def _doc(docs: dict[str, dict[str, Any]], *, doc_id: str) -> dict[str, Any]:
    if doc_id not in docs:
        raise UnusableRowError("missing_doc", f"the data set has no doc_id {doc_id}")
    return docs[doc_id]
