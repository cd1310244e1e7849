"""inspect_ai's logs, `.json` and `.eval`: what was run, and its samples one by one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from nsgauge.data.importers.reading.archive import opened_archive, read_member
from nsgauge.data.importers.reading.json_files import parse_json, read_json_document
from nsgauge.data.importers.reading.records import Record, as_record
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError

SUFFIXES = (".eval", ".json")

_HEADERS = ("header.json", "_journal/start.json")
_HEAD_BYTES = 4096
_HEAD_KEYS = (b'"version"', b'"eval"', b'"task"')
_SAMPLE = re.compile(r"samples/(?P<name>.+)\.json")
_PROTOCOLS = ("attachment://", "tc://")


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectLog:
    """One log.

    Attributes:
        path: Its file.
        task: Name of the task.
        vllm: Name of the model that was evaluated.
        status: How the run ended: `success`, `started`, `cancelled` or `error`; `invalidated`
            where somebody marked it so afterwards.
        samples: The samples as they were logged, read once; a Reject where one can't be read.
    """

    path: Path
    task: str
    vllm: str
    status: str
    samples: Iterator[Record | Reject]


def recognises_log(path: Path) -> bool:
    """Whether a file is a log, by its first bytes (`.json`) or its members (`.eval`)."""
    if path.suffix.lower() == ".eval":
        try:
            with ZipFile(path) as archive:
                return bool(set(_HEADERS) & set(archive.namelist()))
        except (OSError, ValueError, BadZipFile):
            return False
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{") and all(
        k in head for k in _HEAD_KEYS
    )


@contextmanager
def opened_log(path: Path) -> Iterator[InspectLog]:
    """A log, whose samples can be read until the block ends.

    Raises:
        DataError: not such a file, or without the task and model that were run.
    """
    if path.suffix.lower() == ".eval":
        with opened_archive(path) as archive:
            names = set(archive.namelist())
            header = next((name for name in _HEADERS if name in names), None)
            if header is None:
                raise DataError(f"{path}: no header.json in it; wanted a log of inspect_ai")
            yield _log(path, header=_parsed(archive, header), samples=_members(path, archive))
    else:
        document = read_json_document(path)
        yield _log(path, header=document, samples=_listed(path, document))


def with_attachments(value: Any, *, attachments: dict[str, Any]) -> Any:
    """The value with every text that refers to an attachment replaced by it."""
    if isinstance(value, str) and value.startswith(_PROTOCOLS):
        return attachments.get(value.partition("://")[2], value)
    if isinstance(value, list):
        return [with_attachments(inner, attachments=attachments) for inner in value]
    if isinstance(value, dict):
        return {key: with_attachments(value[key], attachments=attachments) for key in value}
    return value


def _log(path: Path, *, header: Any, samples: Iterator[Record | Reject]) -> InspectLog:
    spec = header.get("eval") if isinstance(header, dict) else None
    task, vllm = (spec.get("task"), spec.get("model")) if isinstance(spec, dict) else (None, None)
    if not isinstance(task, str) or not isinstance(vllm, str):
        raise DataError(f"{path}: no eval.task and eval.model; wanted a log of inspect_ai")
    status = "invalidated" if header.get("invalidated") else header.get("status") or "started"
    return InspectLog(path=path, task=task, vllm=vllm, status=str(status), samples=samples)


def _listed(path: Path, document: Any) -> Iterator[Record | Reject]:
    samples = document.get("samples")
    for number, sample in enumerate(samples if isinstance(samples, list) else [], start=1):
        yield as_record(sample, where=f"{path.name} sample {number}")


def _members(path: Path, archive: ZipFile) -> Iterator[Record | Reject]:
    for name in sorted(set(archive.namelist())):
        match = _SAMPLE.fullmatch(name)
        if match is None:
            continue
        where = f"{path.name} sample {match['name']}"
        try:
            yield as_record(_parsed(archive, name), where=where)
        except DataError as error:
            yield Reject(where, "bad_member", str(error))


def _parsed(archive: ZipFile, name: str) -> Any:
    try:
        return parse_json(read_member(archive, name))
    except (ValueError, RecursionError) as error:
        raise DataError(f"member {name!r} is not JSON in UTF-8: {error!s:.200}") from error
