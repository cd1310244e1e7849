"""Classes: what the head tells apart; the four cells, or finer ones that each lie in a cell."""

import torch
from jaxtyping import Float
from torch import Tensor

from nsgauge.protocol import CELLS, Cell
from nsgauge.settings import Settings


class CellClass(Settings):
    """One class.

    Attributes:
        name: As the teacher calls it.
        cell: The cell it lies in.
    """

    name: str
    cell: Cell


CELL_CLASSES = tuple(CellClass(name=str(cell), cell=cell) for cell in CELLS)
"""The cells themselves, for a teacher that names nothing finer."""


def cell_log_probabilities(
    log_classes: Float[Tensor, "*rows classes"], *, classes: tuple[CellClass, ...]
) -> Float[Tensor, "*rows cells"]:
    """Log-probability of each cell: of the sum over its classes; -inf for a cell without any."""
    columns = [[index for index, each in enumerate(classes) if each.cell is cell] for cell in CELLS]
    return torch.stack([log_classes[..., column].logsumexp(dim=-1) for column in columns], dim=-1)
