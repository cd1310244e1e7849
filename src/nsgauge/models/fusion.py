"""Fusion: a small transformer over the image's vectors and the windows' vectors."""

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from nsgauge.models.match import Match
from nsgauge.models.noise import FeatureNoise
from nsgauge.models.row_windows import TextRole
from nsgauge.settings import Settings


class FusionSettings(Settings):
    """Sizes of the fusion transformer, and what keeps it from learning the training rows by heart.

    `feature_noise` is the deviation of the Gaussian noise that training adds to the towers'
    normalised vectors, or, where a pool of ours reads them, to their normalised tokens.
    `match_width` is of the space in which each window is compared with the picture; 0 leaves the
    comparison to the transformer.
    """

    width: int = Field(256, ge=16, le=8192)
    layers: int = Field(2, ge=1, le=8)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    feature_noise: float = Field(0.0, ge=0, le=2)
    match_width: int = Field(0, ge=0, le=8192)

    @model_validator(mode="after")
    def _whole_heads(self) -> "FusionSettings":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} doesn't divide into {self.heads} heads")
        return self


class Fusion(nn.Module):
    """Reads one image and any number of windows per row; gives one vector per row.

    Args:
        settings: Sizes.
        image_width: Of an image vector.
        image_tokens: Vectors per image.
        text_width: Of a window's vector.
        text_noise: Deviation of the noise that training adds to windows' vectors.
        ordinals: Window numbers that have an embedding of their own; later ones share the last.
    """

    def __init__(
        self,
        settings: FusionSettings,
        *,
        image_width: int,
        image_tokens: int,
        text_width: int,
        text_noise: float,
        ordinals: int,
    ) -> None:
        super().__init__()
        width = settings.width
        self.from_image, self.from_text = (
            nn.Sequential(
                nn.LayerNorm(tower_width), FeatureNoise(noise), nn.Linear(tower_width, width)
            )
            for tower_width, noise in (
                (image_width, settings.feature_noise),
                (text_width, text_noise),
            )
        )
        self.readout = nn.Parameter(torch.randn(width) * 0.02)
        self.no_image = nn.Parameter(torch.randn(width) * 0.02)
        self.image_places = nn.Parameter(torch.randn(image_tokens, width) * 0.02)
        self.roles = nn.Embedding(len(TextRole), width)
        self.ordinals = nn.Embedding(ordinals, width)
        for embedding in (self.roles, self.ordinals):
            nn.init.normal_(embedding.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(
            width,
            settings.heads,
            dim_feedforward=2 * width,
            dropout=settings.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.match: Match | None = None
        if settings.match_width:
            self.match = Match(
                image_width=image_width,
                text_width=text_width,
                width=settings.match_width,
                fused_width=width,
            )

    def forward(
        self,
        image: Float[Tensor, "rows image_tokens image_width"],
        *,
        image_present: Bool[Tensor, " rows"],
        text: Float[Tensor, "rows slots text_width"],
        roles: Int[Tensor, "rows slots"],
        ordinals: Int[Tensor, "rows slots"],
    ) -> Float[Tensor, "rows width"]:
        """Fuse each row.

        Args:
            image: Any values where there is no image.
            image_present: False puts the learned "no image" vector in the image's place.
            text: Any values in unused slots.
            roles: A TextRole per slot, -1 for an unused one.
            ordinals: The window's number within its role.
        """
        seen = self.from_image(image) + self.image_places
        absent = (self.no_image + self.image_places).expand_as(seen)
        seen = torch.where(image_present[:, None, None], seen, absent)
        last = self.ordinals.num_embeddings - 1
        read = (
            self.from_text(text)
            + self.roles(roles.clamp(min=0))
            + self.ordinals(ordinals.clamp(max=last))
        )
        if self.match is not None:
            agreement = self.match(image[:, 0], text=text)
            read = read + torch.where(image_present[:, None, None], agreement, 0.0)
        rows = image.shape[0]
        tokens = torch.cat([self.readout.expand(rows, 1, -1), seen, read], dim=1)
        unused = torch.cat(
            [roles.new_zeros(rows, 1 + seen.shape[1], dtype=torch.bool), roles < 0], dim=1
        )
        return self.norm(self.layers(tokens, src_key_padding_mask=unused)[:, 0])
