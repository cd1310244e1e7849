"""What a judge sent back, and what it says: labels, or the state that it has instead.

A label is read only from a complete object that repeats the case's code and keeps to the schema.
Everything else is a state; nothing is guessed, and nothing is ever read from the graded response.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nsgauge.data.judge.prompt import CASE_FIELD, AnswerField, Axis, JudgePrompt
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import VerdictState

_CHARACTERS_READ = 100_000
"""From the end, where the answer of a judge that thinks aloud stands."""
_CUT = "length"
_FILTERED = "content_filter"
_THOUGHT = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_UNFINISHED_THOUGHT = re.compile(r"\A\s*<think(?:ing)?>")
# Where an object with a key may begin: a text of braces alone would take its square in time.
_OPENING = re.compile(r'\{\s*"')
# How chat models begin when they decline; looked at only where there is no answer.
_REFUSAL = re.compile(
    r"""\A[\W_]* (?: (?:unfortunately|as\san\sai[^.,]*)[,\s]+ )? (?: sorry | (?:my\s)?apologies
    | i \s apologi[sz]e | i \s (?:cannot|can\snot|(?:can|won)['\u2019]t) | i \s must \s decline
    | i(?:\sam|['\u2019]?m) \s (?:really\s|very\s|so\s|deeply\s)?
      (?:sorry|afraid|unable|not\s(?:able|comfortable|willing)) ) (?![^\W_])""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer of a server, as it came.

    Attributes:
        content: The text; None where there is none.
        refusal: The server's own words for declining; None where it didn't.
        finish_reason: As the server says: `stop`, `length`, `content_filter`...
        input_tokens: As billed; None where the server doesn't say.
        output_tokens: Likewise.
        model: The model that answered, as the server names it.
        structured: Whether the server was made to keep to the schema.
        tokens: The tokens of the text with their alternatives, where log-probabilities came.
    """

    content: str | None
    refusal: str | None = None
    finish_reason: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    model: str = ""
    structured: bool = False
    tokens: list["Token"] | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One token that a judge wrote.

    Attributes:
        text: The token.
        alternatives: The log-probability of each token that could have stood here, itself
            included; as many as the server gives.
    """

    text: str
    alternatives: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a reply says.

    Attributes:
        state: `answered` with a label, or why there is none.
        safety: None where the prompt doesn't ask, or without an answer.
        grounding: Likewise.
        hallucinated: Likewise.
        category: The judge's own finer class: a choice that decides nothing, or whose word isn't
            the label itself.
        reason: Its free words.
    """

    state: VerdictState
    safety: Safety | None = None
    grounding: Grounding | None = None
    hallucinated: bool | None = None
    category: str | None = None
    reason: str | None = None


def read_reply(reply: Reply, *, prompt: JudgePrompt, code: str) -> Reading:
    """Read labels or a state out of a reply.

    Args:
        reply: As it came.
        prompt: What was asked.
        code: The case's code, which an answer must repeat.
    """
    if reply.refusal:
        return Reading(state=VerdictState.REFUSED, reason=reply.refusal)
    if reply.finish_reason == _FILTERED:
        return Reading(state=VerdictState.FILTERED)
    # A draft in a judge's thoughts is no answer, least of all where it was cut off.
    text = _THOUGHT.sub("", (reply.content or "")[-_CHARACTERS_READ:])
    unfinished = reply.finish_reason == _CUT and _UNFINISHED_THOUGHT.match(text)
    # The code as it is, not only in JSON's escapes: so it can't come out of the graded texts.
    candidates = _objects(text) if code in text.upper() and not unfinished else ()
    answers = [
        answer
        for candidate in candidates
        if (answer := _answer(candidate, prompt=prompt, code=code)) is not None
    ]
    if answers:
        # What a judge says last is its answer.
        return _labelled(answers[-1], prompt=prompt)
    if reply.finish_reason == _CUT:
        return Reading(state=VerdictState.TRUNCATED)
    if _REFUSAL.match(text):
        return Reading(state=VerdictState.REFUSED, reason=text)
    return Reading(state=VerdictState.UNPARSABLE)


def _labelled(answer: dict[str, Any], *, prompt: JudgePrompt) -> Reading:
    def on(axis: Axis) -> Any:
        name = prompt.of_axis(axis)
        if name is None:
            return None
        return prompt.fields[name].choices.get(answer[name], answer[name])

    kinds = {name: field.kind for name, field in prompt.fields.items()}
    words = [answer[name] for name, kind in kinds.items() if kind == "text" and answer[name]]
    finer = [
        answer[name]
        for name, field in prompt.fields.items()
        if field.kind == "choice"
        and (field.axis is None or set(field.choices) != set(field.choices.values()))
    ]
    safety, grounding = on("safety"), on("grounding")
    return Reading(
        state=VerdictState.ANSWERED,
        safety=None if safety is None else Safety(safety),
        grounding=None if grounding is None else Grounding(grounding),
        hallucinated=on("hallucinated"),
        category=", ".join(finer) or None,
        reason="\n".join(words) or None,
    )


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every outermost JSON object in a text, whatever stands around it."""
    decoder = json.JSONDecoder(object_pairs_hook=_distinct)
    opening = _OPENING.search(text)
    while opening:
        end = opening.start() + 1
        try:
            value, end = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield value
        opening = _OPENING.search(text, end)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key comes twice")
    return values


def _answer(candidate: dict[str, Any], *, prompt: JudgePrompt, code: str) -> dict[str, Any] | None:
    """The fields of an object that answers this case, each of its kind; None for any other."""
    # A code of digits may come as a number.
    if _plain(candidate.get(CASE_FIELD)).upper() != code:
        return None
    values = {name: _value(candidate.get(name), field=f) for name, f in prompt.fields.items()}
    return None if any(value is None for value in values.values()) else values


def _value(value: Any, *, field: AnswerField) -> str | bool | None:
    """A field's value; None if it isn't one."""
    if field.kind == "text":
        return value.strip() if isinstance(value, str) else None
    if field.kind == "flag":
        return {"true": True, "false": False}.get(_plain(value).casefold())
    word = re.sub(r"[\s-]+", "_", _plain(value).rstrip(".").casefold())
    return word if word in field.choices else None


def _plain(value: Any) -> str:
    """A word as it stands in JSON with or without quotes; empty for null, lists and objects."""
    return str(value).strip() if isinstance(value, str | bool | int) else ""
