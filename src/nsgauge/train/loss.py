"""The loss: cross-entropy against what the teacher said, where it may have said only part."""

import torch
from jaxtyping import Float
from torch import Tensor

from nsgauge.protocol import observation_cells


def observation_losses(
    log_cells: Float[Tensor, "*rows cells"], *, masses: Float[Tensor, "rows observations"]
) -> Float[Tensor, "*rows"]:
    """Per row, -sum_k mass_k log P(observation k).

    An observation that names a cell costs that cell's negative log-probability; one that names an
    axis alone costs that of the sum of the two cells it leaves open, so a triple with a safety
    verdict alone still teaches.

    Args:
        log_cells: Log-probabilities of the four cells.
        masses: Per row, the share of votes that said each of `protocol.OBSERVATIONS`; sums to one.

    Source: the marginal likelihood of partially observed labels; with full observations it is the
    ordinary cross-entropy.
    """
    is_open = torch.from_numpy(observation_cells()).to(log_cells.device)
    blocked = torch.where(is_open, 0.0, -torch.inf).to(log_cells.dtype)
    log_observations = torch.logsumexp(log_cells.unsqueeze(-2) + blocked, dim=-1)
    return -(masses * log_observations).sum(dim=-1)


def row_losses(
    log_classes: Float[Tensor, "*rows classes"],
    *,
    log_cells: Float[Tensor, "*rows cells"],
    masses: Float[Tensor, "rows observations"],
    shares: Float[Tensor, "rows classes"],
    smoothing: float = 0.0,
) -> Float[Tensor, "*rows"]:
    """Per row, the cross-entropy against its classes where the teacher named them, else its cells.

    Args:
        log_classes: Log-probabilities of the classes.
        log_cells: Of the four cells, the same probabilities summed.
        masses: As in `observation_losses`.
        shares: Per row, the share of votes that named each class; zeros where none did.
        smoothing: Share of the mass, in [0, 1), that is spread evenly over what could have been
            said: over the classes, or, of a vote on one axis alone, over the two values of that.
    """
    by_class = -(shares * log_classes).sum(dim=-1)
    by_cell = observation_losses(log_cells, masses=masses)
    losses = torch.where(shares.sum(dim=-1) > 0, by_class, by_cell)
    if smoothing:
        even = _even_losses(log_classes, log_cells=log_cells, masses=masses)
        losses = (1 - smoothing) * losses + smoothing * even
    return losses


def _even_losses(
    log_classes: Float[Tensor, "*rows classes"],
    *,
    log_cells: Float[Tensor, "*rows cells"],
    masses: Float[Tensor, "rows observations"],
) -> Float[Tensor, "*rows"]:
    """Against everything that could have been said in the place of each vote, evenly.

    Of an axis that a vote is silent on, smoothing mustn't say anything either.
    """
    cells = log_cells.shape[-1]
    pairs = masses[:, cells:].reshape(-1, 2, 2).mean(dim=-1, keepdim=True).expand(-1, 2, 2)
    told = torch.cat([torch.zeros_like(masses[:, :cells]), pairs.reshape(-1, 4)], dim=-1)
    of_cells = masses[:, :cells].sum(dim=-1)
    return observation_losses(log_cells, masses=told) - of_cells * log_classes.mean(dim=-1)


def committee_loss(
    losses: Float[Tensor, "members rows"], *, teaches: Float[Tensor, "members rows"]
) -> Float[Tensor, ""]:
    """Each member's mean over the rows that teach it, summed: members don't feel each other.

    Args:
        losses: Per member and row.
        teaches: 1 where a row teaches a member, else 0.
    """
    means = (losses * teaches).sum(dim=1) / teaches.sum(dim=1).clamp(min=1)
    return means.sum()
