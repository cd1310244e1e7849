"""Long text: balanced windows of a tower's context, nothing dropped silently."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from pydantic import Field

from nsgauge.models.tokenizer import CHARACTERS_READ, TextTokenizer
from nsgauge.models.towers.packing import Window
from nsgauge.settings import Settings


class TextRole(IntEnum):
    """What a window holds; the fusion has an embedding per role."""

    PROMPT = 0
    RESPONSE = 1
    CAPTION = 2
    JOINT = 3
    """The prompt's beginning and a stretch of the response, as a pair."""


class WindowPolicy(Settings):
    """How a prompt and a response become windows.

    `joint` reads the prompt's first `prompt_tokens` and a stretch of the response in one window,
    and before the prompt the first `caption_tokens` of a caption; `apart` reads them in windows of
    their own, so that a prompt is encoded once for all its responses. `max_windows` caps the
    windows of each text; a row that hits it is `truncated`. `window_tokens` (start and end tokens
    included) must fit the tower's context; None is all of it. Shorter windows save nothing where
    the tower has them padded to its context (SigLIP).
    """

    layout: Literal["joint", "apart"] = "joint"
    window_tokens: int | None = Field(None, ge=8)
    prompt_tokens: int = Field(64, ge=1)
    caption_tokens: int = Field(0, ge=0)
    max_windows: int = Field(8, ge=1, le=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowText:
    """One triple's windows.

    Attributes:
        windows: In reading order.
        roles: What each window holds.
        ordinals: 0, 1, ... within the windows of the same role.
        truncated: Whether a cap cut the prompt, the response or the caption.
        response_ids: The response's own tokens, window after window.
    """

    windows: tuple[Window, ...]
    roles: tuple[TextRole, ...]
    ordinals: tuple[int, ...]
    truncated: bool
    response_ids: tuple[tuple[int, ...], ...] = ()

    @property
    def response_windows(self) -> int:
        """How many windows the response is read in."""
        return sum(role in (TextRole.RESPONSE, TextRole.JOINT) for role in self.roles)


def balanced(ids: tuple[int, ...], *, capacity: int) -> list[tuple[int, ...]]:
    """Split into the fewest stretches of at most `capacity`, whose lengths differ by one at most.

    Example:
        >>> [len(stretch) for stretch in balanced(tuple(range(10)), capacity=4)]
        [4, 3, 3]
    """
    if capacity < 1:
        raise ValueError(f"a window needs room for at least one token, got {capacity}")
    count = max(1, -(-len(ids) // capacity))
    short, longer = divmod(len(ids), count)
    bounds = [0]
    for index in range(count):
        bounds.append(bounds[-1] + short + (index < longer))
    return [ids[bounds[index] : bounds[index + 1]] for index in range(count)]


class RowReader:
    """Lays out rows as windows for one tower.

    Args:
        tokenizer: Of the tower.
        context: Positions that the tower knows.
        policy: The recipe's choice.

    Raises:
        ValueError: the policy's window doesn't fit the context, or leaves the response no room.
    """

    def __init__(self, tokenizer: TextTokenizer, *, context: int, policy: WindowPolicy) -> None:
        window = policy.window_tokens or context
        if window > context:
            raise ValueError(f"window_tokens is {window}, the text tower reads {context} at most")
        self._tokenizer = tokenizer
        self._policy = policy
        self._context = context
        self._opening = () if tokenizer.start is None else (tokenizer.start,)
        self._room = window - len(self._opening) - 1
        head = policy.prompt_tokens + policy.caption_tokens
        if policy.layout == "joint" and self._response_room(head) < 1:
            raise ValueError(
                f"prompt_tokens and caption_tokens, {head} together, leave no room for the "
                f"response in a window of {window}: lower them or choose layout: apart"
            )

    def read(
        self, prompts: list[str], *, responses: list[str], captions: list[str | None]
    ) -> list[RowText]:
        """Windows of each row; an empty text becomes one empty window, a missing caption none."""
        texts = [*prompts, *responses, *(caption or "" for caption in captions)]
        ids = self._tokenizer.ids(texts)
        rows = len(prompts)
        return [
            self._row(
                ids[row],
                response=ids[rows + row],
                caption=None if caption is None else ids[2 * rows + row],
                unread=any(
                    len(text) > CHARACTERS_READ
                    for text in (prompts[row], responses[row], caption or "")
                ),
            )
            for row, caption in enumerate(captions)
        ]

    def _response_room(self, prompt_tokens: int) -> int:
        return self._room - prompt_tokens - 1 - len(self._tokenizer.between)

    def _row(
        self,
        prompt: tuple[int, ...],
        *,
        response: tuple[int, ...],
        caption: tuple[int, ...] | None,
        unread: bool,
    ) -> RowText:
        room, policy = self._room, self._policy
        parts: list[tuple[TextRole, list[Window]]] = []
        if policy.layout == "joint":
            shown, caption = _cut(caption, at=policy.caption_tokens)
            head, rest = prompt[: policy.prompt_tokens], prompt[policy.prompt_tokens :]
            head = shown + head
            stretches = balanced(response, capacity=self._response_room(len(head)))
            if rest:
                parts.append((TextRole.PROMPT, self._singles(balanced(rest, capacity=room))))
            parts.append((TextRole.JOINT, [self._pair(head, stretch) for stretch in stretches]))
        else:
            parts.append((TextRole.PROMPT, self._singles(balanced(prompt, capacity=room))))
            stretches = balanced(response, capacity=room)
            parts.append((TextRole.RESPONSE, self._singles(stretches)))
        if caption is not None:
            parts.append((TextRole.CAPTION, self._singles(balanced(caption, capacity=room))))
        return self._capped(parts, stretches=stretches, unread=unread)

    def _capped(
        self,
        parts: list[tuple[TextRole, list[Window]]],
        *,
        stretches: list[tuple[int, ...]],
        unread: bool,
    ) -> RowText:
        cap = self._policy.max_windows
        kept = [
            (window, role, ordinal)
            for role, windows in parts
            for ordinal, window in enumerate(windows[:cap])
        ]
        windows, roles, ordinals = zip(*kept, strict=True)
        truncated = unread or any(len(part) > cap for _, part in parts)
        return RowText(
            windows=windows,
            roles=roles,
            ordinals=ordinals,
            truncated=truncated,
            response_ids=tuple(stretches[:cap]),
        )

    def _singles(self, stretches: list[tuple[int, ...]]) -> list[Window]:
        return [
            self._padded((*self._opening, *stretch, self._tokenizer.end)) for stretch in stretches
        ]

    def _pair(self, first: tuple[int, ...], second: tuple[int, ...]) -> Window:
        head = (*self._opening, *first, self._tokenizer.end, *self._tokenizer.between)
        return self._padded(head, second=(*second, self._tokenizer.end))

    def _padded(self, first: tuple[int, ...], *, second: tuple[int, ...] = ()) -> Window:
        """A window of one text or two, filled up to the context if the tower was trained so."""
        ids, segments = first + second, (0,) * len(first) + (1,) * len(second)
        if self._tokenizer.pad is None:
            return Window(ids, segments)
        missing = self._context - len(ids)
        return Window(ids + (self._tokenizer.pad,) * missing, segments + (0,) * missing)


def _cut(
    caption: tuple[int, ...] | None, *, at: int
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """What of a caption stands before the prompt, and what needs windows of its own."""
    if caption is None or at == 0:
        return (), caption
    return caption[:at], caption[at:] or None
