"""Match: how well a picture and a window of text agree, in a space that both are mapped to."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

LOG_SCALE = 2.5
"""Of an untrained match; CLIP begins with log(1 / 0.07) = 2.7."""


class Match(nn.Module):
    """Cosine of a picture's and a window's vector after a linear map of each.

    A fusion of few layers doesn't find this comparison by itself when its teacher says no more than
    which answers are misreadings; a contrastive loss teaches the two maps directly.

    Args:
        image_width: Of an image vector.
        text_width: Of a window's vector.
        width: Of the space in which the two are compared.
        fused_width: Of the fusion's tokens.
    """

    def __init__(self, *, image_width: int, text_width: int, width: int, fused_width: int) -> None:
        super().__init__()
        self.from_image, self.from_text = (
            nn.Sequential(nn.LayerNorm(tower_width), nn.Linear(tower_width, width))
            for tower_width in (image_width, text_width)
        )
        self.log_scale = nn.Parameter(torch.tensor(LOG_SCALE))
        self.direction = nn.Parameter(torch.randn(fused_width) * 0.02)

    def forward(
        self,
        image: Float[Tensor, "rows image_width"],
        *,
        text: Float[Tensor, "rows slots text_width"],
    ) -> Float[Tensor, "rows slots fused_width"]:
        """What the fusion adds to each window's token: its cosine with the picture, scaled."""
        cosine = (self._image(image).unsqueeze(1) * self._text(text)).sum(dim=-1, keepdim=True)
        return cosine * self.log_scale.exp() * self.direction

    def contrast(
        self,
        image: Float[Tensor, "rows image_width"],
        *,
        text: Float[Tensor, "rows text_width"],
    ) -> Float[Tensor, "rows rows"]:
        """Logits of which window (columns) belongs to which picture (rows)."""
        return self._image(image) @ self._text(text).T * self.log_scale.exp()

    def _image(self, vectors: Float[Tensor, "*rows image_width"]) -> Float[Tensor, "*rows width"]:
        return normalize(self.from_image(vectors), dim=-1)

    def _text(self, vectors: Float[Tensor, "*rows text_width"]) -> Float[Tensor, "*rows width"]:
        return normalize(self.from_text(vectors), dim=-1)
