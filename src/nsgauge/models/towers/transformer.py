"""The transformer block that every tower of ours is made of, on packed tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
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
    """

    width: int
    layers: int
    heads: int
    hidden: int
    activation: Activation = "gelu"
    norm_first: bool = True
    norm_epsilon: float = 1e-5
    causal: bool = False


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
        self, tokens: Float[Tensor, "tokens width"], *, runs: Sequence[Run]
    ) -> Float[Tensor, "tokens width"]:
        """One layer over packed tokens."""
        if self.shape.norm_first:
            tokens = tokens + self._attend(self.attention_norm(tokens), runs=runs)
            return tokens + self._mlp(self.mlp_norm(tokens))
        tokens = self.attention_norm(tokens + self._attend(tokens, runs=runs))
        return self.mlp_norm(tokens + self._mlp(tokens))

    def _attend(
        self, tokens: Float[Tensor, "tokens width"], *, runs: Sequence[Run]
    ) -> Float[Tensor, "tokens width"]:
        query, key, value = (
            projection(tokens).unflatten(-1, (self.shape.heads, -1))
            for projection in (self.query, self.key, self.value)
        )
        attended = packed_attention(
            query, key=key, value=value, runs=runs, causal=self.shape.causal
        )
        return self.out(attended.flatten(-2))

    def _mlp(self, tokens: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens width"]:
        hidden = self.widen(tokens)
        return self.narrow(activated(hidden, activation=self.shape.activation))


class Stack(nn.Module):
    """Blocks one after another."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))

    def forward(
        self, tokens: Float[Tensor, "tokens width"], *, runs: Sequence[Run]
    ) -> Float[Tensor, "tokens width"]:
        """All layers over packed tokens."""
        for block in self.blocks:
            tokens = block(tokens, runs=runs)
        return tokens
