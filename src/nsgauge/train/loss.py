"""The loss: cross-entropy against what the teacher said, where it may have said only part."""

import torch
from jaxtyping import Float
from torch import Tensor

from nsgauge.protocol import observation_cells


def observation_loss(
    logits: Float[Tensor, "rows cells"],
    *,
    masses: Float[Tensor, "rows observations"],
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Mean over rows of -sum_k mass_k log P(observation k).

    An observation that names a cell costs that cell's negative log-probability; one that names an
    axis alone costs that of the sum of the two cells it leaves open, so a triple with a safety
    verdict alone still teaches.

    Args:
        logits: Of the four cells.
        masses: Per row, the share of votes that said each of `protocol.OBSERVATIONS`; sums to one.
        smoothing: Share of the mass that is spread evenly over the four cells, in [0, 1).

    Source: the marginal likelihood of partially observed labels; with full observations it is the
    ordinary cross-entropy.
    """
    log_cells = logits.log_softmax(dim=-1)
    is_open = torch.from_numpy(observation_cells()).to(logits.device)
    blocked = torch.where(is_open, 0.0, -torch.inf).to(logits.dtype)
    log_observations = torch.logsumexp(log_cells.unsqueeze(1) + blocked, dim=-1)
    loss = -(masses * log_observations).sum(dim=-1)
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing * log_cells.mean(dim=-1)
    return loss.mean()
