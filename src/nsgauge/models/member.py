"""A member: pool, fusion and head, and the channels beside; a committee has several."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
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
        self.shares = channels.shares
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
        voices = self.voices(vectors, inputs=inputs)
        return self.joined(voices) if inputs.channels else voices[0]

    def voices(
        self, vectors: TowerVectors, *, inputs: NetworkInputs
    ) -> list[Float[Tensor, "rows classes"]]:
        """What the fusion says, then each channel that is asked for, up to a constant a row.

        Raises:
            ValueError: a channel is asked for, but what it reads isn't given.
        """
        text = self.windows(vectors)[inputs.slots.clamp(min=0)]
        image, present, roles = vectors.image, vectors.image_present, inputs.roles
        said = [
            self.read(
                image, image_present=present, text=text, roles=roles, ordinals=inputs.ordinals
            )
        ]
        if not inputs.channels:
            return said
        if self.lexical is not None:
            if inputs.grams is None:
                raise ValueError("the lexical channel wants the responses' n-grams")
            said.append(self.lexical(inputs.grams))
        if self.probe is not None:
            said.append(self.probed(image, image_present=present, text=text, roles=roles))
        if self.language is not None:
            if inputs.exchanges is None:
                raise ValueError("the language channel wants what its model made of the exchanges")
            said.append(self.language(inputs.exchanges))
        return said

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
    ) -> Float[Tensor, "rows classes"]:
        """What the linear probe says; of a pool's vectors it takes the means.

        Raises:
            ValueError: there is no probe.
        """
        if self.probe is None:
            raise ValueError("this member has no probe")
        features = probe_features(
            image, image_present=image_present, text=text[..., -self._probed :], roles=roles
        )
        said: Tensor = self.probe(features)
        return said

    def joined(
        self, voices: Sequence[Float[Tensor, "rows classes"]]
    ) -> Float[Tensor, "rows classes"]:
        """The mean of log-probabilities, each voice with its share, in the order of `voices`."""
        weighed = [
            share * voice.log_softmax(dim=-1)
            for share, voice in zip(self.shares, voices, strict=True)
        ]
        return torch.stack(weighed).sum(dim=0)
