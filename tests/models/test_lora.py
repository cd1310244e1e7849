import copy

import pytest
import torch
from torch import Tensor, nn

from nsgauge.models.lora import (
    LoraSettings,
    adaptable,
    adapters_off,
    add_lora,
    load_lora,
    lora_state,
    merge_lora,
)
from nsgauge.models.towers.packing import Packed
from nsgauge.models.towers.pair import Towers

SETTINGS = LoraSettings(rank=4, alpha=12)
PIXELS = torch.randint(
    0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
)


class Mixed(nn.Module):
    """A linear, a convolution that is one, and two convolutions that aren't."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 4, 3)
        self.point = nn.Conv2d(4, 8, 1, bias=False)
        self.grouped = nn.Conv2d(8, 8, 1, groups=8)
        self.line = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.grouped(self.point(self.wide(images))).mean((2, 3))
        features: Tensor = self.line(pooled)
        return features


@pytest.fixture
def module() -> Mixed:
    return Mixed().eval()


def randomised(tower: nn.Module) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: 0.3 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in lora_state(tower).items()
    }


def test_switched_off_adapters_leave_the_base_and_come_back_as_they_were(module):
    images = PIXELS.float()
    base = module(images)
    add_lora(module, settings=SETTINGS)
    load_lora(module, state=randomised(module))
    module.line.lora_A.requires_grad_(requires_grad=False)
    trainable = {name for name, p in module.named_parameters() if p.requires_grad}
    adapted = module(images)
    with pytest.raises(KeyboardInterrupt), adapters_off(module):  # noqa: PT012 (a stop inside)
        assert torch.equal(module(images), base)
        raise KeyboardInterrupt
    assert torch.equal(module(images), adapted)
    assert not torch.allclose(adapted, base)
    assert {name for name, p in module.named_parameters() if p.requires_grad} == trainable


def test_linears_and_convolutions_that_are_linears_are_adapted(module):
    assert adaptable(module) == ["point", "line"]
    add_lora(module, settings=SETTINGS)
    trained = {name.split(".")[0] for name, p in module.named_parameters() if p.requires_grad}
    assert trained == {"point", "line"}
    assert all(".lora_" in name for name, p in module.named_parameters() if p.requires_grad)


def test_every_linear_of_a_transformer_is_adapted(build_towers):
    names = adaptable(build_towers(causal=True).text)
    assert len(names) == 2 * 6 + 1
    assert "stack.blocks.0.query" in names
    assert "projection" in names


@torch.inference_mode()
def test_fresh_adapters_change_nothing(pocket_towers: Towers, draw_windows):
    towers = copy.deepcopy(pocket_towers)
    packed = Packed.of(draw_windows([5, 9]))
    before = towers.image(PIXELS), towers.text(packed)
    for tower in (towers.image, towers.text):
        add_lora(tower, settings=SETTINGS)
    assert torch.equal(towers.image(PIXELS), before[0])
    assert torch.equal(towers.text(packed), before[1])


@torch.inference_mode()
def test_an_adapter_adds_alpha_over_rank_times_b_a(module, relative_difference):
    plain = copy.deepcopy(module)
    add_lora(module, settings=SETTINGS)
    state = randomised(module)
    load_lora(module, state=state)
    for name in ("point", "line"):
        down = state[f"{name}.lora_A.default.weight"].flatten(1)
        up = state[f"{name}.lora_B.default.weight"].flatten(1)
        weight = plain.get_submodule(name).weight
        assert isinstance(weight, nn.Parameter)
        weight.add_((12 / 4 * up @ down).view_as(weight))
    images = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    assert relative_difference(module(images), reference=plain(images)) <= 1e-5


@torch.inference_mode()
def test_merged_equals_unmerged_on_both_pocket_towers(
    pocket_towers: Towers, draw_windows, relative_difference
):
    towers = copy.deepcopy(pocket_towers)
    names = [list(tower.state_dict()) for tower in (towers.image, towers.text)]
    packed = Packed.of(draw_windows([5, 9, 30]))
    plain = towers.image(PIXELS), towers.text(packed)
    for tower in (towers.image, towers.text):
        add_lora(tower, settings=SETTINGS)
        load_lora(tower, state={k: 0.1 * v for k, v in randomised(tower).items()})
    adapted = towers.image(PIXELS), towers.text(packed)
    for tower in (towers.image, towers.text):
        merge_lora(tower)
    merged = towers.image(PIXELS), towers.text(packed)
    for before, reference, after in zip(plain, adapted, merged, strict=True):
        assert relative_difference(before, reference=reference) > 1e-2
        assert relative_difference(after, reference=reference) <= 1e-5
    # Nothing of peft is left: the towers have the names that they came with.
    assert names == [list(tower.state_dict()) for tower in (towers.image, towers.text)]


def test_adapters_go_out_and_come_back(module):
    other = copy.deepcopy(module)
    for each in (module, other):
        add_lora(each, settings=SETTINGS)
    state = randomised(module)
    load_lora(module, state=state)
    load_lora(other, state=lora_state(module))
    assert lora_state(other).keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in lora_state(other).items())


def test_a_tower_without_adapters_has_no_state_and_merges_to_itself(module):
    assert lora_state(module) == {}
    load_lora(module, state={})
    merge_lora(module)
    assert adaptable(module) == ["point", "line"]


@pytest.mark.parametrize("fault", ["missing", "surplus", "shape"])
def test_adapters_that_dont_fit_are_refused_and_change_nothing(module, fault):
    add_lora(module, settings=SETTINGS)
    state = randomised(module)
    name = "line.lora_A.default.weight"
    if fault == "missing":
        del state[name]
    elif fault == "surplus":
        state["line.base_layer.weight"] = torch.zeros(5, 8)
    else:
        state[name] = torch.zeros(3, 8)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=r"line\."):
        load_lora(module, state=state)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_merging_in_bf16_is_refused(module):
    add_lora(module, settings=SETTINGS)
    with pytest.raises(ValueError, match="fp32"):
        merge_lora(module.to(torch.bfloat16))
