"""Parity: our towers against the models that their weights come from."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer

from nsgauge.errors import SettingsError
from nsgauge.models.preset import load_preset
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.models.towers.convert import image_tower, text_tower
from nsgauge.models.towers.image import Normalisation
from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.towers.pair import Towers, load_towers, weights_fingerprint
from nsgauge.models.towers.reference import Reference

TOLERANCE = 1e-5
PLAIN = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def packed_texts(tokenizer: TextTokenizer, *, texts: tuple[str, ...], context: int) -> Packed:
    assert tokenizer.start is not None
    opening = (tokenizer.start,)
    windows = [(*opening, *ids[: context - 2], tokenizer.end) for ids in tokenizer.ids(texts)]
    return Packed.of([Window(ids, (0,) * len(ids)) for ids in windows])


def noise_images(count: int, *, side: int = 224) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, 3, side, side)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def normalised(pixels: Tensor, *, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    scale, shift = torch.tensor(std).view(3, 1, 1), torch.tensor(mean).view(3, 1, 1)
    return (pixels.float() / 255 - shift) / scale


@torch.inference_mode()
def test_pocket_text_equals_open_clips_from_the_text_on(
    pocket_towers: Towers, pocket_reference: Reference, texts, relative_difference
):
    directory = pocket_reference.text_directory
    assert directory is not None
    batch = AutoTokenizer.from_pretrained(str(directory))(
        list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt"
    )
    assert batch.input_ids.shape[1] == 256
    reference = pocket_reference.model.get_submodule("text")(batch.input_ids)
    packed = packed_texts(pocket_towers.tokenizer, texts=texts, context=256)
    ours = pocket_towers.text(packed)
    assert relative_difference(ours, reference=reference) <= TOLERANCE


@torch.inference_mode()
def test_pairs_equal_transformers_bert_with_segments_and_mean_pooling(
    pocket_towers: Towers, pocket_reference: Reference, texts, relative_difference
):
    bert = pocket_reference.model.get_submodule("text.transformer")
    tokenizer = pocket_towers.tokenizer
    first, *others = tokenizer.ids(texts[:4])
    assert tokenizer.start is not None
    windows, references = [], []
    for second in others:
        ids = (tokenizer.start, *first, tokenizer.end, *second, tokenizer.end)
        segments = (0,) * (len(first) + 2) + (1,) * (len(second) + 1)
        windows.append(Window(ids, segments))
        hidden = bert(
            input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([segments])
        ).last_hidden_state
        references.append(hidden.mean(dim=1))
    ours = pocket_towers.text(Packed.of(windows))
    assert relative_difference(ours, reference=torch.cat(references)) <= TOLERANCE


@torch.inference_mode()
def test_pocket_images_equal_open_clips_trunk(
    pocket_towers: Towers, pocket_reference: Reference, relative_difference
):
    pixels = noise_images(2)
    scaled = normalised(pixels, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    visual: Any = pocket_reference.model.get_submodule("visual")
    ours = pocket_towers.image(pixels)
    assert ours.shape == (2, 1 + 4, 1280)
    assert relative_difference(ours[:, 0], reference=visual(scaled)) <= TOLERANCE
    feature_map = visual.trunk.forward_features(scaled)
    # 7 x 7 patches in 2 x 2 areas: each reaches over the middle row and column.
    areas = [feature_map[:, :, r : r + 4, c : c + 4].mean((2, 3)) for r in (0, 3) for c in (0, 3)]
    assert relative_difference(ours[:, 1:], reference=torch.stack(areas, 1)) <= TOLERANCE


class SavedCase(NamedTuple):
    """A preset, its towers read from a directory, and the open_clip model saved there."""

    model: Any
    towers: Towers
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    context: int


# LongCLIP is OpenAI's ViT-L/14 with more positions.
CONFIGURATIONS = {
    "clip-vit-b32": ("ViT-B-32", 77),
    "clip-vit-l14": ("ViT-L-14", 77),
    "longclip": ("ViT-L-14-quickgelu", 248),
}


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def saved_case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SavedCase]:
    """The preset's own widths, heads and patches in two layers; random weights."""
    preset = load_preset(request.param)
    name, context = CONFIGURATIONS[request.param]
    assert preset.hub is None or preset.hub.model == name
    configuration = open_clip.get_model_config(name)
    configuration["vision_cfg"]["layers"] = configuration["text_cfg"]["layers"] = 2
    configuration["text_cfg"]["context_length"] = context
    model = open_clip.CLIP(**configuration).eval()
    directory = tmp_path_factory.mktemp("towers")
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    content = {"model_cfg": configuration, "preprocess_cfg": {"mean": mean, "std": std}}
    (directory / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")
    save_file(model.state_dict(), directory / "open_clip_model.safetensors")
    yield SavedCase(model, load_towers(preset, tower_directory=directory), mean, std, context)
    shutil.rmtree(directory)


@torch.inference_mode()
def test_presets_read_local_towers_that_equal_open_clips(
    saved_case: SavedCase, texts, relative_difference
):
    towers = saved_case.towers
    context = saved_case.context
    assert (towers.text_context, towers.image_side_px, towers.resize) == (context, 224, "crop")
    pixels = noise_images(2)
    images = saved_case.model.encode_image(
        normalised(pixels, mean=saved_case.mean, std=saved_case.std)
    )
    assert relative_difference(towers.image(pixels)[:, 0], reference=images) <= TOLERANCE
    ids = open_clip.tokenizer.SimpleTokenizer(context_length=context)(list(texts))
    packed = packed_texts(towers.tokenizer, texts=texts, context=context)
    assert packed.lengths[-1] == context
    ours = towers.text(packed)
    assert relative_difference(ours, reference=saved_case.model.encode_text(ids)) <= TOLERANCE


@pytest.fixture(scope="module")
def deep_model() -> Any:
    return open_clip.CLIP(**open_clip.get_model_config("ViT-B-32")).eval()


@torch.inference_mode()
def test_vit_b_32_in_full_depth_equals_open_clips(deep_model: Any, texts, relative_difference):
    pixels = noise_images(1)
    tower = image_tower(deep_model, normalisation=PLAIN, patch_grid=1)
    scaled = normalised(pixels, mean=PLAIN.mean, std=PLAIN.std)
    ours = tower(pixels)
    assert relative_difference(ours[:, 0], reference=deep_model.encode_image(scaled)) <= TOLERANCE
    tokenizer = open_clip.tokenizer.SimpleTokenizer()
    ids = [
        (tokenizer.sot_token_id, *tokenizer.encode(t), tokenizer.eot_token_id) for t in texts[:3]
    ]
    packed = Packed.of([Window(window, (0,) * len(window)) for window in ids])
    reference = deep_model.encode_text(tokenizer(list(texts[:3])))
    assert relative_difference(text_tower(deep_model)(packed), reference=reference) <= TOLERANCE


@torch.inference_mode()
def test_vit_patch_vectors_are_open_clips_projected_tokens(deep_model: Any, relative_difference):
    scaled = normalised(noise_images(1), mean=PLAIN.mean, std=PLAIN.std)
    tower = image_tower(deep_model, normalisation=PLAIN, patch_grid=1)
    visual = deep_model.visual
    tokens = visual.transformer(visual._embeds(scaled))
    wanted = visual.ln_post(tokens) @ visual.proj
    patches = tower(noise_images(1))[:, 1]
    assert relative_difference(patches, reference=wanted[:, 1:].mean(dim=1)) <= TOLERANCE


def small_clip(
    *,
    vision: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    quick_gelu: bool = False,
) -> Any:
    vision_cfg = {"layers": 2, "width": 128, "patch_size": 16, "image_size": 32, **(vision or {})}
    text_cfg = {"layers": 2, "width": 32, "heads": 2, "vocab_size": 99, **(text or {})}
    model = open_clip.CLIP(
        embed_dim=16, vision_cfg=vision_cfg, text_cfg=text_cfg, quick_gelu=quick_gelu
    )
    return model.eval()


@torch.inference_mode()
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_either_gelu_is_the_one_that_the_weights_were_trained_with(quick_gelu, relative_difference):
    model = small_clip(quick_gelu=quick_gelu)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Wide enough apart for the two activations to differ.
            if "c_fc" in name:
                parameter.mul_(20)
    pixels = noise_images(2, side=32)
    reference = model.encode_image(normalised(pixels, mean=PLAIN.mean, std=PLAIN.std))
    ours = image_tower(model, normalisation=PLAIN, patch_grid=0)(pixels)[:, 0]
    assert relative_difference(ours, reference=reference) <= TOLERANCE
    ids = (97, 5, 6, 98)
    padded = torch.tensor([ids + (0,) * 73])
    ours = text_tower(model)(Packed.of([Window(ids, (0,) * 4)]))
    assert relative_difference(ours, reference=model.encode_text(padded)) <= TOLERANCE


@pytest.mark.parametrize(
    ("vision", "wanted"),
    [
        ({"attentional_pool": True, "attn_pooler_queries": 4}, "attention pooler"),
        ({"pool_type": "avg"}, "class token"),
        ({"ls_init_value": 0.1}, "layer scale"),
    ],
)
def test_image_towers_of_another_kind_are_refused(vision, wanted):
    with pytest.raises(SettingsError, match=wanted):
        image_tower(small_clip(vision=vision), normalisation=PLAIN, patch_grid=0)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ({"no_causal_mask": True}, "causal"),
        ({"pool_type": "last"}, "end token"),
        ({"ls_init_value": 0.1}, "layer scale"),
    ],
)
def test_text_towers_of_another_kind_are_refused(text, wanted):
    with pytest.raises(SettingsError, match=wanted):
        text_tower(small_clip(text=text))


