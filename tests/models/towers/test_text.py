import pytest
import torch

from nsgauge.models.towers.packing import Packed

LENGTHS = [7, 3, 31, 3, 1]


@torch.inference_mode()
@pytest.mark.parametrize("causal", [True, False])
def test_a_window_is_its_pooled_tokens(causal, build_towers, draw_windows, relative_difference):
    tower = build_towers(causal=causal).text
    packed = Packed.of(draw_windows(LENGTHS))
    tokens = tower.tokens(packed)
    assert tokens.shape == (sum(LENGTHS), tower.token_width)
    stretches = tokens.split(list(packed.lengths))
    # Back in the order given: 1 is the shortest, then the two of 3, 7 and 31.
    given = [stretches[place] for place in (3, 1, 4, 2, 0)]
    pooled = [stretch[-1] if causal else stretch.mean(dim=0) for stretch in given]
    wanted = tower.projection(torch.stack(pooled))
    assert relative_difference(tower(packed), reference=wanted) <= 1e-6
