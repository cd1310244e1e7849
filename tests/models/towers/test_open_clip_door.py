import json
import os
import shutil
from pathlib import Path

import open_clip
import pytest
from pydantic import ValidationError
from safetensors.torch import save_file

from nsgauge.errors import SettingsError
from nsgauge.models.preset import Preset, load_preset
from nsgauge.models.towers.open_clip_door import clip_vocabulary, reference_of
from nsgauge.models.towers.reference import PaddedVocabulary

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 1, "width": 64, "patch_size": 16, "image_size": 48},
    "text_cfg": {"layers": 1, "width": 32, "heads": 2, "vocab_size": 99, "context_length": 20},
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A local tower directory in open_clip's layout."""
    folder = tmp_path / "tower"
    folder.mkdir()
    content = {"model_cfg": SMALL, "preprocess_cfg": {"resize_mode": "squash"}}
    (folder / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")
    weights = open_clip.CLIP(**SMALL).state_dict()
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture
def hub() -> Preset:
    return load_preset("clip-vit-b32")


@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_preset_whose_weights_are_others_is_refused(tower):
    preset = load_preset("pocket")
    assert preset.weights is not None
    other = getattr(preset.weights, tower).model_copy(update={"sha256": "0" * 64})
    weights = preset.weights.model_copy(update={tower: other})
    with pytest.raises(SettingsError, match="SHA-256"):
        reference_of(preset.model_copy(update={"weights": weights}), tower_directory=None)


@pytest.mark.parametrize(
    "change",
    [
        {"vision_cfg": {}},
        {"no_such_argument": 1},
        {"vision_cfg": {"timm_model_name": "no_such_model", "image_size": 224}},
    ],
)
def test_a_configuration_that_open_clip_cant_build_or_fill_is_refused(change):
    preset = load_preset("pocket")
    assert preset.open_clip is not None
    with pytest.raises(SettingsError, match="'pocket'"):
        reference_of(
            preset.model_copy(update={"open_clip": {**preset.open_clip, **change}}),
            tower_directory=None,
        )


def test_own_weights_take_no_tower_directory(directory):
    with pytest.raises(SettingsError, match="for hub and local presets; 'pocket' brings its own"):
        reference_of(load_preset("pocket"), tower_directory=directory)


def test_a_tower_directory_says_what_its_towers_expect(hub, directory):
    reference = reference_of(hub, tower_directory=directory)
    assert (reference.image_side_px, reference.text_context) == (48, 20)
    assert reference.resize == "squash"
    assert reference.text_directory is None
    assert not reference.model.training


@pytest.mark.parametrize("name", ["open_clip_config.json", "open_clip_model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_damaged_tower_directory_is_refused(hub, directory, name, damage):
    file = directory / name
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    with pytest.raises(SettingsError) as caught:
        reference_of(hub, tower_directory=directory)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[], {"model_cfg": 3}, {"model_cfg": {"embed_dim": 16}}])
def test_a_tower_configuration_of_another_shape_is_refused(hub, directory, content):
    (directory / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SettingsError, match="open_clip's layout"):
        reference_of(hub, tower_directory=directory)


def test_weights_of_another_shape_are_refused_in_one_line(hub, directory):
    other = {**SMALL, "embed_dim": 8}
    save_file(open_clip.CLIP(**other).state_dict(), directory / "open_clip_model.safetensors")
    with pytest.raises(SettingsError, match="weights or tokenizer can't be loaded") as caught:
        reference_of(hub, tower_directory=directory)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt", ".pkl", ".PT"])
def test_a_tower_directory_with_a_pickle_is_refused(hub, directory, suffix):
    (directory / f"model{suffix}").write_bytes(b"\x80\x04.")
    with pytest.raises(SettingsError, match=f"holds pickles .model{suffix}.; remove"):
        reference_of(hub, tower_directory=directory)


def test_weights_of_another_context_are_refused_not_stretched(hub, directory):
    content = json.loads((directory / "open_clip_config.json").read_text(encoding="utf-8"))
    content["model_cfg"]["text_cfg"]["context_length"] = 30
    (directory / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"holds 20 text positions, .* says 30"):
        reference_of(hub, tower_directory=directory)


def test_a_local_preset_needs_a_directory_of_its_context(directory):
    preset = load_preset("longclip")
    with pytest.raises(SettingsError, match="no tag of preset 'longclip': give tower_directory"):
        reference_of(preset, tower_directory=None)
    with pytest.raises(SettingsError, match=r"reads 20 tokens, preset 'longclip' .* reads 248"):
        reference_of(preset, tower_directory=directory)


@pytest.fixture
def siglip_directory(directory: Path, gemma_directory: Path) -> Path:
    """A directory that names a tokenizer of its own, and has it."""
    content = json.loads((directory / "open_clip_config.json").read_text(encoding="utf-8"))
    content["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "timm/ViT-B-16-SigLIP2"
    (directory / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")
    for file in gemma_directory.iterdir():
        shutil.copy(file, directory)
    return directory


def test_a_directorys_own_tokenizer_is_read(hub, siglip_directory):
    vocabulary = reference_of(hub, tower_directory=siglip_directory).vocabulary
    assert isinstance(vocabulary, PaddedVocabulary)
    assert (vocabulary.end, vocabulary.pad) == (1, 0)


# What Gemma's tokenizer does outside SigLIP.
OPENS_WITH_BOS = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "<bos>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}},
}


@pytest.mark.parametrize(
    ("file", "change", "wanted"),
    [
        ("tokenizer_config.json", {"padding_side": "left"}, r"\[0, 0, 0\]"),
        ("tokenizer.json", {"post_processor": OPENS_WITH_BOS}, r"\[2, 0, 0\]"),
        ("tokenizer.json", {"post_processor": None}, r"\[0, 0, 0\]"),
    ],
)
def test_a_tokenizer_that_adds_other_tokens_is_refused(hub, siglip_directory, file, change, wanted):
    path = siglip_directory / file
    content = json.loads(path.read_text(encoding="utf-8")) | change
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SettingsError, match=rf"makes {wanted}\.\.\. of an empty text"):
        reference_of(hub, tower_directory=siglip_directory)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "another"])
