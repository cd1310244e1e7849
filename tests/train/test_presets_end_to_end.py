"""Hub presets from a local directory to scores: train, save, move the towers, load, score."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from transformers import GemmaTokenizer

from nsgauge.checkpoints.bundle import load_bundle
from nsgauge.data.tables import read_triples, triples_of
from nsgauge.errors import BundleError
from nsgauge.eval.scoring.classifier import Classifier
from nsgauge.models.preset import PRESETS, load_preset
from nsgauge.records import ScoreStatus
from nsgauge.train.corpus import load_corpus
from nsgauge.train.features import corpus_logits
from nsgauge.train.fit import train
from nsgauge.train.module import NetworkModule
from nsgauge.train.recipe import Recipe, load_recipe

SIDE = 32
TEXT = {"width": 32, "heads": 2, "layers": 1}
TRANSFORM = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
PRECISIONS = {"clip-vit-b32": "fp32", "siglip2-b16": "bf16"}


class Case(NamedTuple):
    """A finished training and what it was made of."""

    recipe: Recipe
    bundle: Path
    moved: Path
    logits: np.ndarray
    autocast: set[tuple[bool, torch.dtype]]


def write_clip(directory: Path) -> None:
    """Towers of CLIP's kind, its own context and vocabulary, narrow and in one layer."""
    configuration: dict[str, Any] = {
        "embed_dim": 16,
        "vision_cfg": {"layers": 1, "width": 64, "patch_size": 16, "image_size": SIDE},
        "text_cfg": TEXT,
    }
    model = open_clip.CLIP(**configuration)
    content = {"model_cfg": configuration, "preprocess_cfg": TRANSFORM}
    (directory / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")
    save_file(model.state_dict(), directory / "open_clip_model.safetensors")


def write_siglip(directory: Path) -> None:
    """Towers of SigLIP 2's kind, its own context, over a vocabulary of bytes."""
    special = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    tokens = [*special, *(f"<0x{octet:02X}>" for octet in range(256))]
    tokenizer = GemmaTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=[],
        add_bos_token=False,
        add_eos_token=True,
        padding_side="right",
    )
    tokenizer.save_pretrained(directory)
    configuration = open_clip.get_model_config("ViT-B-16-SigLIP2")
    configuration["embed_dim"] = 32
    configuration["vision_cfg"]["image_size"] = SIDE
    configuration["text_cfg"] |= {**TEXT, "vocab_size": len(tokens)}
    arguments = {key: value for key, value in configuration.items() if key != "custom_text"}
    model = open_clip.CustomTextCLIP(**arguments)
    transform = {**TRANSFORM, "resize_mode": "squash"}
    content = {"model_cfg": configuration, "preprocess_cfg": transform}
    (directory / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")
    save_file(model.state_dict(), directory / "open_clip_model.safetensors")


def small_recipe(preset: str, *, directory: Path) -> Recipe:
    stage = {"epochs": 1, "rows_per_image": 4, "adapter_rate": 1e-2}
    return Recipe.from_mapping(
        {
            "name": "small",
            "preset": preset,
            "tower_directory": str(directory),
            "teacher": {"judges": ["sample-judge"]},
            "split": {"salt": "a", "validation": 0.2, "calibration": 0.2, "test": 0.2},
            "windows": {"layout": "apart"},
            "fusion": {"width": 32, "layers": 1},
            "lora": {"rank": 2, "alpha": 4},
            "optimisation": {"precision": PRECISIONS[preset], "frozen": stage, "adapted": stage},
        },
        source="test",
    )


@pytest.fixture(scope="module", params=PRECISIONS)
def case(
    request: pytest.FixtureRequest, world: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    """Trained where the towers lay; they have been moved since."""
    folder = tmp_path_factory.mktemp("presets")
    directory = folder / "towers"
    directory.mkdir()
    autocast: set[tuple[bool, torch.dtype]] = set()
    step = NetworkModule.training_step

    def watched(module: NetworkModule, batch: Any, index: int) -> torch.Tensor | None:
        autocast.add((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
        return step(module, batch, index)

    with pytest.MonkeyPatch.context() as patch:
        small: dict[str, Any] = {"embed_dim": 32, "depth": 1, "num_heads": 2, "img_size": SIDE}
        patch.setattr(timm, "create_model", functools.partial(timm.create_model, **small))
        patch.setattr(NetworkModule, "training_step", watched)
        torch.manual_seed(0)
        {"clip-vit-b32": write_clip, "siglip2-b16": write_siglip}[request.param](directory)
        recipe = small_recipe(request.param, directory=directory)
        bundle = train(recipe, data=world, out=folder / "bundle").bundle
        moved = directory.rename(folder / "moved")
        loaded = load_bundle(bundle, tower_directory=moved)
        corpus = load_corpus(world, recipe=recipe, towers=loaded.towers)
        rows = list(range(len(corpus.triples)))
        logits = corpus_logits(loaded.network, corpus=corpus, rows=rows)
        yield Case(recipe, bundle, moved, logits, autocast)


def test_training_runs_in_the_precision_of_the_recipe(case: Case):
    if torch.cuda.is_available():
        pytest.skip("what is watched is the CPU's")
    ((on, dtype),) = case.autocast
    assert on is (case.recipe.optimisation.precision == "bf16")
    assert not on or dtype is torch.bfloat16


def test_the_adapters_of_both_towers_have_learned(case: Case):
    adapters = load_file(case.bundle / "lora.safetensors")
    for tower in ("image", "text"):
        # They begin as zero.
        learned = [a for name, a in adapters.items() if name.startswith(tower) and "lora_B" in name]
        assert learned
        assert all(bool(np.abs(adapter).max() > 0) for adapter in learned)


def test_a_bundle_scores_with_the_towers_where_they_are_now(case: Case, world: Path):
    triples = triples_of(read_triples(world))
    classifier = Classifier.load(case.bundle, tower_directory=case.moved, device="cpu")
    scores = classifier.score(triples, image_root=world)
    scored = np.array([status is ScoreStatus.SCORED for status in scores.status])
    assert scored.sum() == len(case.logits)
    np.testing.assert_allclose(scores.cells[scored].sum(axis=1), 1, rtol=1e-6)
    calibrator = load_bundle(case.bundle, tower_directory=case.moved).manifest.calibrator
    np.testing.assert_allclose(
        scores.cells[scored], calibrator.probabilities(case.logits), atol=1e-5
    )
    assert scores.cells[scored].std(axis=0).min() > 0


def test_without_its_towers_a_bundle_says_where_they_were(case: Case):
    with pytest.raises(BundleError, match=r"towers: open_clip_config\.json is missing"):
        load_bundle(case.bundle)


@pytest.mark.parametrize(
    "preset", [name for name in PRESETS.names() if load_preset(name).weights is None]
)
def test_every_hub_or_local_preset_has_a_recipe_that_adapts_both_towers(preset):
    recipe = load_recipe(f"msts-{preset}")
    assert recipe.preset == preset
    assert recipe.lora.image
    assert recipe.lora.text
    assert recipe.optimisation.precision == "auto"
    assert load_preset(preset).name == preset
