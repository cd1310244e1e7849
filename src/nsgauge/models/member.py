"""A member: pool, fusion and head, and a lexical channel; a committee has several."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor, nn

from nsgauge.models.fusion import Fusion, FusionSettings
from nsgauge.models.inputs import NetworkInputs
from nsgauge.models.lexical import LexicalChannel, LexicalSettings
from nsgauge.models.pooling import PoolingSettings, ReadTokens, TokenPool


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerWidths:
    """What a member must know of the towers.

    Attributes:
        image: Of an image vector.
        image_tokens: Vectors an image.
        window: Of a window's vector as the text tower pools it.
        token: Of the text tower's tokens.
    """

    image: int
    image_tokens: int
    window: int
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerVectors:
    """What the towers made of a batch, the same for every member.

    Attributes:
        image: Per row; any values where there is no image.
        image_present: Which rows have one.
        windows: The batch's distinct windows as the tower pools them; None where the members pool.
        tokens: Of the same windows; None where the tower pools.
    """

    image: Float[Tensor, "rows image_tokens image_width"]
    image_present: Bool[Tensor, " rows"]
    windows: Float[Tensor, "windows text_width"] | None
    tokens: ReadTokens | None


class Member(nn.Module):
    """Reads what the towers made of a batch; gives a logit a class and row.

    Args:
        fusion: Sizes of the fusion.
        pooling: How windows' tokens become vectors.
        widths: Of the towers.
        ordinals: Window numbers that have an embedding of their own.
        classes: How many classes.
        lexical: Of the channel beside; None for none.
    """

    def __init__(
        self,
        fusion: FusionSettings,
        *,
        pooling: PoolingSettings,
        widths: TowerWidths,
        ordinals: int,
        classes: int,
        lexical: LexicalSettings | None,
    ) -> None:
        super().__init__()
        pool = None
        if pooling.queries:
            pool = TokenPool(pooling, token_width=widths.token)
        self.pool = pool
        self.fusion = Fusion(
            fusion,
            image_width=widths.image,
            image_tokens=widths.image_tokens,
            text_width=widths.window if pool is None else pool.width,
            # A pool's tokens have theirs already.
            text_noise=fusion.feature_noise if pool is None else 0.0,
            ordinals=ordinals,
        )
        self.head = nn.Sequential(
            nn.Dropout(fusion.dropout),
            nn.Linear(fusion.width, fusion.width),
            nn.GELU(),
            nn.Linear(fusion.width, classes),
        )
        self.lexical = None if lexical is None else LexicalChannel(lexical, classes=classes)

    def forward(
        self, vectors: TowerVectors, *, inputs: NetworkInputs
    ) -> Float[Tensor, "rows classes"]:
        """Log-probabilities of the classes, up to a constant a row.

        Where the inputs hold grams they are a weighted mean with the lexical channel's; training
        leaves them out, for the channel is fitted by itself.
        """
        said = self._read(vectors, inputs=inputs).log_softmax(dim=-1)
        if self.lexical is None or inputs.grams is None:
            return said
        share = self.lexical.settings.share
        return (1 - share) * said + share * self.lexical(inputs.grams).log_softmax(dim=-1)

    def windows(self, vectors: TowerVectors) -> Float[Tensor, "windows text_width"]:
        """The batch's distinct windows as this member's fusion takes them."""
        if self.pool is not None and vectors.tokens is not None:
            return self.pool(vectors.tokens)
        if vectors.windows is None:
            raise ValueError("a member wants windows' vectors, or tokens and a pool for them")
        return vectors.windows

    def _read(
        self, vectors: TowerVectors, *, inputs: NetworkInputs
    ) -> Float[Tensor, "rows classes"]:
        """Logits from what the towers made of the batch."""
        windows = self.windows(vectors)
        fused = self.fusion(
            vectors.image,
            image_present=vectors.image_present,
            text=windows[inputs.slots.clamp(min=0)],
            roles=inputs.roles,
            ordinals=inputs.ordinals,
        )
        logits: Tensor = self.head(fused)
        return logits
