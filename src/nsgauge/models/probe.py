"""The linear probe beside a member: a linear map of what frozen towers made of a row."""

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from nsgauge.models.row_windows import TextRole
from nsgauge.settings import Settings


class ProbeSettings(Settings):
    """How a linear probe is fitted and weighed.

    `c` is the inverse of the regularisation's strength, for features of variance one; `share` is
    the weight of the probe's log-probabilities.
    """

    c: float = Field(0.003, gt=0, allow_inf_nan=False)
    share: float = Field(0.5, gt=0, lt=1)


def probe_width(*, image_width: int, text_width: int) -> int:
    """How many features a row has."""
    return image_width + len(TextRole) * text_width


def probe_features(
    image: Float[Tensor, "rows image_tokens image_width"],
    *,
    image_present: Bool[Tensor, " rows"],
    text: Float[Tensor, "rows slots text_width"],
    roles: Int[Tensor, "rows slots"],
) -> Float[Tensor, "rows features"]:
    """The image's vector, then the mean of the windows of each role; zeros for what a row lacks.

    Args:
        image: Any values where there is no image; the first vector is the whole image's.
        image_present: Which rows have one.
        text: Any finite values in unused slots.
        roles: A TextRole per slot, -1 for an unused one.
    """
    held = torch.stack([roles == role for role in TextRole], dim=1).to(text.dtype)
    shares = held / held.sum(dim=2, keepdim=True).clamp(min=1)
    seen = torch.where(image_present[:, None], image[:, 0], 0.0)
    return torch.cat([seen, torch.bmm(shares, text).flatten(1)], dim=1)


class LinearProbe(nn.Module):
    """Multinomial logistic regression on `probe_features`.

    All it knows is in buffers: it is fitted as a whole (nsgauge.train.probe), never by gradient
    steps beside the network. A new one gives zeros.

    Source: Alain and Bengio 2016 (arXiv 1610.01644); Radford et al. 2021 (CLIP), section 3.2.

    Args:
        settings: Its weight beside the member.
        features: As `probe_width` has it.
        classes: How many classes it tells apart.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, settings: ProbeSettings, *, features: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("weight", torch.zeros(features, classes))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, features: Float[Tensor, "rows features"]) -> Float[Tensor, "rows classes"]:
        """Log-probabilities up to a constant per row."""
        return features @ self.weight + self.bias
