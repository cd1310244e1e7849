"""What the columns of a table mean, as the user said it: `column=field`, `column:value=label`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

from nsgauge.data.importers.contract import ImportOptions
from nsgauge.errors import DataError, SettingsError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import VerdictState

REQUIRED = ("prompt", "response")
LABEL_FIELDS = ("safety", "grounding", "hallucinated")
FIELDS = (
    *REQUIRED,
    *("triple_id", "benchmark", "item_id", "vllm", "sample", "image", "caption", "language"),
    *LABEL_FIELDS,
    *("judge", "vote", "reason", "category"),
    *("response_state", "state", "prompt_hash", "inclusion_probability", "extras"),
    *("plan_round", "unsafe_probability", "not_grounded_probability"),
)
"""The fields that a column may be mapped to: those of a triple and of one verdict on it."""

Label = Safety | Grounding | VerdictState | bool | None
"""What a value means: a label, or the state that a verdict without one is in."""

_STATES: dict[str, Label] = {
    str(state): state for state in VerdictState if state is not VerdictState.ANSWERED
}
# The words that a user may write to the right of `=`.
_WORDS: dict[str, dict[str, Label]] = {
    "safety": {**{str(word): word for word in Safety}, **_STATES},
    "grounding": {**{str(word): word for word in Grounding}, **_STATES},
    "hallucinated": {"true": True, "false": False, "unknown": None},
}
# Values that need no explanation, whatever their case.
_PLAIN: dict[str, dict[str, Label]] = {
    "safety": {str(word): word for word in Safety},
    "grounding": {
        **{str(word): word for word in Grounding},
        "sg": Grounding.GROUNDED,
        "nsg": Grounding.NOT_GROUNDED,
    },
    "hallucinated": {"true": True, "false": False},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Where each field's value comes from, and what label values mean.

    Attributes:
        columns: By field, the column (dots lead into nested objects).
        constants: By field, a text that holds for every row.
        meanings: By field and value, what the user says the value means.
    """

    columns: dict[str, str]
    constants: dict[str, str]
    meanings: dict[tuple[str, str], Label]

    @property
    def fields(self) -> set[str]:
        """The fields that have a value."""
        return set(self.columns) | set(self.constants)

    def value(self, values: dict[str, Any], *, field: str) -> Any:
        """The field's value in one row; None where the row has none."""
        if field in self.constants:
            return self.constants[field]
        column = self.columns.get(field)
        return None if column is None else lookup(values, column)

    def label(self, values: dict[str, Any], *, field: str, where: str) -> Label:
        """What the field's value in one row means.

        Raises:
            DataError: the user didn't say, and it doesn't say so itself.
        """
        text = _value_text(self.value(values, field=field))
        if (field, text) in self.meanings:
            return self.meanings[field, text]
        plain = _PLAIN[field]
        if text.casefold() in plain:
            return plain[text.casefold()]
        if not text and "state" in self.fields:
            # A column of states says what an empty label is; there it needs no word of its own.
            return None
        source = self.columns.get(field, field)
        words = ", ".join(_WORDS[field])
        raise DataError(
            f"{where}: {source} is {text[:80]!r}, which has no meaning for {field}: say it with "
            f"--label {source!r}:{text[:80]!r}=WORD, where WORD is one of {words}"
        )


def parse_mapping(mapping: Sequence[str], *, labels: Sequence[str], present: list[str]) -> Mapping:
    """Read what the user wrote.

    Args:
        mapping: Each `column=field`; a column in double quotes is a constant. Empty takes the
            columns that are named like a field.
        labels: Each `column:value=label`; of a column that tells both axes, each label is for the
            axis that knows the word, and a state for the axis without a label.
        present: The columns of the source.

    Raises:
        SettingsError: not of that form, an unknown field or word, or a field given twice.
        DataError: a required field has no column, or a column isn't there.
    """
    pairs = mapping or [f"{name}={name}" for name in present if name in FIELDS]
    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    for pair in pairs:
        column, _, field = pair.rpartition("=")
        if not column or field not in FIELDS:
            known = ", ".join(FIELDS)
            raise SettingsError(f"mapping {pair!r}: write column=field, with one of {known}")
        if field in columns or field in constants:
            raise SettingsError(f"mapping {pair!r}: {field} is given twice")
        if len(column) > 1 and column[0] == column[-1] == '"':
            constants[field] = column[1:-1]
        else:
            columns[field] = column
    _check_columns(columns, constants=constants, present=present)
    meanings = _meanings(labels, columns=columns)
    return Mapping(columns=columns, constants=constants, meanings=meanings)


