"""Classes inside cells, against probabilities added up by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.models.classes import CELL_CLASSES, CellClass, cell_log_probabilities
from nsgauge.protocol import CELLS, Cell

LOGITS = st.lists(st.floats(-30, 30), min_size=4, max_size=9)


def classes_in(*cells: Cell) -> tuple[CellClass, ...]:
    return tuple(CellClass(name=f"class {n}", cell=cell) for n, cell in enumerate(cells))


def test_a_cells_probability_is_the_sum_over_its_classes():
    classes = classes_in(
        Cell.UNGROUNDED_UNSAFE,
        Cell.GROUNDED_SAFE,
        Cell.GROUNDED_SAFE,
        Cell.UNGROUNDED_SAFE,
        Cell.GROUNDED_UNSAFE,
        Cell.GROUNDED_SAFE,
    )
    said = torch.tensor([[0.1, 0.2, 0.05, 0.25, 0.3, 0.1], [0.5, 0.1, 0.1, 0.1, 0.1, 0.1]])
    cells = cell_log_probabilities(said.log(), classes=classes).exp()
    wanted = torch.tensor([[0.35, 0.3, 0.25, 0.1], [0.3, 0.1, 0.1, 0.5]])
    torch.testing.assert_close(cells, wanted)


def test_classes_that_are_the_cells_stay_as_they_are():
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cell_log_probabilities(logits, classes=CELL_CLASSES), logits)
    assert [each.cell for each in CELL_CLASSES] == list(CELLS)
    assert [each.name for each in CELL_CLASSES] == list(CELLS)


@given(LOGITS, st.floats(-50, 50), st.randoms(use_true_random=False))
def test_cells_of_any_classes_are_sums_up_to_the_same_constant(logits, constant, draw):
    cells = [*CELLS, *(draw.choice(CELLS) for _ in logits[4:])]
    draw.shuffle(cells)
    found = cell_log_probabilities(
        torch.tensor([logits], dtype=torch.float64) + constant, classes=classes_in(*cells)
    )
    for cell, log_probability in zip(CELLS, found[0].tolist(), strict=True):
        inside = [math.exp(x) for x, own in zip(logits, cells, strict=True) if own is cell]
        assert log_probability == pytest.approx(math.log(sum(inside)) + constant, abs=1e-9)


def test_a_cell_without_a_class_is_impossible():
    classes = classes_in(Cell.GROUNDED_SAFE, Cell.UNGROUNDED_UNSAFE)
    cells = cell_log_probabilities(torch.tensor([[0.25, 0.75]]).log(), classes=classes)
    torch.testing.assert_close(cells.exp(), torch.tensor([[0.25, 0.0, 0.0, 0.75]]))
