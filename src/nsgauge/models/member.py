"""A member: pool, fusion and head, and the channels beside; a committee has several."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nsgauge.models.channels import ChannelSettings
from nsgauge.models.fusion import Fusion, FusionSettings
from nsgauge.models.inputs import NetworkInputs
from nsgauge.models.lexical import LexicalChannel
from nsgauge.models.pooling import MEANS, PoolingSettings, ReadTokens, TokenPool
from nsgauge.models.probe import LinearProbe, probe_features, probe_width


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerWidths:
    """What a member must know of the towers.

    Attributes:
        image: Of an image vector.
        image_tokens: Vectors an image.
        window: Of a window's vector as the text tower pools it.
        token: Of the text tower's tokens.
        exchange: Of what the language model makes of an exchange; 0 without one.
    """

    image: int
    image_tokens: int
    window: int
    token: int
    exchange: int = 0


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
        channels: Beside it.
    """

    def __init__(
        self,
        fusion: FusionSettings,
        *,
        pooling: PoolingSettings,
        widths: TowerWidths,
        ordinals: int,
        classes: int,
        channels: ChannelSettings,
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
        lexical, probe, language = channels.lexical, channels.probe, channels.language
        self.lexical = None if lexical is None else LexicalChannel(lexical, classes=classes)
        self._probed = widths.window if pool is None else MEANS * widths.token
        features = probe_width(image_width=widths.image, text_width=self._probed)
        self.probe = (
            None if probe is None else LinearProbe(probe, features=features, classes=classes)
        )
        self.language = (
            None
            if language is None
            else LinearProbe(language, features=widths.exchange, classes=classes)
        )

    def forward(
        self, vectors: TowerVectors, *, inputs: NetworkInputs
    ) -> Float[Tensor, "rows classes"]:
        """Log-probabilities of the classes, up to a constant a row.

        Where the inputs ask for the channels, they are a weighted mean with theirs; training
        leaves them out, for they are fitted by themselves.

        Raises:
            ValueError: a channel is asked for, but what it reads isn't given.
        """
        text = self.windows(vectors)[inputs.slots.clamp(min=0)]
        said = self.read(
            vectors.image,
            image_present=vectors.image_present,
            text=text,
            roles=inputs.roles,
            ordinals=inputs.ordinals,
        )
        if not inputs.channels:
            return said
        if self.lexical is not None and inputs.grams is None:
            raise ValueError("the lexical channel wants the responses' n-grams")
        if self.language is not None and inputs.exchanges is None:
            raise ValueError("the language channel wants what its model made of the exchanges")
        return self.joined(
            said,
            lexical=None
            if self.lexical is None or inputs.grams is None
            else self.lexical(inputs.grams),
            probe=self.probed(
                vectors.image,
                image_present=vectors.image_present,
                text=text,
                roles=inputs.roles,
            ),
            language=None
            if self.language is None or inputs.exchanges is None
            else self.language(inputs.exchanges),
        )

    def windows(self, vectors: TowerVectors) -> Float[Tensor, "windows text_width"]:
        """The batch's distinct windows as this member's fusion takes them."""
        if self.pool is not None and vectors.tokens is not None:
            return self.pool(vectors.tokens)
        if vectors.windows is None:
            raise ValueError("a member wants windows' vectors, or tokens and a pool for them")
        return vectors.windows

    def read(
        self,
        image: Float[Tensor, "rows image_tokens image_width"],
        *,
        image_present: Bool[Tensor, " rows"],
        text: Float[Tensor, "rows slots text_width"],
        roles: Int[Tensor, "rows slots"],
        ordinals: Int[Tensor, "rows slots"],
    ) -> Float[Tensor, "rows classes"]:
        """What the fusion says, without the channels; arguments as `Fusion.forward`."""
        fused = self.fusion(
            image, image_present=image_present, text=text, roles=roles, ordinals=ordinals
        )
        said: Tensor = self.head(fused).log_softmax(dim=-1)
        return said

    def probed(
        self,
        image: Float[Tensor, "rows image_tokens image_width"],
        *,
        image_present: Bool[Tensor, " rows"],
        text: Float[Tensor, "rows slots text_width"],
        roles: Int[Tensor, "rows slots"],
    ) -> Float[Tensor, "rows classes"] | None:
        """What the linear probe says; of a pool's vectors it takes the means. None without one."""
        if self.probe is None:
            return None
        features = probe_features(
            image, image_present=image_present, text=text[..., -self._probed :], roles=roles
        )
        said: Tensor = self.probe(features)
        return said

    def joined(
        self,
        said: Float[Tensor, "rows classes"],
        *,
        lexical: Float[Tensor, "rows classes"] | None,
        probe: Float[Tensor, "rows classes"] | None,
        language: Float[Tensor, "rows classes"] | None = None,
    ) -> Float[Tensor, "rows classes"]:
        """The mean of log-probabilities, each channel with its share and the fusion with the rest.

        Args:
            said: The fusion's.
            lexical: The lexical channel's, up to a constant a row; None without one.
            probe: Likewise.
            language: Likewise.
        """
        rest, whole = 1.0, said.new_zeros(())
        channels = (self.lexical, lexical), (self.probe, probe), (self.language, language)
        for channel, logits in channels:
            if channel is not None and logits is not None:
                share = channel.settings.share
                rest, whole = rest - share, whole + share * logits.log_softmax(dim=-1)
        return rest * said + whole
