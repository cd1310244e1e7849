"""Image towers: CLIP's ViT, and open_clip's convolutional trunks as they are."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from nsgauge.models.towers.packing import Run
from nsgauge.models.towers.transformer import Stack, TransformerShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """What an image tower was trained to see: (pixel / 255 - mean) / std, per channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class ConvTrunk(Protocol):
    """What is asked of a timm trunk."""

    num_features: int

    def forward_features(self, pixels: Tensor) -> Tensor:
        """The last feature map."""

    def forward_head(self, features: Tensor) -> Tensor:
        """Pooled (and flattened) features."""


class ImageTower(nn.Module, ABC):
    """Base of the image towers: bytes in, a few vectors out.

    Args:
        normalisation: Of the pretrained weights.
        width: Of each vector.
        patch_grid: 0 for the pooled vector alone; g adds the g x g averages of the patches.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, normalisation: Normalisation, *, width: int, patch_grid: int) -> None:
        super().__init__()
        self.width = width
        self.patch_grid = patch_grid
        self.register_buffer(
            "mean", torch.tensor(normalisation.mean).view(3, 1, 1), persistent=False
        )
        self.register_buffer("std", torch.tensor(normalisation.std).view(3, 1, 1), persistent=False)

    def forward(
        self, pixels: UInt8[Tensor, "images 3 side side"]
    ) -> Float[Tensor, "images image_tokens width"]:
        """Encode images: the pooled vector first, then the pooled patches, row by row."""
        scaled = pixels.to(self.mean.dtype) / 255
        normal = (scaled - self.mean) / self.std
        weights = next(self.parameters(), normal)
        pooled, feature_map = self.encode(normal.to(weights.dtype))
        if not self.patch_grid:
            return pooled.unsqueeze(1)
        patches = adaptive_avg_pool2d(feature_map, self.patch_grid).flatten(2).transpose(1, 2)
        return torch.cat([pooled.unsqueeze(1), patches], dim=1)

    @abstractmethod
    def encode(
        self, pixels: Float[Tensor, "images 3 side side"]
    ) -> tuple[Float[Tensor, "images width"], Float[Tensor, "images width rows columns"]]:
        """The pooled vector and the map of patch vectors, from normalised pixels."""


class ConvTower(ImageTower):
    """A timm convolutional trunk as open_clip built it, its pooling included."""

    def __init__(self, trunk: nn.Module, *, normalisation: Normalisation, patch_grid: int) -> None:
        width = cast("ConvTrunk", trunk).num_features
        super().__init__(normalisation, width=int(width), patch_grid=patch_grid)
        self.trunk = trunk

    def encode(
        self, pixels: Float[Tensor, "images 3 side side"]
    ) -> tuple[Float[Tensor, "images width"], Float[Tensor, "images width rows columns"]]:
        """See the base class."""
        trunk = cast("ConvTrunk", self.trunk)
        feature_map = trunk.forward_features(pixels)
        return trunk.forward_head(feature_map), feature_map

    def train(self, mode: bool = True) -> "ConvTower":  # noqa: FBT001, FBT002 (nn.Module's own)
        """Batch norms keep their pretrained statistics: a batch holds too few distinct images."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class VitShape:
    """Sizes of a CLIP vision transformer: `image_side_px` square in, `projection` wide out."""

    transformer: TransformerShape
    image_side_px: int
    patch_side_px: int
    projection: int


class VitTower(ImageTower):
    """CLIP's vision transformer, thin: class token, norms before and after, projection."""

    def __init__(self, shape: VitShape, *, normalisation: Normalisation, patch_grid: int) -> None:
        super().__init__(normalisation, width=shape.projection, patch_grid=patch_grid)
        self.shape = shape
        width = shape.transformer.width
        grid = shape.image_side_px // shape.patch_side_px
        side = shape.patch_side_px
        self.patches = nn.Conv2d(3, width, side, stride=side, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.position_embedding = nn.Parameter(torch.zeros(grid * grid + 1, width))
        self.first_norm = nn.LayerNorm(width, eps=shape.transformer.norm_epsilon)
        self.stack = Stack(shape.transformer)
        self.last_norm = nn.LayerNorm(width, eps=shape.transformer.norm_epsilon)
        self.projection = nn.Linear(width, shape.projection, bias=False)

    def encode(
        self, pixels: Float[Tensor, "images 3 side side"]
    ) -> tuple[Float[Tensor, "images width"], Float[Tensor, "images width rows columns"]]:
        """See the base class."""
        images = pixels.shape[0]
        patches = self.patches(pixels)
        rows, columns = patches.shape[-2:]
        classes = self.class_embedding.expand(images, 1, -1)
        tokens = torch.cat([classes, patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = self.first_norm(tokens + self.position_embedding)
        run = Run(0, images, tokens.shape[1])
        encoded = self.stack(tokens.flatten(0, 1), layout=(run,)).unflatten(0, tokens.shape[:2])
        projected = self.projection(self.last_norm(encoded))
        feature_map = projected[:, 1:].transpose(1, 2).unflatten(-1, (rows, columns))
        return projected[:, 0], feature_map
