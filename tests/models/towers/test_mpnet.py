"""Parity of the MPNet text tower with transformers' MPNetModel."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import MPNetConfig, MPNetModel

from nsgauge.errors import SettingsError
from nsgauge.models.lora import LoraSettings, add_lora, merge_lora
from nsgauge.models.preset import PackagedArchive, load_preset
from nsgauge.models.towers.attention import packed_attention
from nsgauge.models.towers.huggingface import mpnet_tower
from nsgauge.models.towers.packaged import text_files
from nsgauge.models.towers.packing import Packed, Run, Window
from nsgauge.models.towers.pair import Towers, load_towers
from nsgauge.models.towers.transformer import DistanceBias

TOLERANCE = 1e-5
LENGTHS = [3, 12, 1, 384, 12, 130, 40, 130]
PRESET = load_preset("pocket-mpnet")
assert PRESET.weights is not None
assert isinstance(PRESET.weights.text, PackagedArchive)
ARCHIVE: PackagedArchive = PRESET.weights.text


@pytest.fixture(scope="module")
def model() -> MPNetModel:
    """MPNet's own positions and distances, small otherwise; weights that all count."""
    config = MPNetConfig(
        vocab_size=95,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=514,
    )
    model: MPNetModel = MPNetModel(config, add_pooling_layer=False).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def hidden(model: MPNetModel, *, window: Window, layers: int) -> Tensor:
    """What transformers makes of one window after so many layers."""
    output = model(input_ids=torch.tensor([window.ids]), output_hidden_states=True)
    states: tuple[Tensor, ...] = output.hidden_states
    return states[layers][0]


@torch.inference_mode()
@pytest.mark.parametrize("layers", [None, 1, 2])
def test_tokens_and_windows_equal_transformers(model, layers, draw_windows, relative_difference):
    tower = mpnet_tower(model.config.to_dict(), state=model.state_dict(), layers=layers)
    # transformers finds the positions by the padding's id, 1, which no window of ours holds.
    windows = [
        Window(tuple(2 + token for token in window.ids), window.segments)
        for window in draw_windows(LENGTHS)
    ]
    references = [hidden(model, window=window, layers=layers or 3) for window in windows]
    pooled = torch.stack([reference.mean(dim=0) for reference in references])
    packed = Packed.of(windows)
    assert relative_difference(tower(packed), reference=pooled) <= TOLERANCE
    in_packed_order = torch.cat(sorted(references, key=len))
    assert relative_difference(tower.tokens(packed), reference=in_packed_order) <= TOLERANCE
    assert (tower.width, tower.token_width, tower.shape.context) == (32, 32, 512)
    assert len(tower.stack.blocks) == (layers or 3)


@pytest.mark.parametrize("length", [1, 2, 9, 40, 300])
def test_the_bias_by_distance_is_transformers(model, length):
    bias = DistanceBias(buckets=32, heads=4)
    bias.load_state_dict({"weight": model.encoder.relative_attention_bias.weight})
    wanted = model.encoder.compute_position_bias(torch.empty(1, length))[0]
    torch.testing.assert_close(bias(length), wanted, rtol=0, atol=0)


def test_a_class_of_distances_by_hand():
    bias = DistanceBias(buckets=32, heads=1)
    with torch.no_grad():
        bias.weight.copy_(torch.arange(32.0)[:, None])
    row = bias(200)[0]
    # Earlier tokens have the classes 0 to 15, later ones 16 to 31; 8 single distances, then
    # powers of 16 ** (1 / 8) from 8 on: 12 lies in the second of them, 127 in the last but none.
    assert [int(row[150, 150 - back]) for back in (0, 1, 7, 8, 12, 127, 150)] == [
        0,
        1,
        7,
        8,
        9,
        15,
        15,
    ]
    assert [int(row[0, ahead]) for ahead in (1, 7, 8, 12, 127, 199)] == [17, 23, 24, 25, 31, 31]


@torch.inference_mode()
def test_biased_attention_equals_one_attention_a_run():
    generator = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(11, 2, 4, generator=generator) for _ in range(3))
    bias = torch.randn(2, 5, 5, generator=generator)
    runs = (Run(0, 2, 3), Run(6, 1, 5))
    found = packed_attention(query, key=key, value=value, layout=runs, causal=False, bias=bias)
    for stretch in (slice(0, 3), slice(3, 6), slice(6, 11)):
        q, k, v = (tensor[stretch].transpose(0, 1) for tensor in (query, key, value))
        length = q.shape[1]
        scores = q @ k.transpose(-1, -2) / 2 + bias[:, :length, :length]
        wanted = (scores.softmax(dim=-1) @ v).transpose(0, 1)
        torch.testing.assert_close(found[stretch], wanted, rtol=0, atol=1e-6)


