"""The language channel: what a small language model makes of an exchange, told as a story."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import layer_norm

from nsgauge.models.pooling import read_tokens, response_means
from nsgauge.models.probe import ProbeSettings
from nsgauge.models.row_windows import RowWindows, TextRole
from nsgauge.models.stretches import gathered
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.models.towers.packing import Packed, Windows
from nsgauge.models.towers.pair import Towers
from nsgauge.models.towers.text import TextTower
from nsgauge.models.windows import RowReader, WindowPolicy

STORY = "user\nA person showed a picture{shown} and asked: {prompt}"
SHOWN = " of {caption}"
"""How an exchange begins, and what stands for `shown` where the picture is described."""
HEAD_TOKENS = 128
"""Of an exchange's beginning, caption and prompt, are read at most."""
BEGINNINGS = (2, 4, 8, 16, 32, 64, 128)
"""Tokens of a response whose likelihoods, with and without its picture's caption, are compared."""
FADES_AFTER = 16
"""Tokens after which what a response says weighs less by a factor of e, where it is weighed."""
TOLD, UNTOLD = TextRole.JOINT, TextRole.PROMPT
"""Of an exchange's windows: as it was, and its beginning as if nobody had said what is shown."""


class LanguageSettings(ProbeSettings):
    """Which language model reads the exchange, and the linear probe of what it makes of it.

    `preset` names the preset whose text tower it is: its first layers, frozen. `window_tokens` is
    the most that it reads at once, exchange and all; a longer response is read in several windows.

    With `likelihoods` it says, too, how the response begins: the mean of its tokens weighted by
    -log p, so that what was to be expected counts little, and the early ones most. And how much
    likelier its beginnings are for what the picture shows, log p(response | caption, prompt)
    - log p(response | prompt): little, where the response speaks of something else. That takes all
    of its layers, and the response's beginning twice where there is a caption.

    Source: the pointwise mutual information of Church and Hanks 1990; between picture and tokens,
    Favero et al. 2024 (arXiv 2403.14003) steer VLLMs by it.
    """

    preset: str = "pocket-smollm2"
    c: float = Field(0.005, gt=0, allow_inf_nan=False)
    share: float = Field(0.3, gt=0, lt=1)
    window_tokens: int = Field(384, ge=192)
    likelihoods: bool = True


class ExchangeReader:
    """Lays out exchanges as a language model reads them.

    A picture that isn't described is only mentioned: this channel sees words alone.

    Attributes:
        tokenizer: The language model's, with what an exchange has between its two texts.
        policy: Of its windows.

    Args:
        tokenizer: Of the language model.
        context: Positions that it knows.
        settings: How much it reads at once, and whether beginnings are read without captions, too.

    Raises:
        ValueError: it is to read more at once than it knows positions.
    """

    def __init__(
        self, tokenizer: TextTokenizer, *, context: int, settings: LanguageSettings
    ) -> None:
        line, answered = tokenizer.ids(["\n", "An assistant answered:"])
        self.tokenizer = tokenizer.between_lines(end=line[-1], between=answered)
        self.policy = WindowPolicy(window_tokens=settings.window_tokens, prompt_tokens=HEAD_TOKENS)
        self._rows = RowReader(self.tokenizer, context=context, policy=self.policy)
        self._compares = settings.likelihoods

    def columns(
        self, prompts: Sequence[str], *, responses: Sequence[str], captions: Sequence[str | None]
    ) -> RowWindows:
        """Windows of each row: at least one `TOLD`, each with a stretch of the response.

        Where there is a caption to leave out, an `UNTOLD` one before them: with the beginning of
        the response that the first of them has.
        """
        told = self._story(prompts, responses=responses, captions=captions)
        rows = [row for row, caption in enumerate(captions) if caption]
        if not self._compares or not rows:
            return told
        untold = self._story(
            [prompts[row] for row in rows],
            responses=[responses[row] for row in rows],
            captions=[None] * len(rows),
        )
        stretch = np.diff(told.response[told.bounds[rows]], axis=1)[:, 0]
        begun = _beginnings(untold, tokens=np.minimum(stretch, BEGINNINGS[-1]))
        return _beside(told, rows=np.array(rows), windows=begun)

    def _story(
        self, prompts: Sequence[str], *, responses: Sequence[str], captions: Sequence[str | None]
    ) -> RowWindows:
        stories = [_told(p, caption=c) for p, c in zip(prompts, captions, strict=True)]
        said = [f" {response}" for response in responses]
        rows = self._rows.columns(stories, responses=said, captions=[None] * len(stories))
        return _joint(rows) if stories else rows


def exchange_reader(towers: Towers, *, settings: LanguageSettings | None) -> ExchangeReader | None:
    """Of the towers' language model; None where there is none.

    Raises:
        ValueError: as `ExchangeReader`.
    """
    language = towers.language
    if settings is None or language is None:
        return None
    context = language.tower.shape.context
    return ExchangeReader(language.tokenizer, context=context, settings=settings)


def exchange_width(tower: TextTower) -> int:
    """How many numbers a language model makes of a row, and of a window: see `read_exchanges`."""
    width = tower.shape.transformer.width
    return width if tower.shape.taken_after is None else 2 * width + len(BEGINNINGS)


