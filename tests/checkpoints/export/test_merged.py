"""The merged form scores as its bundle, on nothing but its own files; damage is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from nsgauge import Classifier
from nsgauge.checkpoints import bundle as bundle_module
from nsgauge.checkpoints import export_merged
from nsgauge.checkpoints.bundle import load_bundle
from nsgauge.checkpoints.export_merged import load_merged, load_saved
from nsgauge.data.folders import file_digest
from nsgauge.errors import BundleError, DataError, SettingsError
from nsgauge.models.towers import packaged


@pytest.fixture(scope="module")
def merged(make_bundle, tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("merged") / "folder"
    export_merged.export_merged(make_bundle("bert", committee=True), out=path)
    return path


@pytest.fixture
def copy(merged, tmp_path) -> Path:
    shutil.copytree(merged, tmp_path / "copy")
    place: Path = tmp_path / "copy"
    return place


def _sign(path: Path) -> None:
    """Let the manifest list the files as they are now."""
    content = json.loads((path / "merged.json").read_text())
    content["bundle"]["files"] = {f: file_digest(path / f) for f in export_merged.FILES}
    (path / "merged.json").write_text(json.dumps(content))


@pytest.mark.parametrize("kind", ["bert", "clip", "siglip"])
def test_it_scores_as_the_bundle_it_was_made_of(make_bundle, triples, tmp_path, kind):
    bundle = make_bundle(kind, committee=kind == "bert")
    export_merged.export_merged(bundle, out=tmp_path / "merged")
    again = load_merged(tmp_path / "merged")
    assert again.seen == bundle.seen
    wanted = Classifier(bundle, device="cpu").score(triples)
    found = Classifier(again, device="cpu").score(triples)
    assert np.array_equal(found.cells, wanted.cells, equal_nan=True)


def test_a_trained_bundle_with_adapters_loads_without_the_packages_of_its_towers(
    saved, tmp_path, monkeypatch
):
    bundle = load_bundle(saved)
    export_merged.export_merged(bundle, out=tmp_path / "merged")

    def absent(*_: object, **__: object) -> None:
        raise SettingsError("not installed")

    for name in ("verified_file", "text_files", "tokenizer_file"):
        monkeypatch.setattr(packaged, name, absent)
    monkeypatch.setattr(bundle_module, "load_towers", absent)
    again = load_saved(tmp_path / "merged")
    wanted = bundle.network.state_dict()
    found = again.network.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    texts = ["What's in [SEP] the picture?", "\u00dcber alles", "x" * 300]
    assert again.towers.tokenizer.ids(texts) == bundle.towers.tokenizer.ids(texts)
    assert torch.equal(again.network.image_tower.mean, bundle.network.image_tower.mean)


@pytest.mark.parametrize("name", export_merged.FILES)
def test_a_changed_or_missing_file_is_refused(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match="damaged or was changed"):
        load_merged(copy)
    (copy / name).unlink()
    with pytest.raises(BundleError, match="missing; copy the whole folder"):
        load_merged(copy)


def _bundle(**changes: object):
    return lambda content: content["bundle"].update(changes)


def _towers(**changes: object):
    return lambda content: content["towers"].update(changes)


def _text(**changes: object):
    return lambda content: content["towers"]["text"].update(changes)


def _stack(**changes: object):
    return lambda content: content["towers"]["text"]["transformer"].update(changes)


HOSTILE = {
    "another format": (lambda content: content.update(nsgauge_merged=2), "reads 1"),
    "an unknown key": (lambda content: content.update(run="rm"), "run: Extra inputs"),
    "a path for a file": (_bundle(files={"../x": "0"}), "expected"),
    "more layers than any tower": (_stack(layers=10**9), "layers is 1000000000"),
    "a layer too many": (_stack(layers=3), "Missing key"),
    "a width of its own": (_stack(width=32), "size mismatch"),
    "heads that don't divide": (_stack(heads=3), "heads don't divide"),
    "no heads": (_stack(heads=0), "heads is 0"),
    "a vocabulary for terabytes": (_text(vocabulary=2**40), "vocabulary is"),
    "a longer context than the tower's": (_text(context=8), "context 24, the tower knows 8"),
    "a norm that isn't finite": (_stack(norm_epsilon=float("nan")), "norm_epsilon is nan"),
    "another side of the picture": (_towers(image_side_px=64), "reads 32 px"),
    "a trunk from somewhere": (_towers(image=None), "weights don't fit|size mismatch|key"),
}


@pytest.mark.parametrize(("change", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_manifest_that_doesnt_fit_is_refused(copy, rewritten, change, said):
    rewritten(copy / "merged.json", change)
    with pytest.raises(BundleError, match=said):
        load_merged(copy)


def test_a_trunk_that_timm_would_fetch_is_refused(copy, rewritten):
    def fetch(content: dict[str, Any]) -> None:
        content["towers"]["image"] = None
        vision = content["bundle"]["preset"]["open_clip"]["vision_cfg"]
        vision["timm_model_name"] = "hf-hub:someone/something"

    rewritten(copy / "merged.json", fetch)
    with pytest.raises(BundleError, match="is no trunk of timm's"):
        load_merged(copy)


def test_adapters_in_a_merged_form_are_refused(copy, rewritten):
    rewritten(
        copy / "merged.json",
        lambda content: content["bundle"]["network"]["lora"].update(text=True),
    )
    with pytest.raises(BundleError, match="has no adapters"):
        load_merged(copy)


WEIGHTS = {
    "not finite": (lambda held: held["text.norm.weight"].fill_(float("inf")), "NaN or infinity"),
    "of another kind": (
        lambda held: held.update({"text.norm.weight": held["text.norm.weight"].half()}),
        "is torch.float16",
    ),
    "missing": (lambda held: held.pop("text.norm.weight"), "Missing key"),
    "surplus": (lambda held: held.update({"text.more": torch.zeros(1)}), "Unexpected key"),
    "of nothing known": (lambda held: held.update({"run.me": torch.zeros(1)}), "Unexpected key"),
}


@pytest.mark.parametrize(("change", "said"), WEIGHTS.values(), ids=WEIGHTS)
def test_signed_weights_that_arent_the_classifiers_are_refused(copy, change, said):
    held = load_file(copy / "towers.safetensors")
    change(held)
    save_file(held, copy / "towers.safetensors")
    _sign(copy)
    with pytest.raises(BundleError, match=said):
        load_merged(copy)


@pytest.mark.parametrize("content", ["", "{}", "[" * 100_000, '{"version": "1.0"}'])
def test_a_signed_file_that_is_no_tokenizer_is_refused(copy, content):
    (copy / "tokenizer.json").write_text(content)
    _sign(copy)
    with pytest.raises(BundleError, match="no tokenizer"):
        load_merged(copy)


def test_a_folder_without_it_says_what_is_wanted(tmp_path):
    with pytest.raises(BundleError, match="export --to merged"):
        load_merged(tmp_path)


def test_a_taken_place_is_refused(make_bundle, merged, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    for place, said in ((merged, "holds a merged bundle already"), (tmp_path, "no merged bundle")):
        with pytest.raises(DataError, match=said):
            export_merged.export_merged(make_bundle("bert"), out=place)
