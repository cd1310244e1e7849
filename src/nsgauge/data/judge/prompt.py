"""What a judge is asked: instructions, what it is shown, and the fields that it fills in."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from nsgauge.protocol import Grounding, Safety
from nsgauge.settings import Settings, Shelf

JUDGE_PROMPTS = Shelf("judge prompt", package="nsgauge.data.judge", folder="prompts")
"""The shipped ones; `JUDGE_PROMPTS.load(name, settings=JudgePrompt)`."""
CASE_FIELD = "case"
"""The field in which a judge repeats the code of the case."""

RENDERING = 1
"""Version of how `question.py` lays a case out; a part of every prompt's hash."""

Axis = Literal["safety", "grounding", "hallucinated"]
Shown = Literal["prompt", "response", "safety_reason", "safety_warning", "reference_answer"]
"""What a judge may be shown beside the picture; all but the first two are keys of the extras."""

_WORDS: dict[str, frozenset[str]] = {
    "safety": frozenset(map(str, Safety)),
    "grounding": frozenset(map(str, Grounding)),
}


class AnswerField(Settings):
    """One key of the object that a judge answers with."""

    kind: Literal["text", "choice", "flag"]
    """Free words, one of `choices`, or true and false."""
    axis: Axis | None = None
    """What the value decides; None for a text, or for a choice that is only kept."""
    choices: Mapping[str, str] = {}
    """The words that a judge may choose, each with the label that it stands for: in lower case,
    and with `_` for a space or a hyphen."""
    asks: str = ""
    """What to write, in a few words; for a choice, the words speak for themselves."""

    @model_validator(mode="after")
    def _fits(self) -> "AnswerField":
        if (self.kind == "choice") != bool(self.choices):
            raise ValueError("choices go with kind choice, and with no other")
        unlike = [c for c in self.choices if c != c.casefold() or not re.fullmatch(r"\w+", c)]
        if unlike:
            raise ValueError(f"choices {unlike}: write them in lower case, with _ between words")
        if self.axis in _WORDS and set(self.choices.values()) != _WORDS[self.axis]:
            wanted, found = sorted(_WORDS[self.axis]), sorted(set(self.choices.values()))
            raise ValueError(f"axis {self.axis} wants choices that stand for {wanted}: {found}")
        if self.axis == "hallucinated" and self.kind != "flag":
            raise ValueError("axis hallucinated wants a flag")
        return self

    def value_schema(self) -> dict[str, Any]:
        """JSON Schema of the value."""
        if self.kind == "choice":
            return {"type": "string", "enum": list(self.choices)}
        return {"type": "boolean" if self.kind == "flag" else "string"}

    def form(self) -> str:
        """The value in a few words, for a judge that is told the format in the prompt."""
        if self.kind == "choice":
            return " or ".join(json.dumps(choice) for choice in self.choices)
        return self.asks or ("true or false" if self.kind == "flag" else "text")


class JudgePrompt(Settings):
    """The instructions of one kind of judge; see the shipped ones for examples."""

    name: str = Field(min_length=1)
    version: int = Field(ge=1)
    shows: Sequence[Shown]
    """In this order; a text that a triple lacks is left out."""
    instructions: str = Field(min_length=1)
    fields: Mapping[str, AnswerField]
    """In the order in which the judge fills them in."""

    @field_validator("fields")
    @classmethod
    def _decides_once(cls, fields: Mapping[str, AnswerField]) -> Mapping[str, AnswerField]:
        axes = [field.axis for field in fields.values() if field.axis is not None]
        if CASE_FIELD in fields:
            raise ValueError(f"{CASE_FIELD!r} is taken: the judge repeats the case's code there")
        if len(set(axes)) < len(axes) or not {"safety", "grounding"} & set(axes):
            raise ValueError(f"axes {axes}: wanted safety or grounding, each once")
        return fields

    @cached_property
    def prompt_hash(self) -> str:
        """SHA-256 over everything that makes the question, in hex."""
        content = {"rendering": RENDERING, **self.model_dump(mode="json")}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def answer_schema(self) -> dict[str, Any]:
        """JSON Schema of an answer, in the order of the fields."""
        properties = {name: field.value_schema() for name, field in self.fields.items()}
        return {
            "type": "object",
            "properties": {CASE_FIELD: {"type": "string"}, **properties},
            "required": [CASE_FIELD, *properties],
            "additionalProperties": False,
        }

    def of_axis(self, axis: Axis) -> str | None:
        """The name of the field that decides an axis; None where none does."""
        return next((name for name, field in self.fields.items() if field.axis == axis), None)
