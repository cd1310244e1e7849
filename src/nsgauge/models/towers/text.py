"""Text towers: causal CLIP text, BERT-like text (MPNet too) and SigLIP text, packed."""

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
        embedding_norm: BERT and MPNet norm the summed embeddings; CLIP norms after the stack
            instead.
        segments: Whether a tower that norms its embeddings tells two texts apart by them: BERT
            does, MPNet doesn't.
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
    segments: bool = True
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
        segments = shape.embedding_norm and shape.segments
        self.segment_embedding = nn.Embedding(2, width) if segments else None
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
            tokens = tokens + self.segment_embedding(packed.segments)
        runs = tuple(packed.runs)
        if self.shape.embedding_norm:
            return self.stack(self.norm(tokens), runs=runs)
        return self.norm(self.stack(tokens, runs=runs))

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
