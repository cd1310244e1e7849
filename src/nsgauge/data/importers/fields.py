"""The fields of one row, each of the type that a triple or verdict wants."""

import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypeVar

from nsgauge.data.importers.conversion import UnusableRowError
from nsgauge.data.importers.mapping import Label, Mapping
from nsgauge.data.importers.reading.records import NESTING_LIMIT, Record, is_too_deep

CHARACTERS_LIMIT = 1_000_000
"""A longer text is a reject: it is a dump, not an answer."""

Word = TypeVar("Word", bound=StrEnum)

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Fields:
    """One row seen through a mapping.

    Args:
        record: The row.
        mapping: What its columns mean.
    """

    def __init__(self, record: Record, *, mapping: Mapping) -> None:
        self.where = record.where
        self.cleaned = 0
        """How many texts had characters that no file can hold; they read U+FFFD now."""
        self._values = record.values
        self._mapping = mapping

    def raw(self, field: str) -> Any:
        """The value as it stands; None where there is none."""
        return self._mapping.value(self._values, field=field)

    def prose(self, field: str) -> str | None:
        """A text that somebody wrote; None where there is none.

        Raises:
            UnusableRowError: `not_text`, or `<field>_too_long`.
        """
        value = self.raw(field)
        if value is None:
            return None
        if not isinstance(value, str):
            raise UnusableRowError("not_text", f"{field} is {type(value).__name__}, wanted text")
        if len(value) > CHARACTERS_LIMIT:
            found = f"{field} has {len(value)} characters"
            raise UnusableRowError(f"{field}_too_long", f"{found}, at most {CHARACTERS_LIMIT}")
        return self._clean(value)

    def required(self, field: str) -> str:
        """As `prose`, of a row that must have it.

        Raises:
            UnusableRowError: `missing_value`, or as `prose`.
        """
        text = self.prose(field)
        if text is None:
            raise UnusableRowError("missing_value", f"no value for {field}")
        return text

    def name(self, field: str) -> str | None:
        """A text or whole number that names something, as text; None where it is empty.

        Raises:
            UnusableRowError: `not_a_name`.
        """
        value = self.raw(field)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            found = f"{field} is {type(value).__name__}"
            raise UnusableRowError("not_a_name", f"{found}, wanted text or a whole number")
        return self._clean(str(value))

    def count(self, field: str) -> int:
        """A number from 0; 0 where there is none.

        Raises:
            UnusableRowError: `bad_number`.
        """
        text = self.name(field) or "0"
        # A column with gaps comes out of pandas as 0.0, 1.0.
        if not re.fullmatch(r"[0-9]{1,9}(\.0)?", text.strip()):
            raise UnusableRowError("bad_number", f"{field} is {text[:40]!a}, wanted 0, 1, 2...")
        return int(text.strip().removesuffix(".0"))

    def label(self, field: str) -> Label:
        """What the value means; None where the field isn't mapped.

        Raises:
            DataError: a value without a meaning.
        """
        if field not in self._mapping.fields:
            return None
        return self._mapping.label(self._values, field=field, where=self.where)

    def word(self, field: str, *, vocabulary: type[Word]) -> Word | None:
        """A word of a fixed vocabulary; None where there is none.

        Raises:
            UnusableRowError: `bad_word`.
        """
        text = self.name(field)
        if text is None:
            return None
        try:
            return vocabulary(text.strip().casefold())
        except ValueError as error:
            wanted = ", ".join(vocabulary)
            raise UnusableRowError(
                "bad_word", f"{field} is {text[:40]!a}, wanted {wanted}"
            ) from error

    def probability(self, field: str) -> float | None:
        """A number in [0, 1]; None where there is none.

        Raises:
            UnusableRowError: `bad_number`.
        """
        value = self.raw(field)
        if value is None or value == "":
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if isinstance(value, bool) or not 0 <= number <= 1:
            raise UnusableRowError("bad_number", f"{field} is {value!a:.40}, wanted one in [0, 1]")
        return number

    def is_silent(self, *fields: str) -> bool:
        """Whether none of these fields has a value in this row."""
        return all(self.raw(field) in (None, "") for field in fields)

    def rest(self) -> str | None:
        """What `extras` holds and the columns that no field uses, as one JSON object, or None.

        Raises:
            UnusableRowError: `bad_extras`: it is neither an object nor the text of one; `too_deep`.
        """
        used = {column for column in self._mapping.columns.values() if column in self._values}
        paths = [column for column in self._mapping.columns.values() if column not in used]
        left = {key: value for key, value in self._values.items() if key not in used}
        for path in paths:
            left = _without(left, steps=path.split("."))
        left = {**self._extras(), **left}
        return _as_json(left) if left else None

    def _extras(self) -> dict[str, Any]:
        value = self.raw("extras")
        if value is None or value == "":
            return {}
        try:
            parsed = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError) as error:
            raise UnusableRowError("bad_extras", "extras is text, but not JSON") from error
        if not isinstance(parsed, dict):
            found = type(parsed).__name__
            raise UnusableRowError("bad_extras", f"extras is {found}, wanted an object")
        if is_too_deep(parsed):
            raise UnusableRowError("too_deep", f"extras nest deeper than {NESTING_LIMIT} levels")
        return parsed

    def _clean(self, text: str) -> str:
        cleaned, replaced = _UNSTORABLE.subn("\ufffd", text)
        self.cleaned += bool(replaced)
        return cleaned


def _as_json(values: dict[str, Any]) -> str:
    """The values as JSON, which has no NaN: it becomes the word, as in a source that is JSON."""
    try:
        return json.dumps(values, default=_described, allow_nan=False)
    except ValueError:
        text = json.dumps(values, default=_described)
        return json.dumps(json.loads(text, parse_constant=str))


def _without(values: dict[str, Any], *, steps: Sequence[str]) -> dict[str, Any]:
    """A copy less the value that the path leads to, and less the objects that this empties."""
    head, *tail = steps
    inner = values.get(head)
    left = {key: value for key, value in values.items() if key != head}
    if tail and isinstance(inner, dict):
        inner = _without(inner, steps=tail)
        return {**left, head: inner} if inner else left
    return values if tail else left


def _described(value: object) -> str:
    """What JSON has no form for: dates and decimals as text, bytes by their number."""
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)
