"""Towers: the pocket pair, loaded once, and tiny random ones for everything else."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

from nsgauge.models.inputs import NetworkInputs, Slots
from nsgauge.models.lexical import column_grams
from nsgauge.models.network import Network
from nsgauge.models.prediction import logits_of_read, read_windows
from nsgauge.models.preset import load_preset
from nsgauge.models.row_windows import RowWindows
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.models.towers.image import Normalisation, VitShape, VitTower
from nsgauge.models.towers.open_clip_door import reference_of
from nsgauge.models.towers.packing import Window
from nsgauge.models.towers.pair import Towers, load_towers
from nsgauge.models.towers.reference import Reference
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.models.towers.transformer import TransformerShape

RelativeDifference = Callable[..., float]
DrawWindows = Callable[..., list[Window]]
BuildTowers = Callable[..., Towers]

TEXTS = (
    "No.",
    "I can't help with that.",
    "The picture shows a red ladder that leans on a wall beside two open paint pots.",
    "Sure! First, check the label. Second, open the window; third, wait 20 minutes. " * 4,
    "Ein Satz auf Deutsch, une phrase en fran\u00e7ais, \u4e2d\u6587, and \U0001f600 at the end.",
    "It depends on the room, the hour and the person who asks for it, so let me explain. " * 16,
)


@pytest.fixture(scope="session")
def texts() -> tuple[str, ...]:
    """Short and long, most of CLIP's context and most of MiniLM's."""
    return TEXTS


@pytest.fixture(scope="session")
def relative_difference() -> RelativeDifference:
    """Largest absolute difference over the largest absolute reference."""

    def between(ours: Tensor | np.ndarray, *, reference: Tensor | np.ndarray) -> float:
        found, wanted = torch.as_tensor(ours), torch.as_tensor(reference)
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype == torch.float32
        return float((found - wanted).abs().max() / wanted.abs().max())

    return between


@pytest.fixture(scope="session")
def pocket_reference() -> Reference:
    return reference_of(load_preset("pocket"), tower_directory=None)


@pytest.fixture(scope="session")
def pocket_towers() -> Towers:
    """Shared: tests must not change them."""
    return load_towers(load_preset("pocket"))


@pytest.fixture(scope="session")
def word_tokenizer() -> TextTokenizer:
    """Word `w<k>` is token k; 90 starts a window, 91 ends it."""
    return TextTokenizer(_words(), clean=str, start=90, end=91)


@pytest.fixture(scope="session")
def padding_tokenizer() -> TextTokenizer:
    """The same words; nothing starts a window, 91 ends it and 93 fills it up."""
    return TextTokenizer.padded(_words(), clean=str, end=91, pad=93)


def _words() -> Tokenizer:
    words = {f"w{number}": number for number in range(90)} | {"[UNK]": 92}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))  # noqa: S106 (no password)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


GEMMA_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")


@pytest.fixture(scope="session")
def gemma_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of SigLIP 2's tokenizer, as they are, with a vocabulary of some hundred tokens.

    Gemma's layout: special tokens first, byte-pair merges with byte fallback, spaces as U+2581,
    and tokens for runs of spaces and line breaks that are split off before anything else.
    """
    directory = tmp_path_factory.mktemp("gemma")
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))  # noqa: S106
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    octets = [f"<0x{octet:02X}>" for octet in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=700, show_progress=False, special_tokens=[*GEMMA_SPECIAL, *octets]
    )
    tokenizer.train_from_iterator([text.lower() for text in TEXTS], trainer)
    content = json.loads(tokenizer.to_str())
    added = [token for token in content["added_tokens"] if token["content"] in GEMMA_SPECIAL]
    size = len(content["model"]["vocab"])
    for extra in ("\n\n", "\u2581\u2581", "<unused0>"):
        content["model"]["vocab"][extra] = size
        added.append({**added[0], "id": size, "content": extra, "special": False})
        size += 1
    content["added_tokens"] = added
    end = {"id": "<eos>", "ids": [1], "tokens": ["<eos>"]}
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<eos>", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<eos>": end},
    }
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    names = {f"{token[1:-1]}_token": token for token in GEMMA_SPECIAL[:4]}
    settings = {"add_bos_token": False, "add_eos_token": True, "padding_side": "right"}
    configuration = {**names, **settings, "tokenizer_class": "GemmaTokenizer"}
    (directory / "tokenizer_config.json").write_text(json.dumps(configuration), encoding="utf-8")
    (directory / "special_tokens_map.json").write_text(json.dumps(names), encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def draw_windows() -> DrawWindows:
    """Windows of given lengths with random tokens, two segments each."""

    def draw(lengths: list[int], *, seed: int = 0, vocabulary: int = 93) -> list[Window]:
        generator = np.random.default_rng(seed)
        windows = []
        for length in lengths:
            first = int(generator.integers(length + 1))
            ids = tuple(int(token) for token in generator.integers(vocabulary, size=length))
            windows.append(Window(ids, (0,) * first + (1,) * (length - first)))
        return windows

    return draw


@pytest.fixture(scope="session")
def build_towers(word_tokenizer: TextTokenizer) -> BuildTowers:
    """A new pair of tiny towers with random weights, the same for the same seed."""

    def build(*, seed: int = 0, causal: bool = False, patch_grid: int = 0) -> Towers:
        transformer = TransformerShape(width=16, layers=2, heads=2, hidden=32)
        vit = VitShape(transformer=transformer, image_side_px=32, patch_side_px=8, projection=12)
        normalisation = Normalisation(mean=(0.5, 0.4, 0.3), std=(0.5, 0.6, 0.7))
        image = VitTower(vit, normalisation=normalisation, patch_grid=patch_grid)
        text = TextTower(_text_shape(causal=causal))
        generator = torch.Generator().manual_seed(seed)
        for tower in (image, text):
            _randomise(tower, generator=generator)
        return Towers(
            image=image.eval(),
            text=text.eval(),
            tokenizer=word_tokenizer,
            text_context=32,
            image_side_px=32,
            resize="crop",
            fingerprint="0" * 64,
        )

    return build


def _text_shape(*, causal: bool) -> TextShape:
    return TextShape(
        transformer=TransformerShape(
            width=16, layers=2, heads=2, hidden=32, norm_first=causal, causal=causal
        ),
        vocabulary=93,
        context=32,
        pooling="end" if causal else "mean",
        embedding_norm=not causal,
        projection=8 if causal else None,
    )


def _randomise(tower: nn.Module, *, generator: torch.Generator) -> None:
    with torch.no_grad():
        for name, parameter in tower.named_parameters():
            centre = 1.0 if name.endswith("norm.weight") else 0.0
            parameter.copy_(centre + 0.2 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture(scope="session")
def logits_in_two_steps() -> Callable[..., np.ndarray]:
    """Logits of rows whose distinct windows are read first, in two batches."""

    def decided(network: Network, *, rows: RowWindows, slots: list[int], images: Tensor | None):
        keys = rows.windows.keys()
        distinct = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        places = np.array([distinct[key] for key in keys])
        firsts = np.array([keys.index(key) for key in distinct])
        read = torch.cat(
            [
                read_windows(network, packed=rows.windows.pack(chosen))
                for chosen in np.array_split(firsts, 2)
            ]
        )
        held = Slots.of(rows, chosen=np.arange(len(rows)), places=places)
        lexical = network.settings.channels.lexical
        inputs = NetworkInputs(
            packed=None,
            window_vectors=None,
            token_vectors=None,
            slots=held.slots,
            roles=held.roles,
            ordinals=held.ordinals,
            image_slots=torch.tensor(slots),
            pixels=None,
            image_features=images,
            grams=None
            if lexical is None
            else column_grams(rows, chosen=np.arange(len(rows)), settings=lexical),
            channels=True,
        )
        return logits_of_read(network, inputs=inputs, windows=read)

    return decided
