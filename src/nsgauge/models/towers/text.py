"""Text towers: causal CLIP text and Llama, BERT-like text (MPNet too), SigLIP text; packed."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear

from nsgauge.models.towers.attention import Layout
from nsgauge.models.towers.packing import Packed
from nsgauge.models.towers.transformer import Stack, TransformerShape

Pooling = Literal["mean", "end"]

TOKENS_TOLD = 1024
"""Whose next ones are told at once: over a vocabulary of 50,000 that takes 200 MB."""


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
        final_norm: Whether a tower that doesn't norm its embeddings norms after the stack: the
            first layers of a Llama don't, for its norm is the last one's.
        segments: Whether a tower that norms its embeddings tells two texts apart by them: BERT
            does, MPNet doesn't.
        projection: Width of the projected embedding; None leaves the pooled vector as it is.
        projection_bias: Whether the projection adds a bias.
        padded: SigLIP's text sees its padding and is pooled at its last position: every window
            must fill the context.
        taken_after: A language model that says how likely its text is gives, for each token, what
            so many blocks make of it, and one number more: the logarithm of the probability that
            all blocks give to the token after those before it, 0 for the first. Its tokens are what
            it is for, not pooled windows. None for a tower that gives what its last block makes.
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
    final_norm: bool = True
    taken_after: int | None = None


class TextTower(nn.Module):
    """Encodes packed windows, one vector each.

    Attributes:
        arithmetic: What its vectors depend on beside weights and precision; nothing, here.
    """

    arithmetic = ""

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.transformer.width
        self.token_embedding = nn.Embedding(shape.vocabulary, width)
        turns = shape.transformer.rotary_base is not None
        self.position_embedding = None if turns else nn.Embedding(shape.context, width)
        segments = shape.embedding_norm and shape.segments
        self.segment_embedding = nn.Embedding(2, width) if segments else None
        normed = shape.embedding_norm or shape.final_norm
        self.norm = shape.transformer.norm() if normed else nn.Identity()
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
        return self.shape.transformer.width + (self.shape.taken_after is not None)

    def forward(self, packed: Packed) -> Float[Tensor, "sequences width"]:
        """Encode packed windows.

        Returns:
            One row per window, in the order in which the windows were given to `Packed.of`.

        Raises:
            ValueError: as `tokens`.
        """
        pooled: Tensor = self.projection(self._pool(self.tokens(packed), packed=packed))
        return pooled[packed.restore]

    def tokens(self, packed: Packed) -> Float[Tensor, "tokens token_width"]:
        """What the stack makes of each token, before pooling and projection, in packed order.

        Raises:
            ValueError: the tower sees its padding, and a window isn't padded to its context.
        """
        if self.shape.padded and set(packed.lengths) != {self.shape.context}:
            raise ValueError(
                f"this text tower sees its padding: windows of {min(packed.lengths)} to "
                f"{max(packed.lengths)} tokens must be padded to {self.shape.context}"
            )
        return self.read_packed(packed)

    def read_packed(self, packed: Packed) -> Float[Tensor, "tokens token_width"]:
        """As `tokens`, of windows that are known to suit the tower."""
        return self.read(
            packed.ids,
            positions=packed.positions,
            segments=packed.segments,
            layout=tuple(packed.runs),
        )

    def read(
        self,
        ids: Int[Tensor, " tokens"],
        *,
        positions: Int[Tensor, " tokens"],
        segments: Int[Tensor, " tokens"],
        layout: Layout,
    ) -> Float[Tensor, "tokens token_width"]:
        """What the stack makes of tokens that lie as the layout says; the rest as `Packed`."""
        tokens = self.embedded(ids, positions=positions, segments=segments)
        if self.shape.taken_after is not None:
            low, high = slice(self.shape.taken_after), slice(self.shape.taken_after, None)
            taken = self.stack(tokens, layout=layout, positions=positions, blocks=low)
            last = self.stack(taken, layout=layout, positions=positions, blocks=high)
            likely = self.likelihoods(last, ids=ids, positions=positions)
            return torch.cat([taken.float(), likely[:, None]], dim=1)
        tokens = self.stack(tokens, layout=layout, positions=positions)
        read: Tensor = tokens if self.shape.embedding_norm else self.norm(tokens)
        return read

    def likelihoods(
        self,
        last: Float[Tensor, "tokens width"],
        *,
        ids: Int[Tensor, " tokens"],
        positions: Int[Tensor, " tokens"],
    ) -> Float[Tensor, " tokens"]:
        """How likely each token was, as a logarithm, after those before it; 0 for a first one.

        Args:
            last: What all blocks make of the tokens.
            ids: Of the tokens, sequence after sequence.
            positions: Each token's within its sequence.
        """
        states, embedding = self.norm(last), self.token_embedding.weight
        said = [
            log_likelihoods(
                states[start : start + TOKENS_TOLD][: len(ids) - 1 - start],
                ids=ids[start + 1 : start + 1 + TOKENS_TOLD],
                embedding=embedding,
            )
            for start in range(0, len(ids) - 1, TOKENS_TOLD)
        ]
        likely = torch.cat([last.new_zeros(1, dtype=torch.float32), *said])
        return torch.where(positions == 0, 0.0, likely)

    def embedded(
        self,
        ids: Int[Tensor, "*tokens"],
        *,
        positions: Int[Tensor, "..."],
        segments: Int[Tensor, "*tokens"],
    ) -> Float[Tensor, "*tokens width"]:
        """What the stack begins with.

        Args:
            ids: Token ids.
            positions: Each token's within its sequence; may be the same for all sequences.
            segments: As `Window` has them.
        """
        tokens: Tensor = self.token_embedding(ids)
        if self.position_embedding is not None:
            tokens = tokens + self.position_embedding(positions)
        if self.segment_embedding is not None:
            tokens = tokens + self.segment_embedding(segments)
        if self.shape.embedding_norm:
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


def log_likelihoods(
    states: Float[Tensor, "*tokens width"],
    *,
    ids: Int[Tensor, "*tokens"],
    embedding: Float[Tensor, "vocabulary width"],
) -> Float[Tensor, "*tokens"]:
    """Logarithm of the probability of each state's next token.

    The product with the vocabulary is made in the states' precision, all else in fp32.

    Args:
        states: What all blocks make of the tokens before, normed.
        ids: Of the next tokens.
        embedding: Of tokens, which tells them as well.
    """
    logits = linear(states, embedding).float()
    said: Tensor = logits.gather(-1, ids[..., None])[..., 0] - logits.logsumexp(dim=-1)
    return said


def _ends(lengths: Int[Tensor, " sequences"]) -> Int[Tensor, " sequences"]:
    """Index of the last token of each packed sequence."""
    return lengths.cumsum(0) - 1
