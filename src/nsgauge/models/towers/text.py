"""Text towers: causal CLIP text, BERT-like text and SigLIP text, packed."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nsgauge.models.towers.packing import Packed
from nsgauge.models.towers.transformer import Stack, TransformerShape

Pooling = Literal["mean", "end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShape:
    """Sizes and habits of a text tower.

    Attributes:
        transformer: The stack.
        vocabulary: Token ids known.
        context: Positions known, start and end tokens included.
        pooling: `mean` over all tokens, or the `end` token.
        embedding_norm: BERT norms the summed embeddings and has segments; CLIP has neither, and
            norms after the stack instead.
        projection: Width of the projected embedding; None leaves the pooled vector as it is.
        projection_bias: Whether the projection adds a bias.
        padded: SigLIP's text sees its padding and is pooled at its last position: every window
            must fill the context.
    """

    transformer: TransformerShape
    vocabulary: int
    context: int
    pooling: Pooling
    embedding_norm: bool
    projection: int | None
    projection_bias: bool = False
    padded: bool = False


class TextTower(nn.Module):
    """Encodes packed windows, one vector each."""

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.transformer.width
        epsilon = shape.transformer.norm_epsilon
        self.token_embedding = nn.Embedding(shape.vocabulary, width)
        self.position_embedding = nn.Embedding(shape.context, width)
        self.segment_embedding = nn.Embedding(2, width) if shape.embedding_norm else None
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.stack = Stack(shape.transformer)
        self.projection = (
            nn.Linear(width, shape.projection, bias=shape.projection_bias)
            if shape.projection
            else nn.Identity()
        )

    @property
    def width(self) -> int:
        """Width of an encoded window."""
        return self.shape.projection or self.shape.transformer.width

    @property
    def token_width(self) -> int:
        """Width of an encoded token."""
        return self.shape.transformer.width

    def forward(self, packed: Packed) -> Float[Tensor, "sequences width"]:
        """Encode packed windows.

        Returns:
            One row per window, in the order in which the windows were given to `Packed.of`.

        Raises:
            ValueError: as `tokens`.
        """
        pooled: Tensor = self.projection(self._pool(self.tokens(packed), packed=packed))
        return pooled[packed.restore]

    def tokens(self, packed: Packed) -> Float[Tensor, "tokens width"]:
        """What the stack makes of each token, before pooling and projection, in packed order.

        Raises:
            ValueError: the tower sees its padding, and a window isn't padded to its context.
        """
        if self.shape.padded and set(packed.lengths) != {self.shape.context}:
            raise ValueError(
                f"this text tower sees its padding: windows of {min(packed.lengths)} to "
                f"{max(packed.lengths)} tokens must be padded to {self.shape.context}"
            )
        tokens = self.token_embedding(packed.ids) + self.position_embedding(packed.positions)
        if self.segment_embedding is not None:
            tokens = self.norm(tokens + self.segment_embedding(packed.segments))
        tokens = self.stack(tokens, runs=tuple(packed.runs))
        if self.segment_embedding is None:
            tokens = self.norm(tokens)
        return tokens

    def _pool(
        self, tokens: Float[Tensor, "tokens width"], *, packed: Packed
    ) -> Float[Tensor, "sequences width"]:
        lengths = torch.tensor(packed.lengths, device=tokens.device)
        if self.shape.pooling == "end":
            return tokens[_ends(lengths)]
        sums = [
            tokens[run.start : run.start + run.count * run.length]
            .view(run.count, run.length, tokens.shape[1])
            .mean(dim=1)
            for run in packed.runs
        ]
        return torch.cat(sums)


def _ends(lengths: Int[Tensor, " sequences"]) -> Int[Tensor, " sequences"]:
    """Index of the last token of each packed sequence."""
    return lengths.cumsum(0) - 1
