"""lm-eval's samples: `samples_<task>_<date>.jsonl`, a row for each document and filter.

Its metrics are no verdicts until the user says so: `--map METRIC=safety --label METRIC:1=unsafe`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, ImportOptions
from nsgauge.data.importers.conversion import UnusableRowError
from nsgauge.data.importers.formats.harness.samples import (
    SampleFile,
    SampleReader,
    import_samples,
    recognises_samples,
    sample_files,
)
from nsgauge.data.importers.reading.json_files import parse_json
from nsgauge.data.importers.reading.messages import asked
from nsgauge.data.importers.reading.pictures import PictureReader
from nsgauge.data.importers.reading.readers import read_records
from nsgauge.data.importers.reading.records import records_of
from nsgauge.data.importers.reading.sources import image_root
from nsgauge.errors import DataError

_NAME = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT[\d.-]+\.jsonl")


def import_lm_eval(source: Path, *, options: ImportOptions, images: ImageStore) -> Imported:
    """Start the import of a sample file, or of a folder of them.

    Ids are `<task>/<doc_id>/<VLLM>`. The response is what one filter left of it; `resps` stays in
    the extras. The harness doesn't log pictures: `--map doc.COLUMN=image` where the documents
    name them.

    Args:
        source: The file, or a folder such as the harness's output path.
        options: `filter` where there are several; `vllm` and `benchmark` in place of the folder's
            and file's names; `image_root` for pictures that the user maps.
        images: Takes the pictures.

    Raises:
        SettingsError: the mapping or a label isn't of its form.
        DataError: no sample files, names that don't tell VLLM and task, several filters and none
            given, or one that isn't there. While reading: as `import_rows`.
    """
    files = sample_files(source, name=_NAME, options=options)
    chosen = _chosen_filter(files, wanted=options.filter)

    def convert(values: dict[str, Any]) -> dict[str, Any] | None:
        return _asked(values.get("arguments")) if _filter(values) == chosen else None

    pictures = PictureReader(image_root(source, given=options.image_root))
    reader = SampleReader(convert, pictures=pictures)
    return import_samples(source, files=files, reader=reader, options=options, images=images)


def recognises_lm_eval(source: Path) -> bool:
    """Whether `source` is a sample file of lm-eval, or a folder with one."""
    return recognises_samples(source, has={"doc_id", "arguments", "filtered_resps"}, lacks=set())


def _chosen_filter(files: Sequence[SampleFile], *, wanted: str) -> str:
    """The one filter to take the responses of; a file's filters stand one after the other."""
    names = {_filter(row.values) for file in files for row in records_of(read_records(file.path))}
    if wanted and wanted not in names:
        raise DataError(f"no filter {wanted!r}; there: {', '.join(sorted(names)) or 'none'}")
    if not wanted and len(names) > 1:
        raise DataError(f"filters {', '.join(sorted(names))}: give one of them as filter")
    return wanted or next(iter(names), "")


def _filter(values: dict[str, Any]) -> str:
    return str(values.get("filter") or "")


def _asked(arguments: Any) -> dict[str, Any]:
    """What the first request asked, with the settings that it was asked with."""
    request = arguments.get("gen_args_0") if isinstance(arguments, dict) else None
    if not isinstance(request, dict):
        raise UnusableRowError("no_request", "arguments has no gen_args_0")
    if isinstance(request.get("arg_1"), str):
        found = "arg_1 is a text: its likelihood was asked for"
        raise UnusableRowError("not_generated", f"{found}; wanted a generated response")
    spoken = asked(_messages(request.get("arg_0")))
    prompt = {"prompt": request.get("arg_0")} if spoken is None else spoken.columns()
    settings = request.get("arg_1")
    return {**prompt, **({"generation_settings": settings} if settings else {})}


def _messages(value: Any) -> list[Any]:
    """The messages of a chat: as they are, or as JSON in a list of one text."""
    if not isinstance(value, list):
        return []
    if len(value) == 1 and isinstance(value[0], str):
        try:
            parsed = parse_json(value[0].encode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):
            return []
        return parsed if isinstance(parsed, list) else []
    return value