def test_a_tower_that_cant_stop_early_is_refused():
    with pytest.raises(SettingsError, match=r"text_layers is 1, but .* BERT-like"):
        text_tower(small_clip(), layers=1)


@torch.inference_mode()
def test_the_first_layers_of_a_bert_are_its_hidden_states(
    pocket_reference: Reference, pocket_towers: Towers, draw_windows, relative_difference
):
    tower = text_tower(pocket_reference.model, layers=2)
    bert = pocket_reference.model.get_submodule("text.transformer")
    (window,) = draw_windows([9], vocabulary=30000)
    output = bert(
        input_ids=torch.tensor([window.ids]),
        token_type_ids=torch.tensor([window.segments]),
        output_hidden_states=True,
    )
    ours = tower.tokens(Packed.of([window]))
    assert relative_difference(ours, reference=output.hidden_states[2][0]) <= TOLERANCE
    assert weights_fingerprint(tower) != weights_fingerprint(pocket_towers.text)
    with pytest.raises(SettingsError, match=r"text_layers is 7, but this bert .* has 6 layers"):
        text_tower(pocket_reference.model, layers=7)


@pytest.fixture
def bert_directory(tmp_path: Path) -> Path:
    configuration = {
        "model_type": "bert",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 50,
        "max_position_embeddings": 20,
    }
    (tmp_path / "config.json").write_text(json.dumps(configuration), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ({"hf_pooler_type": "cls_last_hidden_state_pooler"}, "mean"),
        ({"hf_proj_type": "linear"}, "projection"),
    ],
)
def test_a_bert_that_we_would_read_differently_is_refused(bert_directory: Path, text, wanted):
    text_cfg = {
        "hf_model_name": str(bert_directory),
        "hf_model_pretrained": False,
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": None,
        **text,
    }
    vision_cfg = {"layers": 1, "width": 64, "patch_size": 16, "image_size": 32}
    model = open_clip.CustomTextCLIP(embed_dim=32, vision_cfg=vision_cfg, text_cfg=text_cfg)
    with pytest.raises(SettingsError, match=wanted):
        text_tower(model)


def test_converted_towers_are_in_eval_mode(pocket_towers: Towers):
    for tower in (pocket_towers.image, pocket_towers.text):
        assert not any(module.training for module in tower.modules())
