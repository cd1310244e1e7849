"""SigLIP: the preset from a local directory on, against open_clip's own forward."""

import copy
import functools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from nsgauge.errors import SettingsError
from nsgauge.models.lora import LoraSettings, add_lora, load_lora, lora_state, merge_lora
from nsgauge.models.preset import load_preset
from nsgauge.models.towers.convert import image_tower, text_tower
from nsgauge.models.towers.image import Normalisation
from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.towers.pair import Towers, load_towers
from nsgauge.models.windows import RowReader, WindowPolicy

TOLERANCE = 1e-5
CONTEXT = 64
HALF = (0.5, 0.5, 0.5)
PLAIN = Normalisation(mean=HALF, std=HALF)


class Case(NamedTuple):
    """An open_clip model, the directory it was saved in, and the towers read from there."""

    model: Any
    directory: Path
    towers: Towers


def siglip(**text: Any) -> tuple[dict[str, Any], Any]:
    """SigLIP 2's own configuration in two layers, the vocabulary cut to some hundred tokens."""
    configuration = open_clip.get_model_config("ViT-B-16-SigLIP2")
    configuration["text_cfg"] |= {"layers": 2, "vocab_size": 703, **text}
    arguments = {key: value for key, value in configuration.items() if key != "custom_text"}
    model = open_clip.CustomTextCLIP(**arguments).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            # Biases and norms begin as zeros and ones, which would hide one that is left out.
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return configuration, model


@pytest.fixture(scope="module", autouse=True)
def shallow() -> Iterator[None]:
    """The image tower has two layers; timm's name says twelve."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm, "create_model", functools.partial(timm.create_model, depth=2))
        yield


@pytest.fixture(scope="module")
def case(gemma_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """The preset's own widths, heads, patches and context."""
    configuration, model = siglip()
    directory = tmp_path_factory.mktemp("siglip") / "towers"
    shutil.copytree(gemma_directory, directory)
    transform = {"mean": HALF, "std": HALF, "interpolation": "bicubic", "resize_mode": "squash"}
    content = {"model_cfg": configuration, "preprocess_cfg": transform}
    (directory / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")
    save_file(model.state_dict(), directory / "open_clip_model.safetensors")
    towers = load_towers(load_preset("siglip2-b16"), tower_directory=directory)
    yield Case(model, directory, towers)
    shutil.rmtree(directory)


def noise(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 224, 224), generator=generator, dtype=torch.uint8)


def scaled(pixels: Tensor) -> Tensor:
    return pixels.float() / 255 * 2 - 1


def windows_of(towers: Towers, *, texts: tuple[str, ...]) -> list[Window]:
    """The first window of each text."""
    reader = RowReader(
        towers.tokenizer, context=towers.text_context, policy=WindowPolicy(layout="apart")
    )
    rows = reader.read(list(texts), responses=[""] * len(texts), captions=[None] * len(texts))
    return [row.windows[0] for row in rows]


def test_the_directory_says_what_its_towers_expect(case: Case):
    towers = case.towers
    assert (towers.text_context, towers.image_side_px, towers.resize) == (CONTEXT, 224, "squash")
    assert (towers.image.width, towers.text.width) == (768, 768)
    assert not any(
        module.training for tower in (towers.image, towers.text) for module in tower.modules()
    )


@torch.inference_mode()
def test_images_equal_open_clips(case: Case, relative_difference):
    ours = case.towers.image(noise(2))
    wanted = case.model.encode_image(scaled(noise(2)))
    assert relative_difference(ours[:, 0], reference=wanted) <= TOLERANCE


@torch.inference_mode()
def test_patch_vectors_are_the_normed_patches_that_are_pooled(case: Case, relative_difference):
    tower = image_tower(case.model, normalisation=PLAIN, patch_grid=2)
    patches = case.model.visual.trunk.forward_features(scaled(noise(1))).unflatten(1, (14, 14))
    areas = [patches[:, r : r + 7, c : c + 7].mean((1, 2)) for r in (0, 7) for c in (0, 7)]
    ours = tower(noise(1))[:, 1:]
    assert relative_difference(ours, reference=torch.stack(areas, 1)) <= TOLERANCE


