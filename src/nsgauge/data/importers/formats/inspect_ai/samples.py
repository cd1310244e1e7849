"""One sample of an inspect_ai log as flat columns: what was asked, answered and scored."""

from typing import Any

from nsgauge.data.importers.conversion import UnusableRowError
from nsgauge.data.importers.formats.inspect_ai.log import with_attachments
from nsgauge.data.importers.reading.json_files import Constant
from nsgauge.data.importers.reading.messages import Asked, asked, text_of

SCORES = "scores."
"""What the names of the columns of scores begin with."""

_READ = ("input", "messages", "output", "scores", "metadata", "target", "error", "limit")
_KEPT = ("target", "metadata", "limit")


def sample_columns(sample: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The columns that a sample tells by itself, and what it names as its pictures.

    Raises:
        UnusableRowError: `missing_value`: nothing was asked.
    """
    attachments = sample.get("attachments")
    known = attachments if isinstance(attachments, dict) else {}
    read = {key: with_attachments(sample.get(key), attachments=known) for key in _READ}
    spoken = _asked(read)
    if spoken is None:
        raise UnusableRowError("missing_value", "neither input nor messages hold a user's message")
    kept = {key: read[key] for key in _KEPT if read[key]}
    return {**kept, **spoken.columns(), **_answer(read), **_scores(read["scores"])}, spoken.pictures


def _asked(sample: dict[str, Any]) -> Asked | None:
    """What stood before the last answer; the input where the messages weren't kept."""
    given, logged = sample["input"], sample["messages"]
    messages = logged if isinstance(logged, list) else []
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    answered = len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else None
    spoken = asked(messages[:answered])
    if spoken is not None:
        return spoken
    if isinstance(given, str):
        return Asked(prompt=given)
    return asked(given) if isinstance(given, list) else None


def _answer(sample: dict[str, Any]) -> dict[str, Any]:
    """The response and its state; why it is none is kept."""
    output = sample["output"] if isinstance(sample["output"], dict) else {}
    choices = output.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    stop = choice.get("stop_reason") if isinstance(choice, dict) else None
    error = _error(sample["error"]) or _error(output.get("error"))
    failed = error or sample["limit"] or stop == "content_filter"
    told = {
        "reasoning": text_of(content, kind="reasoning"),
        "stop_reason": stop,
        "error": error,
    }
    return {
        "response": output.get("completion") or text_of(content),
        "response_state": "not_a_response" if failed else None,
        **{key: value for key, value in told.items() if value},
    }


def _error(value: Any) -> Any:
    """An error's message, without its traceback."""
    return value.get("message", "error") if isinstance(value, dict) else value


def _scores(scores: Any) -> dict[str, Any]:
    """Columns `scores.<name>.value`, `.answer`, `.explanation` and `.metadata`.

    A value of several parts becomes as many columns: `scores.<name>.value.<part>`.
    """
    columns: dict[str, Any] = {}
    for name, score in scores.items() if isinstance(scores, dict) else ():
        parts = score if isinstance(score, dict) else {"value": score}
        for key in ("answer", "explanation", "metadata"):
            if parts.get(key):
                columns[f"{SCORES}{name}.{key}"] = parts[key]
        columns.update(_flat(parts.get("value"), name=f"{SCORES}{name}.value"))
    return columns


def _flat(value: Any, *, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        # A bare NaN is how an unscored value is written.
        return {name: None if isinstance(value, Constant) and value == "NaN" else value}
    parts = [_flat(inner, name=f"{name}.{key}") for key, inner in value.items()]
    return {key: leaf for part in parts for key, leaf in part.items()}