def test_a_damaged_tokenizer_is_refused(hub, siglip_directory, damage):
    file = siglip_directory / "tokenizer.json"
    content = file.read_text(encoding="utf-8")
    if damage == "missing":
        file.unlink()
    else:
        left = {"empty": "", "cut": content[: len(content) // 2], "another": "[]"}
        file.write_text(left[damage], encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        reference_of(hub, tower_directory=siglip_directory)
    assert "\n" not in str(caught.value)


def test_without_hub_or_directory_the_way_out_is_named():
    preset = load_preset("clip-vit-b32")
    assert preset.hub is not None
    unknown = preset.hub.model_copy(update={"pretrained": "no_such_tag"})
    with pytest.raises(SettingsError, match="give tower_directory"):
        reference_of(preset.model_copy(update={"hub": unknown}), tower_directory=None)


@pytest.mark.parametrize("value", [None, "true"])
def test_open_clip_leaves_the_tokenizers_threads_alone(value, monkeypatch):
    if value is None:
        monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    else:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", value)
    clip_vocabulary()
    assert os.environ.get("TOKENIZERS_PARALLELISM") == value


def test_the_vocabulary_has_clips_size_and_its_merges_in_rank_order():
    parts = clip_vocabulary()
    assert len(parts.vocabulary) == 49408
    assert len(parts.merges) == 48894
    # Each merge makes the token of its rank, after 256 bytes and 256 bytes that end a word.
    assert all(parts.vocabulary["".join(m)] == 512 + rank for rank, m in enumerate(parts.merges))


@pytest.mark.parametrize("by", ["tokenizer_kwargs", "auto_map"])
def test_a_directory_whose_tokenizer_runs_code_of_its_own_is_refused(by, directory, hub, tmp_path):
    ran = tmp_path / "ran"
    (directory / "payload.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Own: pass\n")
    own = {"auto_map": {"AutoTokenizer": ["payload.Own", None]}, "tokenizer_class": "Own"}
    (directory / "tokenizer_config.json").write_text(json.dumps(own), encoding="utf-8")
    path = directory / "open_clip_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model_cfg"]["text_cfg"] |= {"hf_tokenizer_name": "own"}
    if by == "tokenizer_kwargs":
        content["model_cfg"]["text_cfg"] |= {by: {"trust_remote_code": True}}
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SettingsError, match=by):
        reference_of(hub, tower_directory=directory)
    assert not ran.exists()


@pytest.mark.parametrize("model", ["local-dir:/x", "hf-hub:a/b", "../x", "/x", "", "a b", "-x"])
def test_a_hub_model_is_a_name_that_open_clip_knows_and_no_address(model):
    with pytest.raises(ValidationError, match=r"hub\.model"):
        Preset.model_validate({"name": "own", "hub": {"model": model, "pretrained": "x"}})
    with pytest.raises(ValidationError, match=r"hub\.pretrained"):
        Preset.model_validate({"name": "own", "hub": {"model": "ViT-B-32", "pretrained": model}})


def test_every_name_and_tag_of_open_clip_is_allowed():
    for model, tag in open_clip.list_pretrained():
        Preset.model_validate({"name": "own", "hub": {"model": model, "pretrained": tag}})
