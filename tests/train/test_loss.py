"""The loss, against sums written out by hand and torch's own cross-entropy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from nsgauge.protocol import CELLS, OBSERVATIONS, axes_of
from nsgauge.train.loss import committee_loss, observation_losses, row_losses


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


@pytest.mark.parametrize(("first", "positive"), [(4, [1, 3]), (6, [2, 3])])
def test_smoothing_says_nothing_of_an_axis_that_nobody_spoke_of(first, positive):
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(2))
    log_cells = logits.log_softmax(dim=1)
    ours = row_losses(
        log_cells,
        log_cells=log_cells,
        masses=masses_of(first, first + 1),
        shares=torch.zeros(2, 4),
        smoothing=0.2,
    )
    negative = [cell for cell in range(4) if cell not in positive]
    axis = torch.stack([logits[:, cells].logsumexp(dim=1) for cells in (negative, positive)], dim=1)
    theirs = cross_entropy(axis, torch.tensor([0, 1]), label_smoothing=0.2, reduction="none")
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


def test_classes_are_learned_where_they_are_named_and_cells_elsewhere():
    # Three classes in the first cell, one in each other.
    probabilities = torch.tensor([[0.1, 0.2, 0.1, 0.3, 0.2, 0.1]]).expand(3, 6)
    log_classes = probabilities.log()
    log_cells = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).expand(3, 4).log()
    shares = torch.zeros(3, 6)
    shares[0, 1] = 1
    shares[1, [0, 3]] = torch.tensor([0.25, 0.75])
    losses = row_losses(
        log_classes, log_cells=log_cells, masses=masses_of(0, 0, 0), shares=shares, smoothing=0.0
    )
    named = [-math.log(0.2), -0.25 * math.log(0.1) - 0.75 * math.log(0.3)]
    assert losses.tolist() == pytest.approx([*named, -math.log(0.4)])
    evenly = -sum(math.log(p) for p in (0.1, 0.2, 0.1, 0.3, 0.2, 0.1)) / 6
    smooth = row_losses(
        log_classes, log_cells=log_cells, masses=masses_of(0, 0, 0), shares=shares, smoothing=0.1
    )
    wanted = [0.9 * loss + 0.1 * evenly for loss in losses.tolist()]
    assert smooth.tolist() == pytest.approx(wanted)


def test_members_have_losses_of_their_own():
    generator = torch.Generator().manual_seed(2)
    said = torch.randn(3, 5, 4, generator=generator).log_softmax(dim=-1)
    given_shares = torch.eye(4)[[0, 1, 2, 3, 0]] * torch.tensor([1, 1, 0, 0, 1])[:, None]
    masses = masses_of(3, 5, 6, 2, 1)
    together = row_losses(said, log_cells=said, masses=masses, shares=given_shares, smoothing=0.3)
    for member in range(3):
        alone = row_losses(
            said[member], log_cells=said[member], masses=masses, shares=given_shares, smoothing=0.3
        )
        torch.testing.assert_close(together[member], alone)


def test_a_committees_loss_by_hand():
    losses = torch.tensor([[1.0, 2.0, 6.0], [3.0, 5.0, 7.0]])
    teaches = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    assert float(committee_loss(losses, teaches=teaches)) == pytest.approx(7 / 2 + 8 / 2)
    alone = committee_loss(losses[:1], teaches=torch.ones(1, 3))
    assert float(alone) == pytest.approx(3.0)


def test_a_member_that_no_row_of_a_step_teaches_costs_nothing():
    losses = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    teaches = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert float(committee_loss(losses, teaches=teaches)) == pytest.approx(4)


def test_rows_that_dont_teach_a_member_give_it_no_gradient():
    parts = torch.tensor([0, 1, 2, 0, -1])
    teaches = (torch.arange(3)[:, None] != parts).float()
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(4), requires_grad=True)
    said = logits.log_softmax(dim=-1)
    losses = row_losses(
        said, log_cells=said, masses=masses_of(0, 1, 2, 3, 5), shares=torch.zeros(5, 4)
    )
    committee_loss(losses, teaches=teaches).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad.abs().sum(dim=-1) > 0, teaches.bool())
