"""The language channel: what a small language model makes of an exchange, told as a story."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from nsgauge.models.pooling import response_means
from nsgauge.models.probe import ProbeSettings
from nsgauge.models.row_windows import RowWindows, TextRole
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.models.towers.packing import Packed
from nsgauge.models.towers.pair import Towers
from nsgauge.models.towers.text import TextTower
from nsgauge.models.windows import RowReader, WindowPolicy

STORY = "user\nA person showed a picture{shown} and asked: {prompt}"
SHOWN = " of {caption}"
"""How an exchange begins, and what stands for `shown` where the picture is described."""
HEAD_TOKENS = 128
"""Of an exchange's beginning, caption and prompt, are read at most."""


class LanguageSettings(ProbeSettings):
    """Which language model reads the exchange, and the linear probe of what it makes of it.

    `preset` names the preset whose text tower it is: its first layers, frozen. `window_tokens` is
    the most that it reads at once, exchange and all; a longer response is read in several windows.
    """

    preset: str = "pocket-smollm2"
    c: float = Field(0.01, gt=0, allow_inf_nan=False)
    share: float = Field(0.3, gt=0, lt=1)
    window_tokens: int = Field(384, ge=192)


class ExchangeReader:
    """Lays out exchanges as a language model reads them.

    A picture that isn't described is only mentioned: this channel sees words alone.

    Attributes:
        tokenizer: The language model's, with what an exchange has between its two texts.
        policy: Of its windows.

    Args:
        tokenizer: Of the language model.
        settings: How much it reads at once.
    """

    def __init__(self, tokenizer: TextTokenizer, *, settings: LanguageSettings) -> None:
        line, answered = tokenizer.ids(["\n", "An assistant answered:"])
        self.tokenizer = tokenizer.between_lines(end=line[-1], between=answered)
        self.policy = WindowPolicy(window_tokens=settings.window_tokens, prompt_tokens=HEAD_TOKENS)
        self._rows = RowReader(self.tokenizer, context=settings.window_tokens, policy=self.policy)

    def columns(
        self, prompts: Sequence[str], *, responses: Sequence[str], captions: Sequence[str | None]
    ) -> RowWindows:
        """Windows of each row, at least one, each with a stretch of the response."""
        told = [_told(p, caption=c) for p, c in zip(prompts, captions, strict=True)]
        said = [f" {response}" for response in responses]
        rows = self._rows.columns(told, responses=said, captions=[None] * len(told))
        return _joint(rows) if told else rows


def exchange_reader(towers: Towers, *, settings: LanguageSettings | None) -> ExchangeReader | None:
    """Of the towers' language model; None where there is none."""
    if settings is None or towers.language is None:
        return None
    return ExchangeReader(towers.language.tokenizer, settings=settings)


def read_exchanges(tower: TextTower, *, packed: Packed) -> Float[Tensor, "sequences width"]:
    """What the language model makes of each window, in the order packed from.

    The mean of the response's tokens, each brought to mean 0 and variance 1 first: they have seen
    the prompt and what the response has said before them.
    """
    return response_means(tower.tokens(packed).float(), packed=packed)


def of_rows(
    vectors: Float[np.ndarray, "windows width"], *, each: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, "rows width"]:
    """Per row, the mean of its windows' vectors, `each` of them, at least one."""
    sums = np.add.reduceat(vectors, np.cumsum(each) - each, axis=0)
    return sums / each[:, None].astype(vectors.dtype)


def _told(prompt: str, *, caption: str | None) -> str:
    shown = SHOWN.format(caption=caption) if caption else ""
    return STORY.format(shown=shown, prompt=prompt)


def _joint(rows: RowWindows) -> RowWindows:
    """The rows without the windows that hold no response: the rest of a long prompt."""
    joint = rows.roles == TextRole.JOINT
    each = np.add.reduceat(joint.astype(np.int64), rows.bounds[:-1])
    return rows.having(np.flatnonzero(joint), each=each, truncated=rows.truncated)