def test_adapters_go_on_its_linears_and_merge(model, draw_windows, relative_difference):
    tower = mpnet_tower(model.config.to_dict(), state=model.state_dict(), layers=2)
    add_lora(tower, settings=LoraSettings(rank=2))
    learned = [name for name, parameter in tower.named_parameters() if parameter.requires_grad]
    assert len(learned) == 2 * 2 * 6
    with torch.no_grad():
        for name, parameter in tower.named_parameters():
            if ".lora_B" in name:
                parameter.fill_(0.05)
    packed = Packed.of(draw_windows(LENGTHS))
    tower(packed).sum().backward()
    merged = copy.deepcopy(tower)
    merge_lora(merged)
    with torch.inference_mode():
        assert relative_difference(merged(packed), reference=tower(packed)) <= TOLERANCE


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"model_type": "roberta"}, "expected an MPNet text tower"),
        ({"hidden_act": "relu"}, "with gelu"),
        ({"relative_attention_num_buckets": 16}, "32 classes of distances"),
        ({"hidden_size": 48}, "don't fit each other"),
        ({"num_hidden_layers": 4}, "don't fit each other"),
        ({"num_hidden_layers": None}, "don't fit each other"),
    ],
)
def test_another_configuration_is_refused_in_one_line(model, change, wanted):
    with pytest.raises(SettingsError, match=wanted) as caught:
        mpnet_tower({**model.config.to_dict(), **change}, state=model.state_dict(), layers=None)
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_refused(model):
    state = {name: tensor for name, tensor in model.state_dict().items() if "layer.1." not in name}
    with pytest.raises(SettingsError, match="don't fit each other"):
        mpnet_tower(model.config.to_dict(), state=state, layers=None)


def test_more_layers_than_there_are_are_refused(model):
    with pytest.raises(SettingsError, match=r"text_layers is 4, but this mpnet .* has 3 layers"):
        mpnet_tower(model.config.to_dict(), state=model.state_dict(), layers=4)


@pytest.fixture(scope="module")
def directory() -> Path:
    """Where the packages of the text tower are unpacked."""
    try:
        return text_files(ARCHIVE).weights.parent
    except SettingsError as error:
        if "is not installed" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="module")
def towers(directory: Path) -> Towers:
    assert directory.is_dir()
    return load_towers(PRESET)


def test_the_preset_is_what_it_says(towers, pocket_towers):
    assert (towers.text_context, towers.text.width, len(towers.text.stack.blocks)) == (384, 768, 8)
    assert towers.tokenizer.between == (towers.tokenizer.end,) == (2,)
    assert towers.image.patch_grid == 2
    images, pockets = towers.image.state_dict(), pocket_towers.image.state_dict()
    assert images.keys() == pockets.keys()
    assert all(torch.equal(images[name], pockets[name]) for name in images)
    assert towers.fingerprint != load_fingerprint(layers=7)


def load_fingerprint(*, layers: int) -> str:
    return load_towers(PRESET.model_copy(update={"text_layers": layers})).fingerprint


@torch.inference_mode()
def test_the_real_towers_tokens_equal_transformers(towers, directory, texts, relative_difference):
    model = MPNetModel.from_pretrained(str(directory), add_pooling_layer=False).eval()
    tokenizer = towers.tokenizer
    ids = tokenizer.ids([*texts, ""])
    windows = [(tokenizer.start, *text[:382], tokenizer.end) for text in ids]
    windows += [
        (tokenizer.start, *text[:60], tokenizer.end, *tokenizer.between, *ids[3], tokenizer.end)
        for text in ids
    ]
    given = [Window(window, (0,) * len(window)) for window in windows]
    packed = Packed.of(given)
    references = [hidden(model, window=window, layers=8) for window in given]
    in_packed_order = torch.cat(sorted(references, key=len))
    assert relative_difference(towers.text.tokens(packed), reference=in_packed_order) <= TOLERANCE
    pooled = torch.stack([reference.mean(dim=0) for reference in references])
    assert relative_difference(towers.text(packed), reference=pooled) <= TOLERANCE