def format_mapping(
    defaults: Sequence[str],
    *,
    labels: Sequence[str] = (),
    options: ImportOptions,
    present: list[str],
) -> Mapping:
    """The mapping of a known format, which the user may add to or correct field by field.

    Args:
        defaults: The format's own pairs; one whose column isn't there is left out.
        labels: The format's own `column:value=label`; each holds on the axes for which the user
            gives this value no meaning.
        options: The user's pairs and labels.
        present: The columns of the source.

    Raises:
        SettingsError: the user's pairs or labels aren't of their form.
        DataError: a required field has no column, or a column that the user named isn't there.
    """
    taken = by_field(options.mapping)
    kept = [
        f"{column}={field}"
        for field, column in by_field(defaults).items()
        if field not in taken and _is_there(column, present=present)
    ]
    mapping = parse_mapping([*options.mapping, *kept], labels=options.labels, present=present)
    own = _meanings_left(labels, columns=mapping.columns, taken=mapping.meanings)
    return replace(mapping, meanings={**mapping.meanings, **own})


def by_field(pairs: Sequence[str]) -> dict[str, str]:
    """The column (or constant, in its quotes) of each field in some `column=field`."""
    split = (pair.rpartition("=") for pair in pairs)
    return {field: column for column, _, field in split}


def lookup(values: dict[str, Any], column: str) -> Any:
    """The value of a column, or of a dotted path into nested objects; None if it isn't there."""
    if column in values:
        return values[column]
    value: Any = values
    for step in column.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def _is_there(column: str, *, present: list[str]) -> bool:
    return column.startswith('"') or column in present or column.partition(".")[0] in present


def _check_columns(
    columns: dict[str, str], *, constants: dict[str, str], present: list[str]
) -> None:
    listed = ", ".join(present)
    for field in REQUIRED:
        if field not in columns and field not in constants:
            raise DataError(
                f"no column for {field}: map one with COLUMN={field}; present: {listed}"
            )
    for field, column in columns.items():
        if not _is_there(column, present=present):
            raise DataError(f"no column {column!r} for {field}; present: {listed}")


def _meanings(labels: Sequence[str], *, columns: dict[str, str]) -> dict[tuple[str, str], Label]:
    """By field and value, the meaning; a state is for the axes that no label speaks of."""
    meanings: dict[tuple[str, str], Label] = {}
    for text in _states_last(labels):
        left, _, word = text.rpartition("=")
        keys = _keys(text, left=left, word=word, columns=columns)
        if word in _STATES:
            keys = [key for key in keys if meanings.get(key, _STATES[word]) == _STATES[word]]
        if not keys or any(key in meanings and meanings[key] != _word(key, word) for key in keys):
            raise SettingsError(f"label {text!r}: another label gives this value another meaning")
        meanings.update({key: _word(key, word) for key in keys})
    return meanings


def _meanings_left(
    labels: Sequence[str], *, columns: dict[str, str], taken: dict[tuple[str, str], Label]
) -> dict[tuple[str, str], Label]:
    """As `_meanings`, of a format's labels where those of the user leave something to say."""
    meanings: dict[tuple[str, str], Label] = {}
    for text in _states_last(labels):
        left, _, word = text.rpartition("=")
        if not _owners(left, columns=columns):
            continue
        for key in _keys(text, left=left, word=word, columns=columns):
            if key not in taken:
                meanings.setdefault(key, _word(key, word))
    return meanings


def _states_last(labels: Sequence[str]) -> list[str]:
    return sorted(labels, key=lambda text: text.rpartition("=")[2] in _STATES)


def _owners(left: str, *, columns: dict[str, str]) -> list[str]:
    """The label fields whose column the `column:value` speaks of."""
    return [
        field
        for field in LABEL_FIELDS
        if field in columns and left.startswith(f"{columns[field]}:")
    ]


def _keys(text: str, *, left: str, word: str, columns: dict[str, str]) -> list[tuple[str, str]]:
    """The (field, value) pairs that one `column:value=word` speaks of."""
    owners = _owners(left, columns=columns)
    if not owners:
        known = ", ".join(sorted({columns[f] for f in LABEL_FIELDS if f in columns})) or "none"
        raise SettingsError(f"label {text!r}: write column:value=label; label columns: {known}")
    knowing = [field for field in owners if word in _WORDS[field]]
    if not knowing:
        words = ", ".join(dict.fromkeys(word for field in owners for word in _WORDS[field]))
        raise SettingsError(f"label {text!r}: {word!r} is not one of {words}")
    return [(field, left.removeprefix(f"{columns[field]}:").strip()) for field in knowing]


def _word(key: tuple[str, str], word: str) -> Label:
    return _WORDS[key[0]][word]


def _value_text(value: Any) -> str:
    """A label value as the user would write it: 1 for 1.0, NaN, and nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "NaN" if isnan(value) else f"{value:.15g}"
    return str(value).strip()
