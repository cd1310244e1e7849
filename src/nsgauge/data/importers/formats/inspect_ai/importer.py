"""inspect_ai's logs (0.3): a `.json` or `.eval` file, or a folder of them.

Scores are no verdicts until the user says so. Each lies in columns of its own, so that
`--map scores.NAME.value=safety --label scores.NAME.value:C=safe --label scores.NAME.value:I=unsafe`
makes verdicts of one, and `--map scores.NAME.explanation=reason` keeps what the scorer wrote.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, ImportOptions
from nsgauge.data.importers.conversion import UnusableRowError, converted
from nsgauge.data.importers.formats.inspect_ai.log import (
    SUFFIXES,
    InspectLog,
    opened_log,
    recognises_log,
)
from nsgauge.data.importers.formats.inspect_ai.samples import SCORES, sample_columns
from nsgauge.data.importers.mapping import Mapping, by_field, format_mapping, lookup
from nsgauge.data.importers.reading.pictures import PictureReader
from nsgauge.data.importers.reading.records import Record, Rows
from nsgauge.data.importers.reading.sources import digests, first_files, image_root, source_files
from nsgauge.data.importers.rows import RowSource, import_rows
from nsgauge.errors import DataError

_FIELDS = (
    *("prompt", "response", "response_state", "triple_id", "item_id"),
    *("vllm", "benchmark", "sample", "image"),
)
# By field, what a score without a value means.
_UNSCORED = {"safety": "unjudged", "grounding": "unjudged", "hallucinated": "unknown"}


def import_inspect_ai(source: Path, *, options: ImportOptions, images: ImageStore) -> Imported:
    """Start the import of a log, or of a folder of logs; the samples are read one by one.

    Ids are `<task>/<id>/<model>`, with `#<epoch - 1>` from the second epoch on. The prompt is what
    stood before the last answer, as `messages.asked` joins it; system messages are in the extras.
    A sample that ended with an error or at a limit, or that the provider filtered, is no response.
    A mapped score that is missing or NaN leaves the sample unjudged.

    Args:
        source: The log or folder.
        options: `vllm` and `benchmark` in place of the log's model and task; `judge`, by default
            the score's name; `image_root` for pictures that are paths.
        images: Takes the pictures.

    Raises:
        SettingsError: the mapping or a label isn't of its form.
        DataError: no logs. While reading: a log that can't be read, two that hold the same
            sample, a mapped score that no sample has, or as `import_rows`.
    """
    paths = source_files(source, suffixes=SUFFIXES)
    other = [path for path in paths if source.is_dir() and not recognises_log(path)]
    paths = [path for path in paths if path not in other]
    if not paths:
        raise DataError(f"{source}: no logs of inspect_ai (.eval or .json)")
    root = image_root(source, given=options.image_root)
    reader = _Reader(options, pictures=PictureReader(root))
    broken = [path.name for path in other if path.suffix.lower() == ".eval"]
    if broken:
        reader.notes.append(f"{len(broken)} files are no logs and left out: {', '.join(broken)}")
    return import_rows(
        RowSource(
            rows=reader.rows(paths),
            mapping=reader.mapping(),
            image_root=root,
            files=digests(paths, source=source),
            pictures_may_miss=True,
            notes=reader.notes,
        ),
        images=images,
    )


def recognises_inspect_ai(source: Path) -> bool:
    """Whether `source` is a log of inspect_ai, or a folder with one."""
    return any(recognises_log(path) for path in first_files(source, suffixes=SUFFIXES))


class _Reader:
    """Turns the samples of logs into records; holds what spans samples."""

    def __init__(self, options: ImportOptions, *, pictures: PictureReader) -> None:
        self.notes: list[str] = []
        """Full once the rows are read."""
        mapped = by_field(options.mapping)
        self._options = options
        self._pictures = pictures
        self._labelling = [
            (column, _UNSCORED[field])
            for field, column in mapped.items()
            if column.startswith(SCORES) and field in _UNSCORED
        ]
        # Whether a column that the user named is there shows only at the end.
        named = (column for column in mapped.values() if not column.startswith('"'))
        self._missing = dict.fromkeys(named)
        self._logs: dict[str, str] = {}
        self._unfinished: list[str] = []

    def mapping(self) -> Mapping:
        """What the columns mean; a score without a value is no label."""
        names = [
            column.removeprefix(SCORES).partition(".value")[0] for column, _ in self._labelling
        ]
        judge = self._options.judge or next(iter(names), "")
        return format_mapping(
            [*(f"{name}={name}" for name in _FIELDS), *([f'"{judge}"=judge'] if judge else [])],
            labels=[f"{column}:={word}" for column, word in self._labelling],
            options=self._options,
            present=[*_FIELDS, *self._missing],
        )

    def rows(self, paths: Sequence[Path]) -> Rows:
        """The records of all logs."""
        for path in paths:
            self._pictures.start_file()
            with opened_log(path) as log:
                if log.status != "success":
                    self._unfinished.append(f"{path.name} ({log.status})")
                yield from converted(log.samples, convert=partial(self._columns, log=log))
        if self._missing and self._logs:
            names = ", ".join(self._missing)
            raise DataError(f"no sample has {names}; a score is scores.NAME.value, by its name")
        if self._unfinished:
            listed = ", ".join(self._unfinished)
            self.notes.append(f"{len(self._unfinished)} logs are of runs without success: {listed}")
        self.notes += self._pictures.notes()

    def _columns(self, sample: Record, *, log: InspectLog) -> dict[str, Any]:
        columns, pictures = sample_columns(sample.values)
        columns |= self._pictures.columns(pictures)
        columns |= self._names(sample, log=log)
        for column in list(self._missing):
            if column in columns or lookup(columns, column) is not None:
                del self._missing[column]
        return columns

    def _names(self, sample: Record, *, log: InspectLog) -> dict[str, Any]:
        """The ids; in a log, id and epoch are the key."""
        name, epoch = sample.values.get("id"), sample.values.get("epoch", 1)
        if isinstance(name, bool) or not isinstance(name, int | str) or name == "":
            raise UnusableRowError("missing_value", f"id is {name!a:.40}, wanted a number or name")
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 1:
            raise UnusableRowError("bad_number", f"epoch is {epoch!a:.40}, wanted 1, 2, 3...")
        task, vllm = self._options.benchmark or log.task, self._options.vllm or log.vllm
        mark = f"#{epoch - 1}" if epoch > 1 else ""
        triple_id = f"{task}/{name}/{vllm}{mark}"
        earlier = self._logs.setdefault(triple_id, log.path.name)
        if earlier != log.path.name:
            both = f"{earlier} and {log.path.name} both hold {triple_id}"
            raise DataError(f"{both}: keep one of the two logs")
        return {
            "triple_id": triple_id,
            "item_id": f"{task}/{name}",
            "vllm": vllm,
            "benchmark": task,
            "sample": epoch - 1,
        }
