"""SIUO's items as several files tell of them, every key under one name."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nsgauge.data.importers.conversion import UnusableRowError, reject_of
from nsgauge.data.importers.formats.siuo.verdicts import parsed_effectiveness, parsed_safety
from nsgauge.data.importers.reading.records import Record, Rows
from nsgauge.data.tables import Reject

_SPELLINGS = {
    "reference_answer": ("reference",),
    "safety_score": ("safety_gpt", "safetyness"),
    "effectiveness_score": ("effectiveness_gpt", "effective_gpt", "helpfulness"),
}
_ALIASES = {other: name for name, others in _SPELLINGS.items() for other in others}
# The key that either judge's replies may stand under.
_EITHER = "evaluation"
_CHOICE = {"options", "correct_option", "response_mcqa"}


@dataclass(frozen=True, slots=True)
class SiuoItem:
    """One question with a VLLM's responses to it.

    Attributes:
        where: The file and row that first tells of it.
        vllm: Who answered.
        question_id: Its id, as text.
        values: All else, under the names `responses`, `safety_evaluation`, `safety_score`,
            `effectiveness_evaluation`, `effectiveness_score` and those of the data set.
    """

    where: str
    vllm: str
    question_id: str
    values: dict[str, Any]


class SiuoItems:
    """Items gathered from the files of one or more runs; what one file lacks another may add."""

    def __init__(self) -> None:
        self.rejects: list[Reject] = []
        self.repeats = 0
        """How many rows told of an item that an earlier row had told of."""
        self._items: dict[tuple[str, str], SiuoItem] = {}

    def __iter__(self) -> Iterator[SiuoItem]:
        """The items in the order they first came."""
        return iter(self._items.values())

    def add(self, rows: Rows, *, vllm: str, effectiveness: bool) -> None:
        """Take the rows of one file in; those that are no item are rejects.

        Args:
            rows: The file's.
            vllm: Who answered.
            effectiveness: Whether the file's name says that its judge asked for effectiveness.
        """
        for row in rows:
            if isinstance(row, Reject):
                self.rejects.append(row)
                continue
            try:
                self._take(row, vllm=vllm, effectiveness=effectiveness)
            except UnusableRowError as error:
                self.rejects.append(reject_of(error, where=row.where))

    def _take(self, row: Record, *, vllm: str, effectiveness: bool) -> None:
        question_id = _question_id(row.values)
        values = _canonical(row.values, effectiveness=effectiveness)
        key = (vllm, question_id)
        if key not in self._items:
            self._items[key] = SiuoItem(row.where, vllm, question_id, values)
            return
        earlier = self._items[key]
        differing = [
            name for name in values if earlier.values.get(name, values[name]) != values[name]
        ]
        if differing:
            raise UnusableRowError(
                "contradicting_item",
                f"question {question_id} has another {', '.join(differing)} at {earlier.where}",
            )
        earlier.values.update(values)
        self.repeats += 1


def is_multiple_choice(values: dict[str, Any]) -> bool:
    """Whether a row is of the multiple-choice form, which has no free response."""
    return bool(_CHOICE & set(values)) and "responses" not in values


def _question_id(values: dict[str, Any]) -> str:
    """The item's id, once the row is known to be an item with responses.

    Raises:
        UnusableRowError: `multiple_choice`, `missing_value`, `not_a_name` or `no_responses`.
    """
    if is_multiple_choice(values):
        raise UnusableRowError(
            "multiple_choice",
            "a choice among given answers is no response (and unread ones are drawn at random); "
            "import the responses to siuo_gen.json",
        )
    given = values.get("question_id")
    if given is None or given == "":
        raise UnusableRowError("missing_value", "no value for question_id")
    if isinstance(given, bool) or not isinstance(given, str | int):
        found = type(given).__name__
        raise UnusableRowError("not_a_name", f"question_id is {found}, wanted text or a number")
    if not values.get("responses") or not isinstance(values["responses"], list):
        found = type(values.get("responses")).__name__
        raise UnusableRowError("no_responses", f"responses is {found}, wanted a list of texts")
    return str(given)


def _canonical(values: dict[str, Any], *, effectiveness: bool) -> dict[str, Any]:
    """What the row has values for, under one name each; of two spellings the first counts."""
    named: dict[str, Any] = {}
    for key, value in values.items():
        if value is None:
            continue
        name = _ALIASES.get(key, key)
        if key == _EITHER:
            asked = _asks_effectiveness(value, otherwise=effectiveness)
            name = "effectiveness_evaluation" if asked else "safety_evaluation"
        named.setdefault(name, value)
    return named


def _asks_effectiveness(replies: Any, *, otherwise: bool) -> bool:
    """What replies under the ambiguous key are about: as their verdicts say, or their file."""
    texts = [text for text in replies if isinstance(text, str)] if isinstance(replies, list) else []
    if any(parsed_effectiveness(text) is not None for text in texts):
        return True
    return otherwise and not any(parsed_safety(text) is not None for text in texts)
