"""The fields of one row, each of the type that a triple or verdict wants."""

import json
import re
from collections.abc import Sequence
from typing import Any

from nsgauge.data.importers.mapping import Label, Mapping
from nsgauge.data.importers.readers import Record

CHARACTERS_LIMIT = 1_000_000
"""A longer text is a reject: it is a dump, not an answer."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class UnusableRowError(Exception):
    """A row can't become a triple: the one error that ends as a Reject.

    Args:
        reason: The code of the Reject.
        detail: What was found and wanted.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


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
        if not re.fullmatch("[0-9]{1,9}", text.strip()):
            raise UnusableRowError("bad_number", f"{field} is {text[:40]!a}, wanted 0, 1, 2...")
        return int(text)

    def label(self, field: str) -> Label:
        """What the value means; None where the field isn't mapped.

        Raises:
            DataError: a value without a meaning.
        """
        if field not in self._mapping.fields:
            return None
        return self._mapping.label(self._values, field=field, where=self.where)

    def rest(self) -> str | None:
        """The columns that no field uses, as a JSON object; None where there are none."""
        used = {column for column in self._mapping.columns.values() if column in self._values}
        paths = [column for column in self._mapping.columns.values() if column not in used]
        left = {key: value for key, value in self._values.items() if key not in used}
        for path in paths:
            left = _without(left, steps=path.split("."))
        return json.dumps(left, default=_described) if left else None

    def _clean(self, text: str) -> str:
        cleaned, replaced = _UNSTORABLE.subn("\ufffd", text)
        self.cleaned += bool(replaced)
        return cleaned


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
