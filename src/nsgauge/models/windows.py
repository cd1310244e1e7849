"""Long text: balanced windows of a tower's context, nothing dropped silently."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field

from nsgauge.models.row_windows import RowText, RowWindows, TextRole
from nsgauge.models.stretches import balanced, gathered
from nsgauge.models.tokenizer import CHARACTERS_READ, TextTokenizer
from nsgauge.models.towers.packing import Windows
from nsgauge.settings import Settings

Captions = bool | Literal["always"]
"""Whether descriptions stand in for pictures: never, for missing ones, or for all."""


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
class _Texts:
    """One column of texts: where each begins in the pool of ids, and its length."""

    starts: Int[np.ndarray, " rows"]
    lengths: Int[np.ndarray, " rows"]

    def first(self, tokens: int) -> "_Texts":
        """The first so many tokens of each."""
        return _Texts(starts=self.starts, lengths=np.minimum(self.lengths, tokens))

    def after(self, other: "_Texts") -> "_Texts":
        """What follows a beginning."""
        return _Texts(
            starts=self.starts + other.lengths, lengths=np.maximum(self.lengths - other.lengths, 0)
        )


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
        self._opening = 0 if tokenizer.start is None else 1
        self._room = window - self._opening - 1
        head = policy.prompt_tokens + policy.caption_tokens
        if policy.layout == "joint" and self._room - head - self._middle < 1:
            raise ValueError(
                f"prompt_tokens and caption_tokens, {head} together, leave no room for the "
                f"response in a window of {window}: lower them or choose layout: apart"
            )

    def read(
        self, prompts: Sequence[str], *, responses: Sequence[str], captions: Sequence[str | None]
    ) -> list[RowText]:
        """Windows of each row; an empty text becomes one empty window, a missing caption none."""
        found = self.columns(prompts, responses=responses, captions=captions)
        return [found[row] for row in range(len(found))]

    def columns(
        self, prompts: Sequence[str], *, responses: Sequence[str], captions: Sequence[str | None]
    ) -> RowWindows:
        """The same as columns; texts that come again are tokenized once."""
        given = [*prompts, *responses, *(caption or "" for caption in captions)]
        distinct = {text: place for place, text in enumerate(dict.fromkeys(given))}
        encoded = self._tokenizer.encode(list(distinct))
        places = np.fromiter((distinct[text] for text in given), np.int64, count=len(given))
        starts = encoded.bounds[:-1][places].reshape(3, -1)
        lengths = np.diff(encoded.bounds)[places].reshape(3, -1)
        prompt, response, caption = (
            _Texts(starts=start, lengths=length)
            for start, length in zip(starts, lengths, strict=True)
        )
        laid = _Laid(
            room=self._room, most=self._policy.max_windows, middle=self._middle, rows=len(prompts)
        )
        captioned = np.array([text is not None for text in captions], dtype=bool)
        if self._policy.layout == "joint":
            shown = caption.first(self._policy.caption_tokens)
            head, rest = prompt.first(self._policy.prompt_tokens), caption.after(shown)
            if self._policy.caption_tokens:
                captioned &= rest.lengths > 0
            unshown = prompt.after(head)
            laid.add(TextRole.PROMPT, unshown, where=unshown.lengths > 0)
            laid.add(TextRole.JOINT, response, head=(shown, head))
            laid.add(TextRole.CAPTION, rest, where=captioned)
        else:
            laid.add(TextRole.PROMPT, prompt)
            laid.add(TextRole.RESPONSE, response)
            laid.add(TextRole.CAPTION, caption, where=captioned)
        unread = np.fromiter(map(len, given), np.int64, count=len(given)) > CHARACTERS_READ
        return self._columns(
            laid, ids=encoded.ids, truncated=laid.cut | unread.reshape(3, -1).any(axis=0)
        )

    @property
    def _middle(self) -> int:
        """Control tokens between the two texts of a window."""
        return 1 + len(self._tokenizer.between)

    def _columns(
        self,
        laid: "_Laid",
        *,
        ids: Int[np.ndarray, " tokens"],
        truncated: Bool[np.ndarray, " rows"],
    ) -> RowWindows:
        """Copies every window together from its pieces."""
        tokenizer, opening = self._tokenizer, self._opening
        end = len(ids) + opening
        control = [*([tokenizer.start] * opening), tokenizer.end, *tokenizer.between]
        padding = [] if tokenizer.pad is None else [tokenizer.pad] * self._context
        pool = np.concatenate([ids, np.array([*control, *padding], dtype=ids.dtype)])
        part = laid.sorted()
        head = opening + part["shown"] + part["head"] + part["middle"]
        whole = head + part["stretch"] + 1
        pieces = [
            (np.full_like(head, len(ids)), np.full_like(head, opening)),
            (part["shown_at"], part["shown"]),
            (part["head_at"], part["head"]),
            (np.full_like(head, end), part["middle"]),
            (part["stretch_at"], part["stretch"]),
            (np.full_like(head, end), np.ones_like(head)),
        ]
        if padding:
            pieces.append((np.full_like(head, end + self._middle), self._context - whole))
        starts, lengths = (np.stack(column, axis=1) for column in zip(*pieces, strict=True))
        second = np.stack([head, whole], axis=1) * (part["middle"] > 0)[:, None]
        reads = np.isin(part["role"], (TextRole.RESPONSE, TextRole.JOINT))
        return RowWindows(
            windows=Windows(
                ids=gathered(pool, starts=starts.ravel(), lengths=lengths.ravel()),
                bounds=np.concatenate([[0], np.cumsum(lengths.sum(axis=1))]),
                second=second,
            ),
            bounds=np.searchsorted(part["row"], np.arange(laid.rows + 1)),
            roles=part["role"],
            ordinals=part["ordinal"],
            response=np.stack([head, whole - 1], axis=1) * reads[:, None],
            truncated=truncated,
        )


class _Laid:
    """Windows as they are laid out, part after part: each window's pieces by name.

    Args:
        room: Tokens of text in a window.
        most: Windows of one text.
        middle: Control tokens between two texts.
        rows: How many rows there are.
    """

    def __init__(self, *, room: int, most: int, middle: int, rows: int) -> None:
        self.rows = rows
        self.cut = np.zeros(rows, dtype=bool)
        self._room = room
        self._most = most
        self._middle = middle
        self._parts: list[dict[str, np.ndarray]] = []

    def add(
        self,
        role: TextRole,
        texts: _Texts,
        *,
        where: Bool[np.ndarray, " rows"] | None = None,
        head: tuple[_Texts, _Texts] | None = None,
    ) -> None:
        """Lay out a text a row, where it is there; behind a head, as its second text."""
        rows = np.arange(self.rows) if where is None else np.flatnonzero(where)
        nothing = np.zeros(self.rows, dtype=np.int64)
        shown, opened = head or (_Texts(starts=nothing, lengths=nothing),) * 2
        middle = 0 if head is None else self._middle
        capacity = self._room - middle - shown.lengths - opened.lengths
        stretches = balanced(texts.lengths[rows], capacity=capacity[rows], most=self._most)
        row = rows[stretches.texts]
        self.cut[rows] |= stretches.cut
        self._parts.append(
            {
                "row": row,
                "role": np.full(len(row), int(role)),
                "ordinal": stretches.ordinals,
                "shown_at": shown.starts[row],
                "shown": shown.lengths[row],
                "head_at": opened.starts[row],
                "head": opened.lengths[row],
                "middle": np.full(len(row), middle),
                "stretch_at": texts.starts[row] + stretches.starts,
                "stretch": stretches.lengths,
            }
        )

    def sorted(self) -> dict[str, np.ndarray]:
        """The columns, row after row, the parts of a row in the order in which they were added."""
        columns = {
            name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]
        }
        order = np.argsort(columns["row"], kind="stable")
        return {name: column[order] for name, column in columns.items()}
