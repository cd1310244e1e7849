"""VLSBench's own file, `data.json`: what each item is about and why it matters."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from nsgauge.data.importers.conversion import UnusableRowError
from nsgauge.data.importers.reading.pictures import picture_tail
from nsgauge.data.importers.reading.readers import read_records
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError

_REQUIRED = ("instruction_id", "instruction", "image_path")
_EXTRAS = ("category", "sub_category", "source", "safety_reason")


class VlsbenchDataset:
    """The data set, found by picture and instruction: a run's files have no other key.

    Args:
        path: Its file.

    Raises:
        DataError: not a file of it.
    """

    def __init__(self, path: Path) -> None:
        self._items: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
        for row in read_records(path):
            if isinstance(row, Reject):
                raise DataError(f"{path}: {row.where}: {row.detail}")
            missing = [name for name in _REQUIRED if row.values.get(name) in (None, "")]
            if missing:
                raise DataError(
                    f"{path}: {row.where} has no {', '.join(missing)}; give VLSBench's data.json"
                )
            key = _key(str(row.values["image_path"]), question=str(row.values["instruction"]))
            self._items[key][str(row.values["instruction_id"])] = row.values

    def columns(self, question: str, *, picture: str) -> dict[str, Any]:
        """What the data set tells of the one item with this picture and question.

        Raises:
            UnusableRowError: `no_match` or `ambiguous_match`.
        """
        found = self._items.get(_key(picture, question=question), {})
        if not found:
            wanted = "no item of the data set has this picture and question"
            raise UnusableRowError("no_match", f"{wanted} ({picture}); give its own release")
        if len(found) > 1:
            raise UnusableRowError(
                "ambiguous_match", f"items {', '.join(found)} all have this picture and question"
            )
        item_id, values = next(iter(found.items()))
        extras = {name: values[name] for name in _EXTRAS if values.get(name)}
        return {"item_id": item_id, "caption": values.get("image_description") or None, **extras}


def _key(picture: str, *, question: str) -> tuple[str, str]:
    return picture_tail(picture), " ".join(question.split())
