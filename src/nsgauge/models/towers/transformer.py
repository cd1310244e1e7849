"""The transformer block that every tower of ours is made of, on packed tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu

from nsgauge.models.towers.packing import Run, packed_attention

Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerShape:
    """Sizes and habits of a stack of blocks.

    Attributes:
        width: Of a token.
        layers: Blocks in the stack.
        heads: Attention heads; divides `width`.
        hidden: Width inside the MLP.
        activation: `quick_gelu` is OpenAI CLIP's x * sigmoid(1.702 x), `gelu_tanh` the
            approximation that SigLIP 2 was trained with.
        norm_first: True for CLIP (norm before attention and MLP), False for BERT (after).
        norm_epsilon: Of every layer norm.
        causal: Whether a token sees only itself and earlier ones.
        distance_buckets: MPNet's attention has a bias for each of so many classes of distances
            between two tokens, the same in all layers; 0 for none.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    activation: Activation = "gelu"
    norm_first: bool = True
    norm_epsilon: float = 1e-5
    causal: bool = False
    distance_buckets: int = 0


def activated(
    hidden: Float[Tensor, "*tokens hidden"], *, activation: Activation
) -> Float[Tensor, "*tokens hidden"]:
    """The activation inside an MLP."""
    if activation == "quick_gelu":
        return hidden * torch.sigmoid(1.702 * hidden)
    return gelu(hidden, approximate="tanh" if activation == "gelu_tanh" else "none")


class Block(nn.Module):
    """Attention and MLP with residuals.

    Query, key and value are separate `nn.Linear`s: peft's LoRA on `nn.MultiheadAttention` applies
    the output projection's update twice (huggingface/peft#3774).
    """

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.shape = shape
        self.query = nn.Linear(shape.width, shape.width)
        self.key = nn.Linear(shape.width, shape.width)
        self.value = nn.Linear(shape.width, shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.attention_norm = nn.LayerNorm(shape.width, eps=shape.norm_epsilon)
        self.widen = nn.Linear(shape.width, shape.hidden)
        self.narrow = nn.Linear(shape.hidden, shape.width)
        self.mlp_norm = nn.LayerNorm(shape.width, eps=shape.norm_epsilon)

    def forward(
        self,
        tokens: Float[Tensor, "tokens width"],
        *,
        runs: Sequence[Run],
        bias: Float[Tensor, "heads longest longest"] | None = None,
    ) -> Float[Tensor, "tokens width"]:
        """One layer over packed tokens; `bias` is added to the scores of its attention."""
        if self.shape.norm_first:
            tokens = tokens + self._attend(self.attention_norm(tokens), runs=runs, bias=bias)
            return tokens + self._mlp(self.mlp_norm(tokens))
        tokens = self.attention_norm(tokens + self._attend(tokens, runs=runs, bias=bias))
        return self.mlp_norm(tokens + self._mlp(tokens))

    def _attend(
        self,
        tokens: Float[Tensor, "tokens width"],
        *,
        runs: Sequence[Run],
        bias: Float[Tensor, "heads longest longest"] | None,
    ) -> Float[Tensor, "tokens width"]:
        query, key, value = (
            projection(tokens).unflatten(-1, (self.shape.heads, -1))
            for projection in (self.query, self.key, self.value)
        )
        attended = packed_attention(
            query, key=key, value=value, runs=runs, causal=self.shape.causal, bias=bias
        )
        return self.out(attended.flatten(-2))

    def _mlp(self, tokens: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens width"]:
        hidden = self.widen(tokens)
        return self.narrow(activated(hidden, activation=self.shape.activation))


class DistanceBias(nn.Module):
    """A learned bias of attention per head and class of signed distances, as T5 and MPNet have it.

    Half of the classes are for later tokens; of each half, half are single distances, the others
    grow as a logarithm up to `FARTHEST`.

    Source: Raffel et al. 2020 (T5), section 2.1; Song et al. 2020 (MPNet).
    """

    FARTHEST = 128

    def __init__(self, *, buckets: int, heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(buckets, heads))

    def forward(self, length: int) -> Float[Tensor, "heads length length"]:
        """What is added to the score of a query (row) and a key (column), per head."""
        places = torch.arange(length, device=self.weight.device)
        distances = torch.arange(1 - length, length, device=self.weight.device)
        by_distance = self.weight[self._bucket(distances)]
        return (
            by_distance[places[None, :] - places[:, None] + length - 1]
            .permute(2, 0, 1)
            .contiguous()
        )

    def _bucket(self, distance: Int[Tensor, " distances"]) -> Int[Tensor, " distances"]:
        """The class of each distance, key less query."""
        half = self.weight.shape[0] // 2
        single = half // 2
        size = distance.abs()
        scale = math.log(self.FARTHEST / single)
        grown = single + (torch.log(size.float() / single) / scale * (half - single)).long()
        bucket = torch.where(size < single, size, grown.clamp(max=half - 1))
        return bucket + half * (distance > 0).long()


class Stack(nn.Module):
    """Blocks one after another."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.distance_bias = (
            DistanceBias(buckets=shape.distance_buckets, heads=shape.heads)
            if shape.distance_buckets
            else None
        )
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))

    def forward(
        self, tokens: Float[Tensor, "tokens width"], *, runs: Sequence[Run]
    ) -> Float[Tensor, "tokens width"]:
        """All layers over packed tokens."""
        bias = None
        if self.distance_bias is not None:
            # Of the longest sequence alone: a shorter one's is its upper left part.
            bias = self.distance_bias(max(run.length for run in runs))
        for block in self.blocks:
            tokens = block(tokens, runs=runs, bias=bias)
        return tokens
