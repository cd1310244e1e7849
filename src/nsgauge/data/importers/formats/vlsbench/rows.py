"""What the files of VLSBench and its kin have in common: lists of rows, picture paths, labels."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath
from typing import Any

from nsgauge.data.importers.contract import ImportOptions
from nsgauge.data.importers.fields import UnusableRowError
from nsgauge.data.importers.mapping import Mapping, format_mapping
from nsgauge.data.importers.reading.readers import Record, Rows, read_json_document, read_records
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import VerdictState

BENCHMARK = "VLSBench"
LABEL_NAMES = {"safe with refusal": 1, "safe with warning": 2, "unsafe": 3}
"""The judge's three classes, in lower case, and the numbers that stand for them."""

_MEANINGS = {
    "safe_label:1": Safety.SAFE,
    "safe_label:2": Safety.SAFE,
    "safe_label:3": Safety.UNSAFE,
}
_PAIRS = (
    *(f"{name}={name}" for name in ("triple_id", "item_id", "vllm", "sample", "judge", "state")),
    *("question=prompt", "pred_answer=response", "image=image", "caption=caption"),
    *("safe_label=safety", "label_str=category", "explanation=reason"),
    "response_state=response_state",
)
COLUMNS = tuple(pair.partition("=")[0] for pair in _PAIRS)
"""The columns of a record that a field of its triple or verdict comes from."""

_PICTURES = "imgs/"
_HEAD_BYTES = 2**20
_DIGEST_CHARACTERS = 12


def rows_in(path: Path, *, key: str) -> Rows:
    """The rows of a table file, or of the list under `key` of the object that a JSON file holds.

    Raises:
        DataError: neither, or as `read_records`.
    """
    if path.suffix.lower() == ".json":
        return listed(read_json_document(path), key=key, path=path)
    return read_records(path)


def listed(content: Any, *, key: str, path: Path) -> Rows:
    """As `rows_in`, of what the JSON file `path` holds.

    Raises:
        DataError: it is no list of rows, nor an object with one under `key`.
    """
    rows = content.get(key) if isinstance(content, dict) else content
    if not isinstance(rows, list):
        found = type(rows).__name__
        raise DataError(f"{path}: {found}; wanted a list of rows, or an object with one in {key}")
    return (
        Record(f"{path.name} row {number}", row)
        if isinstance(row, dict)
        else Reject(f"{path.name} row {number}", "not_an_object", f"holds {type(row).__name__}")
        for number, row in enumerate(rows, start=1)
    )


def mentions(path: Path, *words: str) -> bool:
    """Whether a JSON or JSONL file has one of these words near its start: a cheap first look."""
    if path.suffix.lower() not in {".json", ".jsonl"} or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return any(f'"{word}"'.encode() in head for word in words)


def picture_tail(path: str) -> str:
    r"""A picture's path from the data set's folder on, without the root it had on its machine.

    Example:
        >>> picture_tail("C:\\runs\\vlsbench\\imgs\\7.png")
        'imgs/7.png'
    """
    plain = path.replace("\\", "/")
    head, found, tail = plain.rpartition(_PICTURES)
    if found and head[-1:] in ("", "/"):
        return f"{_PICTURES}{tail}"
    windows = PureWindowsPath(plain)
    # An absolute path holds on one machine only; what is left of it elsewhere is the name.
    return windows.name if windows.root else plain


def content_item_id(question: str, *, picture: str | None) -> str:
    """An id for a question about a picture, of files that don't give one; the same everywhere."""
    digest = hashlib.sha256(question.encode(errors="surrogatepass")).hexdigest()
    return f"{picture or 'no-picture'}:{digest[:_DIGEST_CHARACTERS]}"


def required_text(value: Any, *, column: str) -> str:
    """A value that must be text.

    Raises:
        UnusableRowError: `missing_value` or `not_text`.
    """
    if value is None:
        raise UnusableRowError("missing_value", f"no value for {column}")
    if not isinstance(value, str):
        raise UnusableRowError("not_text", f"{column} is {type(value).__name__}, wanted text")
    return value


def label_columns(label: Any, *, label_str: Any) -> dict[str, Any]:
    """The columns of a judge's label; one that isn't there, or contradicts its name, is a state.

    Nothing in the files tells a judge's refusal from a call that failed: both are `failed`.
    """
    named = LABEL_NAMES.get(str(label_str).strip().rstrip(".").casefold())
    number = str(label).removesuffix(".0")
    if label in (None, "", {}, []):
        columns: dict[str, Any] = {"safe_label": None, "state": VerdictState.FAILED.value}
    elif named is not None and number in {"1", "2", "3"} and number != str(named):
        columns = {
            "safe_label": None,
            "state": VerdictState.UNPARSABLE.value,
            "contradictory_label": label,
        }
    else:
        columns = {"safe_label": label, "state": None}
    return {**columns, "label_str": label_str or None}


def vlsbench_mapping(options: ImportOptions, *, present: Iterable[str]) -> Mapping:
    """What the columns mean: the label tells safety, and grounding only where the user says so.

    Args:
        options: The user's pairs and labels.
        present: The columns of the source besides `COLUMNS`.

    Raises:
        SettingsError: the user's pairs or labels aren't of their form.
        DataError: a column that the user named isn't there.
    """
    said: dict[str, set[str]] = defaultdict(set)
    for label in options.labels:
        left, _, word = label.rpartition("=")
        said[left].add(word)
    both = any(words & set(Grounding) for left, words in said.items() if left in _MEANINGS)
    own = []
    for left, safety in _MEANINGS.items():
        # A label that the user gives a grounding keeps its safety, and the reverse.
        if said[left] <= set(Grounding):
            own.append(f"{left}={safety}")
        if both and said[left] <= set(Safety):
            own.append(f"{left}={VerdictState.UNJUDGED}")
    pairs = [*_PAIRS, "safe_label=grounding"] if both else _PAIRS
    widened = options.model_copy(update={"labels": [*options.labels, *own]})
    columns = list(dict.fromkeys([*COLUMNS, *present]))
    return format_mapping(pairs, options=widened, present=columns)