@torch.inference_mode()
def test_texts_equal_open_clips_from_the_text_on(case: Case, texts, relative_difference):
    short = [text for text in texts if len(case.towers.tokenizer.ids([text])[0]) < CONTEXT]
    assert len(short) >= 3
    ids = open_clip.get_tokenizer(f"local-dir:{case.directory}")(short)
    ours = case.towers.text(Packed.of(windows_of(case.towers, texts=tuple(short))))
    assert relative_difference(ours, reference=case.model.encode_text(ids)) <= TOLERANCE


@torch.inference_mode()
def test_every_window_of_a_long_text_equals_open_clips(case: Case, texts, relative_difference):
    reader = RowReader(
        case.towers.tokenizer, context=CONTEXT, policy=WindowPolicy(prompt_tokens=20)
    )
    (row,) = reader.read([texts[2]], responses=[texts[3]], captions=[None])
    assert len(row.windows) == 2
    assert {len(window.ids) for window in row.windows} == {CONTEXT}
    ids = torch.tensor([window.ids for window in row.windows])
    ours = case.towers.text(Packed.of(row.windows))
    assert relative_difference(ours, reference=case.model.encode_text(ids)) <= TOLERANCE


def test_a_window_that_isnt_padded_is_refused(case: Case):
    with pytest.raises(ValueError, match="windows of 3 to 64 tokens must be padded to 64"):
        case.towers.text(Packed.of([Window((5,) * 64, (0,) * 64), Window((5, 6, 1), (0, 0, 0))]))


def test_lora_adapts_every_linear_of_both_towers_and_merges_exactly(
    case: Case, relative_difference
):
    for tower, batch, linears in (
        (case.towers.image, noise(1), 2 * 6 + 6),
        (case.towers.text, Packed.of(windows_of(case.towers, texts=("a", "b c"))), 2 * 6 + 1),
    ):
        adapted = copy.deepcopy(tower)
        add_lora(adapted, settings=LoraSettings(rank=2))
        generator = torch.Generator().manual_seed(1)
        drawn = {
            name: 0.05 * torch.randn(tensor.shape, generator=generator)
            for name, tensor in lora_state(adapted).items()
        }
        assert len(drawn) == 2 * linears
        load_lora(adapted, state=drawn)
        with torch.inference_mode():
            before, apart = tower(batch), adapted(batch)
            merge_lora(adapted)
            assert relative_difference(adapted(batch), reference=apart) <= TOLERANCE
        assert relative_difference(apart, reference=before) > 0.01


def test_every_adapter_gets_a_gradient(case: Case):
    for tower, batch in (
        (copy.deepcopy(case.towers.image), noise(1)),
        (copy.deepcopy(case.towers.text), Packed.of(windows_of(case.towers, texts=("a b",)))),
    ):
        add_lora(tower, settings=LoraSettings(rank=2))
        tower(batch).square().sum().backward()
        # A is reached through B, which begins as zero.
        reached = {name: p.grad for name, p in tower.named_parameters() if "lora_B" in name}
        assert reached
        assert all(grad is not None and bool(grad.abs().sum() > 0) for grad in reached.values())


def test_the_fingerprint_is_of_the_vocabulary_too(case: Case, tmp_path):
    directory = tmp_path / "towers"
    shutil.copytree(case.directory, directory)
    content = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    other = load_towers(load_preset("siglip2-b16"), tower_directory=directory)
    shutil.rmtree(directory)
    assert other.fingerprint != case.towers.fingerprint
    again = load_towers(load_preset("siglip2-b16"), tower_directory=case.directory)
    assert again.fingerprint == case.towers.fingerprint


@pytest.mark.parametrize("change", [{"class_token": True}, {"qk_norm": True}, {"reg_tokens": 1}])
def test_image_towers_with_other_parts_are_refused(change):
    small: dict[str, Any] = {"embed_dim": 32, "depth": 1, "num_heads": 2}
    with pytest.MonkeyPatch.context() as patch:
        create = functools.partial(timm.create_model, **small, **change)
        patch.setattr(timm, "create_model", create)
        _, model = siglip(width=32, heads=2, layers=1)
    with pytest.raises(SettingsError, match="SigLIP's ViT"):
        image_tower(model, normalisation=PLAIN, patch_grid=0)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ({"pool_type": "argmax"}, "pools its last token"),
        ({"embed_cls": True}, "plain text tower"),
        ({"proj_type": "none"}, "with a projection"),
    ],
)
def test_text_towers_with_other_parts_are_refused(text, wanted):
    _, model = siglip(width=32, heads=2, layers=1, **text)
    with pytest.raises(SettingsError, match=wanted):
        text_tower(model)
