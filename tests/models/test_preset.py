from pathlib import Path
from typing import Any

import pytest
import yaml

from nsgauge.errors import SettingsError
from nsgauge.models.preset import PRESETS, Preset, load_preset

HUB = {"name": "mine", "hub": {"model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"}}
LOCAL = {"name": "mine", "local": {"text_context": 248}}


@pytest.fixture
def own() -> dict[str, Any]:
    """The pocket preset's content: a configuration and weights of its own."""
    return load_preset("pocket").model_dump(mode="json", exclude_none=True)


def test_the_shipped_presets_are_named_and_load_under_their_names():
    names = PRESETS.names()
    assert names == [
        "clip-vit-b32",
        "clip-vit-l14",
        "longclip",
        "pocket",
        "pocket-mpnet",
        "pocket-smollm2",
        "siglip2-b16",
    ]
    assert [load_preset(name).name for name in names] == names


def test_a_preset_can_be_a_file(tmp_path: Path, own):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**own, "name": "mine"}), encoding="utf-8")
    assert load_preset(str(path)) == load_preset("pocket").model_copy(update={"name": "mine"})


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("pockets", "known: clip-vit-b32, clip-vit-l14, longclip, pocket, pocket-mpnet"),
        ("none.yaml", "no such file"),
    ],
)
def test_an_unknown_preset_is_refused_with_the_known_ones(name, wanted):
    with pytest.raises(SettingsError, match=wanted):
        load_preset(name)


@pytest.mark.parametrize("key", ["open_clip", "weights", "mean", "std", "resize"])
@pytest.mark.parametrize("source", [HUB, LOCAL])
def test_a_hub_or_local_preset_brings_its_own_parts(own, key, source):
    with pytest.raises(SettingsError, match=r"`(hub|local)` brings its own"):
        Preset.from_mapping({**source, key: own[key]}, source="mine")


def test_a_preset_is_of_the_hub_or_local():
    with pytest.raises(SettingsError, match="not both"):
        Preset.from_mapping({**HUB, **LOCAL}, source="mine")


@pytest.mark.parametrize("key", ["open_clip", "weights", "mean", "std", "resize"])
def test_a_preset_without_a_hub_needs_every_part(own, key):
    del own[key]
    with pytest.raises(SettingsError, match="give `hub`, `local`, or all of"):
        Preset.from_mapping(own, source="mine")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"patchgrid": 2}, "unknown key 'patchgrid'.*patch_grid"),
        ({"hub": {**HUB["hub"], "token": "x"}}, "unknown key 'hub.token'"),  # type: ignore[dict-item]
        ({"name": "../mine"}, "name"),
        ({"patch_grid": 8}, "patch_grid"),
        ({"text_layers": 0}, "text_layers"),
    ],
)
def test_faulty_keys_are_refused_by_name(change, wanted):
    with pytest.raises(SettingsError, match=wanted):
        Preset.from_mapping({**HUB, **change}, source="mine")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"sha256": "57"}, "weights.image.sha256"),
        # find_spec imports the parents of a dotted name.
        ({"package": "os.path"}, "weights.image.package"),
        ({"package": ""}, "weights.image.package"),
    ],
)
def test_faulty_weights_are_refused_by_name(own, change, wanted):
    own["weights"]["image"] |= change
    with pytest.raises(SettingsError, match=wanted):
        Preset.from_mapping(own, source="mine")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"parts": []}, "weights.text.archive.parts: "),
        ({"version": "1 || 2"}, "weights.text.archive.version"),
        ({"sha256": "57"}, "unknown key 'weights.text.archive.sha256'"),
    ],
)
def test_a_faulty_archive_is_refused_by_name(change, wanted):
    content = load_preset("pocket-mpnet").model_dump(mode="json", exclude_none=True)
    content["weights"]["text"] |= change
    with pytest.raises(SettingsError, match=wanted) as caught:
        Preset.from_mapping(content, source="mine")
    # An error about one kind of weights doesn't list the other's fields.
    assert "text.file" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"sha256": "57"}, "weights.text.gguf.sha256"),
        ({"version": "1 || 2"}, "weights.text.gguf.version"),
        ({"file": "model.bin"}, "unknown key 'weights.text.gguf.file'"),
    ],
)
def test_a_faulty_gguf_is_refused_by_name(change, wanted):
    content = load_preset("pocket-smollm2").model_dump(mode="json", exclude_none=True)
    content["weights"]["text"] |= change
    with pytest.raises(SettingsError, match=wanted):
        Preset.from_mapping(content, source="mine")
