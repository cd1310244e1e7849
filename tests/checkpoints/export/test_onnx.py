"""A folder of graphs gives the classifier's probabilities, and needs neither torch nor nsgauge."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nsgauge import Classifier
from nsgauge.checkpoints.export_onnx import export_onnx
from nsgauge.checkpoints.export_reading import Triple as OnnxTriple
from nsgauge.checkpoints.export_runtime import OnnxClassifier
from nsgauge.errors import DataError
from nsgauge.protocol import CELLS

# Runs a script as if torch and nsgauge weren't installed.
ALONE = """\
import runpy, sys
from pathlib import Path
from typing import Any
for name in ("torch", "nsgauge", "scipy", "pydantic", "pyarrow", "transformers"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def exported(make_bundle, annotations_unchecked, tmp_path_factory):
    """A committee with pools and every channel, and the folder that was made of it."""
    bundle = make_bundle("bert", committee=True, language=True, caption_tokens=4)
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    with annotations_unchecked():
        export_onnx(bundle, out=folder)
    return bundle, folder


def _alone(folder: Path, *arguments: object) -> list[dict[str, Any]]:
    script = [sys.executable, "-c", ALONE, folder / "example.py", *arguments]
    done = subprocess.run(list(map(str, script)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_example_gives_the_classifiers_scores_where_torch_cant_be_imported(
    exported, triples, tmp_path
):
    bundle, folder = exported
    keys = ("prompt", "response", "image", "caption")
    rows = [{key: getattr(triple, key) for key in keys} for triple in triples]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    wanted = Classifier(bundle, device="cpu").score(triples)
    found = _alone(folder, file)
    assert [row["status"] for row in found] == [str(status) for status in wanted.status]
    assert [row["truncated"] for row in found] == wanted.table["truncated"].to_pylist()
    scored = [place for place, row in enumerate(found) if row["status"] == "scored"]
    assert len(scored) == len(triples) - 2
    cells = np.array([[found[place][cell] for cell in CELLS] for place in scored])
    assert np.abs(cells - wanted.cells[scored]).max() <= 1e-5
    assert cells.std(axis=0).max() > 0.05
    for axis in ("unsafe", "not_grounded"):
        numbers = [found[place][axis] for place in scored]
        assert numbers == pytest.approx(getattr(wanted, axis)[scored].tolist(), abs=1e-5)
        verdicts = [found[place][f"{axis}_verdict"] for place in scored]
        assert verdicts == getattr(wanted, f"{axis}_verdict")[scored].tolist()


def test_captions_that_always_stand_in_hide_the_picture(exported, triples, tmp_path):
    bundle, folder = exported
    copy = tmp_path / "always"
    shutil.copytree(folder, copy)
    settings = json.loads((copy / "classifier.json").read_text())
    (copy / "classifier.json").write_text(json.dumps(settings | {"captions": "always"}))
    captioned = [replace(triple, caption="w1 w2 w3") for triple in triples]
    manifest = bundle.manifest.model_copy(update={"captions": "always"})
    wanted = Classifier(replace(bundle, manifest=manifest), device="cpu").score(captioned)
    keys = ("prompt", "response", "image", "caption")
    rows = [OnnxTriple(**{key: getattr(t, key) for key in keys}) for t in captioned]
    found = list(OnnxClassifier(copy).score(rows))
    assert [row["status"] for row in found] == [str(status) for status in wanted.status]
    scored = [place for place, row in enumerate(found) if row["status"] == "scored"]
    cells = np.array([[found[place][cell] for cell in CELLS] for place in scored])
    assert np.abs(cells - wanted.cells[scored]).max() <= 1e-5


def test_the_exchange_is_told_as_the_settings_say(exported, triples, tmp_path):
    """A story in other words leads to other numbers; one that spells a place out stays text."""
    bundle, folder = exported
    told = [replace(triples[5], prompt="{shown} {prompt}", caption="{caption}"), triples[6]]
    rows = [OnnxTriple(prompt=t.prompt, response=t.response, caption=t.caption) for t in told]
    wanted = Classifier(bundle, device="cpu").score(told)
    copy = tmp_path / "story"
    shutil.copytree(folder, copy)
    cells = [[row[cell] for cell in CELLS] for row in OnnxClassifier(copy).score(rows)]
    assert np.abs(cells - wanted.cells).max() <= 1e-5
    settings = json.loads((copy / "classifier.json").read_text())
    settings["language"]["story"] = "user\nSomebody said something."
    (copy / "classifier.json").write_text(json.dumps(settings))
    others = [[row[cell] for cell in CELLS] for row in OnnxClassifier(copy).score(rows)]
    assert np.abs(np.subtract(others, cells)).max() > 1e-3


def test_a_file_that_isnt_the_one_exported_is_refused(exported, tmp_path):
    _, folder = exported
    names = ("decision.onnx", "tokenizer.json", "lexical.npz", "language_tokenizer.json")
    for name in names:
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        (copy / name).write_bytes((copy / name).read_bytes() + b" ")
        with pytest.raises(ValueError, match=f"{name}: not the file that was exported"):
            OnnxClassifier(copy)


def test_another_format_is_refused(exported, tmp_path):
    _, folder = exported
    copy = tmp_path / "other"
    shutil.copytree(folder, copy)
    settings = json.loads((copy / "classifier.json").read_text())
    (copy / "classifier.json").write_text(json.dumps(settings | {"nsgauge_onnx": 2}))
    with pytest.raises(ValueError, match="expected nsgauge_onnx 4; export again"):
        OnnxClassifier(copy)


def test_a_taken_place_is_refused_before_anything_is_exported(exported):
    bundle, folder = exported
    with pytest.raises(DataError, match="holds a ONNX folder already"):
        export_onnx(bundle, out=folder)


def test_the_files_beside_the_graphs_name_each_other_and_not_the_package(exported):
    _, folder = exported
    for name in ("nsgauge_onnx.py", "nsgauge_reading.py", "example.py"):
        source = (folder / name).read_text()
        assert "from nsgauge." not in source
        assert "import torch" not in source
    assert len((folder / "example.py").read_text().splitlines()) <= 30
