"""Pooling: from the tokens that a text tower has read to one vector a window."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from nsgauge.models.noise import FeatureNoise
from nsgauge.models.towers.packing import Packed
from nsgauge.settings import Settings

MEANS = 2
"""Of tokens, that stand beside what a pool takes."""


class PoolingSettings(Settings):
    """How a window's tokens become its vector.

    With 0 `queries` the tower pools them as it was trained to. Otherwise each query attends to the
    tokens and takes `width` numbers from them, beside the tokens' mean; of a joint window the
    response's tokens alone, which have seen the prompt's. The mean of the tokens before them, which
    have seen the response, stands beside (zeros in other windows).
    """

    queries: int = Field(0, ge=0, le=64)
    width: int = Field(64, ge=1, le=1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTokens:
    """Tokens as the pools of all members take them.

    Attributes:
        tokens: Of the windows, packed; each normalised to mean 0 and variance 1.
        read: Which of them a pool reads.
        means: A row a packed window: the mean of the tokens read, then of those before a response.
        packed: The windows.
    """

    tokens: Float[Tensor, "tokens token_width"]
    read: Bool[Tensor, " tokens"]
    means: Float[Tensor, "sequences means_width"]
    packed: Packed

    @classmethod
    def of(
        cls, tokens: Float[Tensor, "tokens token_width"], *, packed: Packed, noise: FeatureNoise
    ) -> "ReadTokens":
        """Normalise tokens, once for all pools; training adds noise to them."""
        tokens = noise(layer_norm(tokens, tokens.shape[-1:]))
        read = read_tokens(packed)
        means = []
        for run in packed.runs:
            here = slice(run.start, run.start + run.count * run.length)
            segments = packed.segments[here].view(run.count, run.length)
            parts = torch.stack([read[here].view_as(segments), before_second(segments)], dim=1)
            counted = parts.to(tokens.dtype)
            sums = torch.bmm(counted, tokens[here].view(run.count, run.length, -1))
            means.append((sums / counted.sum(dim=2, keepdim=True).clamp(min=1)).flatten(1))
        return cls(tokens=tokens, read=read, means=torch.cat(means), packed=packed)

    def means_as_given(self) -> Float[Tensor, "sequences means_width"]:
        """The means, in the order in which the windows were packed from."""
        return self.means[self.packed.restore]


class TokenPool(nn.Module):
    """Attention pooling with learned queries (one head each, values shared).

    Args:
        settings: At least one query.
        token_width: Of the tower's tokens.
    """

    def __init__(self, settings: PoolingSettings, *, token_width: int) -> None:
        super().__init__()
        self.queries = nn.Linear(token_width, settings.queries, bias=False)
        nn.init.normal_(self.queries.weight, std=0.02)
        self.values = nn.Linear(token_width, settings.width)
        self.width = settings.queries * settings.width + MEANS * token_width
        """Of a window's vector, whose last numbers are the tokens' means."""

    def forward(self, given: ReadTokens) -> Float[Tensor, "sequences width"]:
        """One vector a window, in the order in which the windows were packed from."""
        scores = self.queries(given.tokens).masked_fill(~given.read[:, None], -torch.inf)
        values = self.values(given.tokens)
        taken = []
        for run in given.packed.runs:
            here = slice(run.start, run.start + run.count * run.length)
            weights = scores[here].view(run.count, run.length, -1).softmax(dim=1)
            held = values[here].view(run.count, run.length, -1)
            taken.append(torch.bmm(weights.transpose(1, 2), held).flatten(1))
        pooled = torch.cat([torch.cat(taken), given.means], dim=1)
        return pooled[given.packed.restore]


def response_means(
    tokens: Float[Tensor, "tokens token_width"], *, packed: Packed
) -> Float[Tensor, "sequences token_width"]:
    """Per window, the mean of the tokens that a pool reads, each normalised as for a pool.

    In the order in which the windows were packed from.
    """
    normal, read = layer_norm(tokens, tokens.shape[-1:]), read_tokens(packed)
    means = []
    for run in packed.runs:
        here = slice(run.start, run.start + run.count * run.length)
        counted = read[here].view(run.count, 1, run.length).to(normal.dtype)
        sums = torch.bmm(counted, normal[here].view(run.count, run.length, -1))
        means.append((sums / counted.sum(dim=2, keepdim=True)).flatten(1))
    return torch.cat(means)[packed.restore]


def before_second(
    segments: Int[Tensor, "windows length"],
) -> Bool[Tensor, "windows length"]:
    """Which tokens lie before the second text; none in a window without one."""
    second = segments == 1
    return (second.cumsum(dim=1) == 0) & second.any(dim=1, keepdim=True)


def read_tokens(packed: Packed) -> Bool[Tensor, " tokens"]:
    """Which tokens a pool reads: the second text's, or all tokens of a window without one."""
    parts = []
    for run in packed.runs:
        here = slice(run.start, run.start + run.count * run.length)
        second = packed.segments[here].view(run.count, run.length) == 1
        # The last token of the second text closes it; padding may follow.
        followed = torch.zeros_like(second)
        followed[:, :-1] = second[:, 1:]
        second = second & followed
        parts.append((second | ~second.any(dim=1, keepdim=True)).flatten())
    return torch.cat(parts)
