"""The loss, against sums written out by hand and torch's own cross-entropy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from nsgauge.protocol import CELLS, OBSERVATIONS, axes_of
from nsgauge.train.loss import observation_losses, row_losses


def masses_of(*observations: int) -> torch.Tensor:
    return torch.eye(len(OBSERVATIONS))[list(observations)]


def test_a_named_cell_costs_what_cross_entropy_says():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 1, 2])
    log_cells = logits.log_softmax(dim=1)
    ours = observation_losses(log_cells, masses=masses_of(*labels.tolist()))
    torch.testing.assert_close(ours, cross_entropy(logits, labels, reduction="none"))


def test_smoothing_is_torchs_label_smoothing():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([3, 0, 1, 2, 2])
    log_cells = logits.log_softmax(dim=1)
    ours = row_losses(
        log_cells,
        log_cells=log_cells,
        masses=masses_of(*labels.tolist()),
        shares=torch.zeros(5, 4),
        smoothing=0.2,
    )
    theirs = cross_entropy(logits, labels, label_smoothing=0.2, reduction="none")
    torch.testing.assert_close(ours, theirs)


@given(
    logits=st.lists(st.floats(-8, 8), min_size=4, max_size=4),
    weights=st.lists(st.floats(0.01, 1), min_size=8, max_size=8),
)
def test_an_axis_alone_costs_the_sum_of_the_cells_it_leaves_open(logits, weights):
    shares = np.array(weights) / sum(weights)
    exponentials = np.exp(logits)
    cells = exponentials / exponentials.sum()
    expected = 0.0
    for share, (safety, grounding) in zip(shares, OBSERVATIONS, strict=True):
        left = 0.0
        for probability, cell in zip(cells, CELLS, strict=True):
            cell_safety, cell_grounding = axes_of(cell)
            fits_safety = safety is None or safety == cell_safety
            fits_grounding = grounding is None or grounding == cell_grounding
            left += probability if fits_safety and fits_grounding else 0.0
        expected -= share * math.log(left)
    ours = observation_losses(
        torch.tensor([logits], dtype=torch.float64).log_softmax(dim=1),
        masses=torch.tensor(shares[None]),
    )
    assert float(ours) == pytest.approx(expected, rel=1e-6)


def test_an_axis_alone_leaves_the_other_axis_untaught():
    unsafe_alone = OBSERVATIONS.index((axes_of(CELLS[1])[0], None))
    logits = torch.zeros(1, 4, requires_grad=True)
    observation_losses(logits.log_softmax(dim=1), masses=masses_of(unsafe_alone)).sum().backward()
    assert logits.grad is not None
    grounded_safe, grounded_unsafe, ungrounded_safe, ungrounded_unsafe = logits.grad[0].tolist()
    assert grounded_unsafe < 0 < grounded_safe
    assert grounded_unsafe + grounded_safe == pytest.approx(ungrounded_unsafe + ungrounded_safe)
