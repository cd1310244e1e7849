import copy
from dataclasses import replace

import torch

from nsgauge.models.lora import LoraSettings, add_lora
from nsgauge.models.towers.pair import Towers, weights_fingerprint
from nsgauge.models.towers.text import TextTower
from tests.models.towers.compiling import LLAMA, tower_of


def test_the_pocket_pair_is_what_its_preset_says(pocket_towers: Towers):
    assert (pocket_towers.text_context, pocket_towers.image_side_px) == (256, 224)
    assert pocket_towers.resize == "crop"
    assert (pocket_towers.image.width, pocket_towers.text.width) == (1280, 384)
    assert pocket_towers.image.patch_grid == 2


def test_the_fingerprint_is_of_the_weights_alone(pocket_towers: Towers):
    again = weights_fingerprint(pocket_towers.image, pocket_towers.text)
    assert again == pocket_towers.fingerprint
    assert len(again) == 64


def test_any_changed_weight_changes_the_fingerprint(build_towers):
    towers = build_towers()
    before = weights_fingerprint(towers.image, towers.text)
    assert weights_fingerprint(towers.text, towers.image) != before
    assert weights_fingerprint(*(copy.deepcopy(t) for t in (towers.image, towers.text))) == before
    with torch.no_grad():
        towers.text.norm.bias[3] += 1e-6
    assert weights_fingerprint(towers.image, towers.text) != before


def test_adapters_change_the_fingerprint(build_towers):
    towers = build_towers()
    before = weights_fingerprint(towers.text)
    add_lora(towers.text, settings=LoraSettings(rank=2))
    assert weights_fingerprint(towers.text) != before


def test_the_layer_that_tokens_are_taken_after_is_part_of_the_fingerprint():
    """All layers are there for the likelihoods, so no weight would tell."""
    shape = tower_of(LLAMA, mean=True).shape
    torch.manual_seed(0)
    first = TextTower(replace(shape, taken_after=1))
    second = TextTower(replace(shape, taken_after=2))
    second.load_state_dict(first.state_dict())
    assert weights_fingerprint(first) != weights_fingerprint(second)
