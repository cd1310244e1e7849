"""LongCLIP's directory, made as the head of its preset says, against its authors' forward."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from nsgauge.models.preset import PRESETS, load_preset
from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.towers.pair import Towers, load_towers

CONTEXT = 248
OWN_POSITIONS = 20


def head_of_the_preset() -> str:
    """The script in the preset's comment, for one layer a tower."""
    folder = Path(__file__).resolve().parents[3] / "src" / "nsgauge" / "models" / PRESETS.folder
    lines = (folder / "longclip.yaml").read_text(encoding="utf-8").splitlines()
    script = "\n".join(line[4:] for line in lines if line.startswith("#   "))
    return re.sub(r'"layers": (24|12)', '"layers": 1', script)


def checkpoint() -> tuple[Any, dict[str, Tensor]]:
    """A model of LongCLIP's widths, and what its authors save of it: two tables of positions."""
    configuration = open_clip.get_model_config("ViT-L-14-quickgelu")
    configuration["vision_cfg"]["layers"] = configuration["text_cfg"]["layers"] = 1
    configuration["text_cfg"]["context_length"] = CONTEXT
    model = open_clip.CLIP(**configuration).eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    width = model.positional_embedding.shape[1]
    generator = torch.Generator().manual_seed(0)
    for name in ("positional_embedding", "positional_embedding_res"):
        state[name] = 0.1 * torch.randn(CONTEXT, width, generator=generator)
    return model, state


def authors_positions(state: dict[str, Tensor]) -> Tensor:
    """Two masked tables, added up, as in Long-CLIP's encode_text."""
    first = (torch.arange(CONTEXT) < OWN_POSITIONS).float().unsqueeze(1)
    return state["positional_embedding"] * first + state["positional_embedding_res"] * (1 - first)


@pytest.fixture
def towers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Towers]]:
    model, state = checkpoint()
    monkeypatch.chdir(tmp_path)
    torch.save(state, "longclip-L.pt")
    exec(head_of_the_preset(), {})  # noqa: S102 (the preset's own words)
    with torch.no_grad():
        model.positional_embedding.copy_(authors_positions(state))
    directory = tmp_path / "longclip-l"
    yield model, load_towers(load_preset("longclip"), tower_directory=directory)
    (tmp_path / "longclip-L.pt").unlink()
    shutil.rmtree(directory)


@torch.inference_mode()
def test_the_head_of_the_preset_makes_a_directory_that_loads(towers, texts, relative_difference):
    model, ours = towers
    assert (ours.text_context, ours.image_side_px, ours.resize) == (CONTEXT, 224, "crop")
    ids = open_clip.tokenizer.SimpleTokenizer(context_length=CONTEXT)(list(texts))
    rows = [
        (ours.tokenizer.start, *found[: CONTEXT - 2], ours.tokenizer.end)
        for found in ours.tokenizer.ids(texts)
    ]
    packed = Packed.of([Window(row, (0,) * len(row)) for row in rows])
    assert packed.lengths[0] < OWN_POSITIONS
    assert packed.lengths[-1] == CONTEXT
    assert relative_difference(ours.text(packed), reference=model.encode_text(ids)) <= 1e-5
