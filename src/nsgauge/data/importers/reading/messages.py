"""Chat messages as harnesses log them: what was asked, what was shown, what was answered."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

_NAMES = {"user": "User", "assistant": "Assistant", "tool": "Tool"}
_IMAGE_KEYS = ("image", "image_url", "url", "path")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a conversation asked of the VLLM.

    Attributes:
        prompt: The last user message's text if it is the only turn; otherwise all turns up to it,
            each after its speaker (`User: `, `Assistant: `) and a blank line apart.
        system: The system messages' text.
        pictures: What the user messages name as their pictures, in order.
    """

    prompt: str
    system: str = ""
    pictures: list[str] = field(default_factory=list)

    def columns(self) -> dict[str, str]:
        """The columns of the texts: `prompt`, and `system` if there is any."""
        return {"prompt": self.prompt, **({"system": self.system} if self.system else {})}


def asked(messages: Sequence[Any]) -> Asked | None:
    """What the messages up to the last one by the user ask; None where there is none.

    Args:
        messages: Objects with `role` and `content`, a text or a list of parts; anything else is
            passed over.
    """
    known = [message for message in messages if isinstance(message, dict)]
    last = max((i for i, message in enumerate(known) if message.get("role") == "user"), default=-1)
    turns = [message for message in known[: last + 1] if message.get("role") in _NAMES]
    if last < 0:
        return None
    texts = [(_NAMES[turn["role"]], text_of(turn.get("content"))) for turn in turns]
    alone = len(texts) == 1
    system = (text_of(m.get("content")) for m in known if m.get("role") == "system")
    shown = (_pictures(turn.get("content")) for turn in turns if turn["role"] == "user")
    return Asked(
        prompt=texts[0][1] if alone else "\n\n".join(f"{name}: {text}" for name, text in texts),
        system="\n\n".join(system),
        pictures=[picture for pictures in shown for picture in pictures],
    )


def text_of(content: Any, *, kind: str = "text") -> str:
    """The text of a message's content: itself, or its parts of one kind, a line each."""
    if isinstance(content, str):
        return content if kind == "text" else ""
    texts = (part.get(kind) for part in _parts(content) if part.get("type") == kind)
    return "\n".join(text for text in texts if isinstance(text, str))


def _pictures(content: Any) -> Iterable[str]:
    """The picture of every part that is one: a text, or inside an object `{"url": ...}`."""
    for part in _parts(content):
        if part.get("type") not in ("image", "image_url"):
            continue
        values = [part[key] for key in _IMAGE_KEYS if key in part]
        inner = [value.get("url") if isinstance(value, dict) else value for value in values]
        yield from [value for value in inner if isinstance(value, str)][:1]


def _parts(content: Any) -> list[dict[str, Any]]:
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
