"""What a block overwrites is its own: activations and sums against torch's, with gradients."""

import pytest
import torch
from torch.nn.functional import gelu, silu

from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.towers.transformer import Block, TransformerShape, activated

WANTED = {
    "gelu": gelu,
    "gelu_tanh": lambda x: gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": silu,
}
RUNS = list(Packed.of([Window((1, 2, 3), (0, 0, 0)), Window((4, 5), (0, 0))]).runs)


@pytest.mark.parametrize("activation", WANTED)
def test_activations_and_their_gradients_are_torchs(activation):
    given = torch.linspace(-9, 9, 400, dtype=torch.float64).view(8, 50)
    weight = torch.randn(50, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, wanted = (given.clone().requires_grad_() for _ in range(2))
    activated(found @ weight, activation=activation).square().sum().backward()
    WANTED[activation](wanted @ weight).square().sum().backward()
    torch.testing.assert_close(found.grad, wanted.grad)
    with torch.inference_mode():
        exact = WANTED[activation](given)
        torch.testing.assert_close(activated(given.clone(), activation=activation), exact)


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_block_leaves_what_it_was_given(norm_first):
    torch.manual_seed(0)
    block = Block(TransformerShape(width=8, layers=1, heads=2, hidden=16, norm_first=norm_first))
    tokens = torch.randn(5, 8)
    before = tokens.clone()
    with torch.inference_mode():
        read = block(tokens, layout=RUNS)
    assert torch.equal(tokens, before)
    learning = block(tokens.clone().requires_grad_(), layout=RUNS)
    torch.testing.assert_close(learning.detach(), read)


def test_under_autocast_the_residual_stays_in_fp32():
    block = Block(TransformerShape(width=8, layers=1, heads=2, hidden=16))
    for linear in (block.out, block.narrow):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    tokens = torch.randn(5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(block(tokens, layout=RUNS), tokens)
