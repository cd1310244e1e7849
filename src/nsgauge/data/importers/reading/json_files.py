"""Rows of JSON and JSONL files."""

import json
from pathlib import Path
from typing import Any

from nsgauge.data.importers.reading.records import Record, Rows, as_record
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError

_HEAD_BYTES = 2**20


class Constant(str):
    """A bare NaN or Infinity, which is no JSON but is often written: it reads as that word.

    A label "NaN" then needs a meaning like any other value.
    """

    __slots__ = ()


def read_json(path: Path) -> Rows:
    """The rows of a JSON file that holds a list of objects.

    Raises:
        DataError: as `read_json_document` and `listed`.
    """
    return listed(read_json_document(path), path=path)


def read_jsonl(path: Path) -> Rows:
    """The rows of a file with an object a line; empty lines are passed over."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _parsed_line(line, where=f"{path.name}:{number}")


def read_json_document(path: Path) -> Any:
    """What a JSON file in UTF-8 holds, with or without a byte order mark.

    Raises:
        DataError: not such a file, or an object in it has a key twice.
    """
    try:
        return parse_json(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON in UTF-8: {_brief(error)}") from error


def parse_json(content: bytes) -> Any:
    """As `read_json_document`, of bytes; a bare NaN or Infinity is a `Constant`.

    Raises:
        ValueError: it isn't JSON in UTF-8, or an object in it has a key twice.
        RecursionError: it is nested too deeply.
    """
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    return json.loads(text, object_pairs_hook=_distinct_keys, parse_constant=Constant)


def listed(content: Any, *, path: Path, key: str = "") -> Rows:
    """The rows in what the JSON file `path` holds: a list, or an object with one under `key`.

    Raises:
        DataError: it is neither.
    """
    rows = content.get(key) if key and isinstance(content, dict) else content
    if not isinstance(rows, list):
        wanted = "a list of objects" + (f", or an object with one in {key}" if key else "")
        raise DataError(f"{path}: holds {type(content).__name__}, wanted {wanted}")
    numbered = enumerate(rows, start=1)
    return (as_record(row, where=f"{path.name} row {number}") for number, row in numbered)


def mentions(path: Path, *words: str) -> bool:
    """Whether a JSON or JSONL file has one of these words near its start: a cheap first look."""
    if path.suffix.lower() not in {".json", ".jsonl"} or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return any(f'"{word}"'.encode() in head for word in words)


def _parsed_line(content: bytes, *, where: str) -> Record | Reject:
    try:
        value = parse_json(content)
    except UnicodeDecodeError as error:
        return Reject(where, "bad_utf8", f"not UTF-8: {error.reason} at byte {error.start}")
    except (ValueError, RecursionError) as error:
        return Reject(where, "bad_json", f"not one JSON object: {_brief(error)}")
    return as_record(value, where=where)


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key comes twice in one object")
    return values


def _brief(error: BaseException) -> str:
    """The parser's complaint without the text that it complains of."""
    return str(error).split(": '", maxsplit=1)[0][:200]
