"""SigLIP's image tower: a vision transformer without a class token, pooled by attention."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from nsgauge.models.towers.image import ImageTower, Normalisation
from nsgauge.models.towers.packing import Run
from nsgauge.models.towers.transformer import Activation, Stack, TransformerShape, activated


@dataclass(frozen=True, slots=True, kw_only=True)
class SiglipShape:
    """Sizes of a SigLIP vision transformer.

    Attributes:
        transformer: The stack; its width is the width of what comes out.
        image_side_px: Side of the square image.
        patch_side_px: Side of a patch.
        pool_heads: Attention heads of the pooling.
        pool_hidden: Width inside the pooling's MLP.
        pool_activation: Of the pooling's MLP.
    """

    transformer: TransformerShape
    image_side_px: int
    patch_side_px: int
    pool_heads: int
    pool_hidden: int
    pool_activation: Activation


class AttentionPool(nn.Module):
    """One learned query reads all patches, then an MLP with a residual."""

    def __init__(self, shape: SiglipShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.transformer.width
        self.latent = nn.Parameter(torch.zeros(1, width))
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width, eps=shape.transformer.norm_epsilon)
        self.widen = nn.Linear(width, shape.pool_hidden)
        self.narrow = nn.Linear(shape.pool_hidden, width)

    def forward(
        self, patches: Float[Tensor, "images patches width"]
    ) -> Float[Tensor, "images width"]:
        """One vector per image."""
        latent = self.latent.expand(patches.shape[0], -1, -1)
        query, key, value = (
            projected.unflatten(-1, (self.shape.pool_heads, -1)).transpose(1, 2)
            for projected in (self.query(latent), self.key(patches), self.value(patches))
        )
        read = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(1)
        pooled = self.out(read)
        hidden = self.widen(self.mlp_norm(pooled))
        return pooled + self.narrow(activated(hidden, activation=self.shape.pool_activation))


class SiglipTower(ImageTower):
    """SigLIP's vision transformer, thin: patches with a bias, a norm after, attention pooling."""

    def __init__(
        self, shape: SiglipShape, *, normalisation: Normalisation, patch_grid: int
    ) -> None:
        width = shape.transformer.width
        super().__init__(normalisation, width=width, patch_grid=patch_grid)
        self.shape = shape
        side = shape.patch_side_px
        grid = shape.image_side_px // side
        self.patches = nn.Conv2d(3, width, side, stride=side)
        self.position_embedding = nn.Parameter(torch.zeros(grid * grid, width))
        self.stack = Stack(shape.transformer)
        self.last_norm = nn.LayerNorm(width, eps=shape.transformer.norm_epsilon)
        self.pool = AttentionPool(shape)

    def encode(
        self, pixels: Float[Tensor, "images 3 side side"]
    ) -> tuple[Float[Tensor, "images width"], Float[Tensor, "images width rows columns"]]:
        """See the base class."""
        patches = self.patches(pixels)
        images, _, rows, columns = patches.shape
        tokens = patches.flatten(2).transpose(1, 2) + self.position_embedding
        run = Run(0, images, rows * columns)
        encoded = self.stack(tokens.flatten(0, 1), layout=(run,)).unflatten(0, tokens.shape[:2])
        normed = self.last_norm(encoded)
        return self.pool(normed), normed.transpose(1, 2).unflatten(-1, (rows, columns))