def read_exchanges(tower: TextTower, *, packed: Packed) -> Float[Tensor, "sequences width"]:
    """What the language model makes of each window, in the order packed from.

    The mean of the response's tokens, each brought to mean 0 and variance 1 first: they have seen
    the prompt and what the response has said before them. From a tower that says how likely they
    are, then `of_windows`.
    """
    tokens = tower.tokens(packed).float()
    if tower.shape.taken_after is None:
        return response_means(tokens, packed=packed)
    read = read_tokens(packed)
    made = []
    for run in packed.runs:
        here = slice(run.start, run.start + run.count * run.length)
        taken = read[here].view(run.count, run.length)
        made.append(of_windows(tokens[here].view(run.count, run.length, -1), taken=taken))
    return torch.cat(made)[packed.restore]


def of_windows(
    tokens: Float[Tensor, "windows length token_width"], *, taken: Bool[Tensor, "windows length"]
) -> Float[Tensor, "windows width"]:
    """What a language model that says how likely tokens are makes of windows of one length.

    The mean of the tokens that are taken, as `read_exchanges` has it; their mean weighted by how
    unlikely each is, -log p, and less the later it is, by a factor of e every `FADES_AFTER` tokens;
    and the log-likelihood of each of the `BEGINNINGS`, or of all tokens where they are fewer.

    Source: unlikely words weigh more in Arora, Liang and Ma 2017 (ICLR), there by their frequency.

    Args:
        tokens: With the log-likelihoods as the last of each token's numbers.
        taken: The response's.
    """
    states, likely = layer_norm(tokens[..., :-1], (tokens.shape[-1] - 1,)), tokens[..., -1]
    number = taken.cumsum(dim=1)
    fading = torch.exp((1 - number) / FADES_AFTER)
    weights = torch.stack([torch.ones_like(likely), -likely * fading], dim=1) * taken[:, None]
    # A thousandth of a nat: where everything was sure, nothing has been told.
    totals = weights.sum(dim=2, keepdim=True).clamp(min=1e-3)
    means = torch.bmm(weights / totals, states).flatten(1)
    sums = [(likely * (taken & (number <= most))).sum(dim=1) for most in BEGINNINGS]
    return torch.cat([means, torch.stack(sums, dim=1)], dim=1)


def of_rows(
    vectors: Float[np.ndarray, "windows width"],
    *,
    each: Int[np.ndarray, " rows"],
    roles: Int[np.ndarray, " windows"],
    tower: TextTower,
) -> Float[np.ndarray, "rows width"]:
    """What the language model makes of each row.

    The mean of its `TOLD` windows' means. From a tower that says how likely tokens are, then the
    weighted mean of the first of them; and how much likelier each beginning of the response is in
    it than in the `UNTOLD` one, 0 without one.

    Args:
        vectors: Of the rows' windows, row after row.
        each: How many windows a row has.
        roles: Of the windows.
        tower: That read them.
    """
    width = tower.shape.transformer.width
    told = roles == TOLD
    starts = np.cumsum(each) - each
    held = vectors[:, :width] * told[:, None].astype(vectors.dtype)
    counts = np.add.reduceat(told, starts, dtype=np.int64)
    means = np.add.reduceat(held, starts, axis=0) / counts[:, None].astype(vectors.dtype)
    if tower.shape.taken_after is None:
        return means
    # A row without an untold window starts with its first told one: it gains nothing on itself.
    first = starts + ~told[starts]
    gains = vectors[first, 2 * width :] - vectors[starts, 2 * width :]
    return np.concatenate([means, vectors[first, width : 2 * width], gains], axis=1)


def _told(prompt: str, *, caption: str | None) -> str:
    shown = SHOWN.format(caption=caption) if caption else ""
    return STORY.format(shown=shown, prompt=prompt)


def _joint(rows: RowWindows) -> RowWindows:
    """The rows without the windows that hold no response: the rest of a long prompt."""
    joint = rows.roles == TOLD
    each = np.add.reduceat(joint.astype(np.int64), rows.bounds[:-1])
    return rows.having(np.flatnonzero(joint), each=each, truncated=rows.truncated)


def _beginnings(rows: RowWindows, *, tokens: Int[np.ndarray, " rows"]) -> RowWindows:
    """Of each row the first window, which ends after so many tokens of the response and one."""
    first = rows.bounds[:-1]
    begun = rows.having(first, each=np.ones(len(rows), dtype=np.int64), truncated=rows.truncated)
    ends = begun.response[:, 0] + tokens + 1
    return replace(
        begun,
        windows=Windows(
            ids=gathered(begun.windows.ids, starts=begun.windows.bounds[:-1], lengths=ends),
            bounds=np.concatenate([[0], np.cumsum(ends)]),
            second=np.stack([begun.response[:, 0], ends], axis=1),
        ),
        roles=np.full(len(rows), int(UNTOLD)),
        response=np.stack([begun.response[:, 0], ends - 1], axis=1),
    )


def _beside(told: RowWindows, *, rows: Int[np.ndarray, " some"], windows: RowWindows) -> RowWindows:
    """Each of some rows with its one of other windows before its own."""
    first, second = windows.windows, told.windows
    both = RowWindows(
        windows=Windows(
            ids=np.concatenate([first.ids, second.ids]),
            bounds=np.concatenate([first.bounds, first.bounds[-1] + second.bounds[1:]]),
            second=np.concatenate([first.second, second.second]),
        ),
        bounds=np.array([0]),
        roles=np.concatenate([windows.roles, told.roles]),
        ordinals=np.concatenate([windows.ordinals, told.ordinals]),
        response=np.concatenate([windows.response, told.response]),
        truncated=told.truncated,
    )
    each = np.diff(told.bounds)
    owners = np.concatenate([rows, np.repeat(np.arange(len(told)), each)])
    each[rows] += 1
    return both.having(np.argsort(owners, kind="stable"), each=each, truncated=told.truncated)
