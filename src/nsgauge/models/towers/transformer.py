"""The transformer block that every tower of ours is made of, on packed tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import silu

from nsgauge.models.towers.attention import Layout, Offsets, packed_attention

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "silu"]

# OpenAI's quick_gelu is x * sigmoid(1.702 x).
QUICK = 1.702


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
        key_heads: Llama's heads share keys and values: so many there are, which divides `heads`;
            None for one a head.
        rotary_base: Llama turns queries and keys by their positions, in steps that fall from 1 to
            nearly 1 / `rotary_base`; None for towers that add an embedding of the position.
        llama: Linears without biases, root-mean-square norms, and an MLP whose hidden numbers are
            multiplied by as many others.
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
    key_heads: int | None = None
    rotary_base: int | None = None
    llama: bool = False

    def norm(self) -> nn.Module:
        """A new norm of a token."""
        if self.llama:
            return nn.RMSNorm(self.width, eps=self.norm_epsilon)
        return nn.LayerNorm(self.width, eps=self.norm_epsilon)


def activated(
    hidden: Float[Tensor, "*tokens hidden"], *, activation: Activation
) -> Float[Tensor, "*tokens hidden"]:
    """The activation inside an MLP, which overwrites what it is given."""
    # On a CPU a pass over new memory costs more than the arithmetic: together, with `_sum`, a 20th
    # of a tower's time. Autograd keeps a copy where it needs one.
    if activation == "quick_gelu":
        return hidden.mul_((hidden * QUICK).sigmoid_())
    if activation == "silu":
        return silu(hidden, inplace=True)
    exact: Tensor = torch.ops.aten.gelu_(
        hidden, approximate="tanh" if activation == "gelu_tanh" else "none"
    )
    return exact


@dataclass(frozen=True, slots=True)
class Turn:
    """Rotations of queries and keys by position, as cosines and sines.

    Half of a head's numbers are the first coordinates of points in the plane, half the second; a
    point is turned by its own step times the position.

    Source: Su et al. 2021 (RoFormer), with Llama's order of the coordinates.
    """

    cosine: Float[Tensor, "*places depth"]
    sine: Float[Tensor, "*places depth"]

    @classmethod
    def of(cls, positions: Int[Tensor, " places"], *, base: int, depth: int) -> "Turn":
        """The rotations at some positions, for heads of `depth` numbers."""
        order = torch.arange(0, depth, 2, device=positions.device, dtype=torch.float32)
        angles = positions[:, None] * base ** (-order / depth)
        both = torch.cat([angles, angles], dim=-1)
        return cls(both.cos(), both.sin())

    def __call__(self, given: Float[Tensor, "*tokens depth"]) -> Float[Tensor, "*tokens depth"]:
        """Queries or keys, turned."""
        first, second = given.chunk(2, dim=-1)
        beside = torch.cat([-second, first], dim=-1)
        return given * self.cosine.to(given.dtype) + beside * self.sine.to(given.dtype)


class Block(nn.Module):
    """Attention and MLP with residuals.

    Query, key and value are separate `nn.Linear`s: peft's LoRA on `nn.MultiheadAttention` applies
    the output projection's update twice (huggingface/peft#3774).
    """

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.shape = shape
        width, biased = shape.width, not shape.llama
        shared = width // shape.heads * (shape.key_heads or shape.heads)
        self.query = nn.Linear(width, width, bias=biased)
        self.key = nn.Linear(width, shared, bias=biased)
        self.value = nn.Linear(width, shared, bias=biased)
        self.out = nn.Linear(width, width, bias=biased)
        self.attention_norm = shape.norm()
        self.widen = nn.Linear(width, shape.hidden, bias=biased)
        self.gate = nn.Linear(width, shape.hidden, bias=False) if shape.llama else None
        self.narrow = nn.Linear(shape.hidden, width, bias=biased)
        self.mlp_norm = shape.norm()

    def forward(
        self,
        tokens: Float[Tensor, "tokens width"],
        *,
        layout: Layout,
        bias: Float[Tensor, "heads longest longest"] | None = None,
        turn: Turn | None = None,
    ) -> Float[Tensor, "tokens width"]:
        """One layer over packed tokens.

        Args:
            tokens: Of all sequences.
            layout: Where the sequences lie.
            bias: Added to the scores of its attention.
            turn: Of the queries and keys of every token, the same for all heads.
        """

        def attend(given: Tensor) -> Tensor:
            products = [projection(given) for projection in (self.query, self.key, self.value)]
            query, key, value = self.split(products, turn=turn)
            attended = packed_attention(
                query, key=key, value=value, layout=layout, causal=self.shape.causal, bias=bias
            )
            out: Tensor = self.out(attended.flatten(-2))
            return out

        if self.shape.norm_first:
            tokens = _sum(attend(self.attention_norm(tokens)), tokens)
            return _sum(self.mlp(self.mlp_norm(tokens)), tokens)
        tokens = self.attention_norm(_sum(attend(tokens), tokens))
        normed: Tensor = self.mlp_norm(_sum(self.mlp(tokens), tokens))
        return normed

    def split(
        self, products: Sequence[Float[Tensor, "..."]], *, turn: Turn | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values by heads, each (*tokens, heads, depth).

        Args:
            products: What the three linears make of the tokens, each (*tokens, numbers).
            turn: Of the queries and keys.
        """
        depth = self.shape.width // self.shape.heads
        query, key, value = (
            product.reshape(*product.shape[:-1], -1, depth) for product in products
        )
        if turn is not None:
            query, key = turn(query), turn(key)
        if self.shape.key_heads is not None:
            sharing = self.shape.heads // self.shape.key_heads
            key, value = (given.repeat_interleave(sharing, dim=-2) for given in (key, value))
        return query, key, value

    def mlp(self, tokens: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens width"]:
        """The MLP, without its residual."""
        hidden = self.widen(tokens)
        if self.gate is None:
            hidden = activated(hidden, activation=self.shape.activation)
        else:
            hidden *= activated(self.gate(tokens), activation=self.shape.activation)
        narrowed: Tensor = self.narrow(hidden)
        return narrowed


def _sum(
    made: Float[Tensor, "tokens width"], tokens: Float[Tensor, "tokens width"]
) -> Float[Tensor, "tokens width"]:
    """The residual and what a linear just made, which is overwritten.

    Not under autocast: there linears make bf16, and the residual stays in fp32.
    """
    return made.add_(tokens) if made.dtype == tokens.dtype else tokens + made


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
        self.shape = shape
        self.distance_bias = (
            DistanceBias(buckets=shape.distance_buckets, heads=shape.heads)
            if shape.distance_buckets
            else None
        )
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))

    def forward(
        self,
        tokens: Float[Tensor, "tokens width"],
        *,
        layout: Layout,
        positions: Int[Tensor, " tokens"] | None = None,
        blocks: slice = slice(None),
    ) -> Float[Tensor, "tokens width"]:
        """All layers over packed tokens, or some; a stack that turns wants their positions."""
        bias = turn = None
        if self.distance_bias is not None:
            # Of the longest sequence alone: a shorter one's is its upper left part.
            bias = self.distance_bias(_longest(layout))
        if positions is not None:
            turn = self.turn(positions)
        for block in self.blocks[blocks]:
            tokens = block(tokens, layout=layout, bias=bias, turn=turn)
        return tokens

    def turn(self, positions: Int[Tensor, " places"]) -> Turn | None:
        """The rotations at some positions, the same for all heads and layers; None without any."""
        shape = self.shape
        if shape.rotary_base is None:
            return None
        turn = Turn.of(positions, base=shape.rotary_base, depth=shape.width // shape.heads)
        return Turn(turn.cosine.unsqueeze(-2), turn.sine.unsqueeze(-2))


def _longest(layout: Layout) -> int:
    return layout.longest if isinstance(layout, Offsets) else max(run.length for run in layout)
