"""Noise on vectors while training: what keeps a small head from learning its rows by heart."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class FeatureNoise(nn.Module):
    """Adds Gaussian noise while training; does nothing otherwise."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, vectors: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows width"]:
        """The vectors, with noise in training mode."""
        if not self.training or not self.deviation:
            return vectors
        return vectors + self.deviation * torch.randn_like(vectors)
