"""From a format's rows to records with plain columns; what can't be converted is a reject."""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from nsgauge.data.importers.reading.records import Record, Rows
from nsgauge.data.tables import Reject
from nsgauge.errors import ImageError


class UnusableRowError(Exception):
    """A row can't become a triple; like an ImageError it ends as a Reject.

    Args:
        reason: The code of the Reject.
        detail: What was found and wanted.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def reject_of(error: UnusableRowError | ImageError, *, where: str) -> Reject:
    """What a row is that raised this."""
    reason = f"image_{error.code}" if isinstance(error, ImageError) else error.reason
    return Reject(where, reason, str(error))


def converted(rows: Rows, *, convert: Callable[[Record], dict[str, Any]]) -> Rows:
    """The rows with the columns that `convert` makes of them.

    Args:
        rows: As they were read.
        convert: Raises UnusableRowError or ImageError for a row that is a reject.
    """
    for row in rows:
        if isinstance(row, Reject):
            yield row
            continue
        try:
            yield Record(row.where, convert(row))
        except (UnusableRowError, ImageError) as error:
            yield reject_of(error, where=row.where)


class SampleIds:
    """Tells a VLLM's answers to one item apart: the first is sample 0, the next 1.

    Args:
        vllm: Who answered.
    """

    def __init__(self, vllm: str) -> None:
        self._vllm = vllm
        self._counts: Counter[str] = Counter()

    def columns(self, item_id: str) -> dict[str, Any]:
        """The ids of the next answer to an item; `#<sample>` marks those after the first."""
        sample = self._counts[item_id]
        self._counts[item_id] += 1
        mark = f"#{sample}" if sample else ""
        triple_id = f"{item_id}/{self._vllm}{mark}"
        return {"triple_id": triple_id, "item_id": item_id, "vllm": self._vllm, "sample": sample}


def with_columns(
    values: dict[str, Any], columns: dict[str, Any], *, reserved: Collection[str]
) -> dict[str, Any]:
    """A row with columns of the importer's; its own with a reserved name become `source_<name>`."""
    own = {f"source_{key}" if key in reserved else key: value for key, value in values.items()}
    return {**own, **columns}
