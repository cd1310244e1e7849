"""Forwards that outgrow the memory: halved, in order, none lost, and grown again."""

from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.errors import ScoringError
from nsgauge.eval.scoring.memory import FORWARDS_BEFORE_GROWTH, Budget
from nsgauge.models.prediction import batches_under_budget

FAULTS = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
)


class Memory:
    """Holds so many tokens, and notes the batches that fit."""

    def __init__(self, tokens: int, *, sizes: list[int], fault: Exception) -> None:
        self.tokens = tokens
        self.sizes = sizes
        self.fault = fault
        self.batches: list[list[int]] = []

    def forward(self, batch: list[int]) -> None:
        if sum(self.sizes[number] for number in batch) > self.tokens:
            raise self.fault
        self.batches.append(batch)


@given(
    st.lists(st.integers(1, 9), max_size=60),
    st.integers(9, 200),
    st.integers(9, 200),
    st.sampled_from(FAULTS),
)
def test_every_member_is_run_once_in_order_whatever_the_memory(sizes, budget, tokens, fault):
    memory = Memory(tokens, sizes=sizes, fault=fault)
    Budget(budget).run(sizes, forward=memory.forward)
    planned = batches_under_budget(sizes, tokens_per_batch=budget)
    assert list(chain(*memory.batches)) == list(chain(*planned))
    if tokens >= budget:
        assert memory.batches == planned


def test_batches_grow_again_when_the_memory_is_there():
    sizes = [1] * 400
    memory = Memory(4, sizes=sizes, fault=MemoryError())
    budget = Budget(16)
    budget.run(sizes[:16], forward=memory.forward)
    assert budget.tokens == 4
    memory.tokens = 100
    budget.run(sizes, forward=memory.forward)
    assert budget.tokens == 16
    lengths = [len(batch) for batch in memory.batches]
    assert lengths == sorted(lengths)
    assert lengths.count(4) == FORWARDS_BEFORE_GROWTH


def test_a_single_window_that_does_not_fit_ends_the_run():
    memory = Memory(4, sizes=[2, 9, 2], fault=MemoryError())
    with pytest.raises(ScoringError, match="single window of 9 tokens"):
        Budget(16).run(memory.sizes, forward=memory.forward)


def test_another_fault_is_not_taken_for_want_of_memory():
    with pytest.raises(RuntimeError, match="shapes differ"):
        Budget(16).run(
            [1], forward=Memory(0, sizes=[1], fault=RuntimeError("shapes differ")).forward
        )
