"""Tiny random classifiers of every kind, and rows for them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.checkpoints.export_reading import count_grams
from nsgauge.checkpoints.manifest import BundleManifest
from nsgauge.models.channels import ChannelSettings
from nsgauge.models.classes import CellClass
from nsgauge.models.fusion import FusionSettings
from nsgauge.models.language import LanguageSettings, exchange_reader
from nsgauge.models.lexical import LexicalChannel, LexicalSettings
from nsgauge.models.lora import LoraSettings
from nsgauge.models.network import Network, NetworkSettings, build_network
from nsgauge.models.pooling import PoolingSettings
from nsgauge.models.probe import LinearProbe, ProbeSettings
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.models.towers.image import ImageTower, Normalisation, VitShape, VitTower
from nsgauge.models.towers.pair import LanguageModel, Towers
from nsgauge.models.towers.siglip import SiglipShape, SiglipTower
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.models.towers.transformer import TransformerShape
from nsgauge.models.windows import RowReader, WindowPolicy
from nsgauge.protocol import CELLS
from nsgauge.records import Triple
from tests.tiny_llama import TOKENS

CONTEXT = 24
SIDE = 32
NO_ADAPTERS = LoraSettings(image=False, text=False)
COMMITTEE = NetworkSettings(
    lora=NO_ADAPTERS,
    fusion=FusionSettings(width=16, layers=1, heads=2),
    pooling=PoolingSettings(queries=2, width=4),
    members=2,
    classes=tuple(CellClass(name=f"{cell}-{k}", cell=cell) for cell in CELLS for k in range(2)),
    ordinals=3,
    channels=ChannelSettings(
        lexical=LexicalSettings(grams=64, share=0.4), probe=ProbeSettings(share=0.3)
    ),
)
WITH_LANGUAGE = ChannelSettings(
    lexical=LexicalSettings(grams=64, share=0.5),
    probe=ProbeSettings(share=0.1),
    language=LanguageSettings(share=0.2),
)
PLAIN = NetworkSettings(lora=NO_ADAPTERS, fusion=COMMITTEE.fusion, ordinals=3)

FILES = {"lora.safetensors": "0", "heads.safetensors": "0"}
MakeBundle = Callable[..., Bundle]


@pytest.fixture(scope="session")
def make_bundle(manifest: BundleManifest) -> MakeBundle:
    """A classifier in memory: `bert`, `mpnet`, `clip`, `siglip` or `llama` towers, random weights.

    The committee has two members with pools, eight classes, a lexical channel and a probe; with
    `language`, a language model too.
    """

    def make(
        kind: str, *, committee: bool = False, language: bool = False, **policy: object
    ) -> Bundle:
        torch.manual_seed(len(kind))
        network = COMMITTEE if committee else PLAIN
        if language:
            network = network.model_copy(update={"channels": WITH_LANGUAGE})
        towers = Towers(
            image=_image_tower(kind).eval(),
            text=TextTower(_text_shape(kind)).eval(),
            tokenizer=_tokenizer(pads=kind == "siglip"),
            text_context=CONTEXT,
            image_side_px=SIDE,
            resize="squash" if kind == "siglip" else "crop",
            fingerprint="0" * 64,
            language=_language_model() if language else None,
        )
        built = build_network(towers, settings=network).eval()
        _randomise(built)
        windows = WindowPolicy(**{"max_windows": 3, "prompt_tokens": 6, **policy})
        preset = manifest.preset.model_copy(update={"patch_grid": towers.image.patch_grid})
        parts = {"network": network, "windows": windows, "preset": preset}
        changed = manifest.model_copy(update={**parts, "captions": True, "files": FILES})
        return Bundle(
            manifest=changed,
            network=built.requires_grad_(requires_grad=False),
            towers=towers,
            reader=RowReader(towers.tokenizer, context=CONTEXT, policy=windows),
            exchanges=exchange_reader(towers, settings=network.channels.language),
            seen=frozenset({"a" * 16, "b" * 16}),
            fingerprint="f" * 64,
        )

    return make


def _randomise(network: Network) -> None:
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        if not name.startswith("language_tower"):
            _fill(parameter, name=name, generator=generator)
    if network.language_tower is not None:
        # Of its own generator: all else is the same with it and without.
        own = torch.Generator().manual_seed(2)
        for name, parameter in network.language_tower.named_parameters():
            _fill(parameter, name=name, generator=own)
    for channel in (m for m in network.modules() if isinstance(m, LexicalChannel)):
        _teach(channel, generator=generator)
    for probe in (m for m in network.modules() if isinstance(m, LinearProbe)):
        probe.weight.copy_(0.1 * torch.randn(probe.weight.shape, generator=generator))
        probe.bias.copy_(torch.randn(probe.bias.shape, generator=generator))


@torch.no_grad()
def _fill(parameter: torch.Tensor, *, name: str, generator: torch.Generator) -> None:
    centre = 1.0 if name.endswith("norm.weight") else 0.0
    parameter.copy_(centre + 0.3 * torch.randn(parameter.shape, generator=generator))


def _teach(channel: LexicalChannel, *, generator: torch.Generator) -> None:
    """The channel knows half of the single words; keys by the module's own counting."""
    known = np.sort(np.concatenate([count_grams([(k,)], longest=1)[0] for k in range(0, 90, 2)]))
    channel.keys[: len(known)] = torch.from_numpy(known)
    channel.idf[: len(known)] = 1 + torch.rand(len(known), generator=generator)
    channel.weight.copy_(torch.randn(channel.weight.shape, generator=generator))
    channel.bias.copy_(torch.randn(channel.bias.shape, generator=generator))


def _transformer(kind: str) -> TransformerShape:
    return TransformerShape(
        width=16,
        layers=2,
        heads=2,
        hidden=32,
        activation="quick_gelu" if kind == "clip" else "gelu",
        norm_first=kind in ("clip", "siglip", "llama"),
        causal=kind in ("clip", "llama"),
        distance_buckets=32 if kind == "mpnet" else 0,
        key_heads=1 if kind == "llama" else None,
        rotary_base=10_000 if kind == "llama" else None,
        llama=kind == "llama",
    )


def _text_shape(kind: str) -> TextShape:
    embedding_norm = kind in ("bert", "mpnet")
    return TextShape(
        transformer=_transformer(kind),
        vocabulary=94,
        context=CONTEXT,
        pooling="mean" if embedding_norm else "end",
        embedding_norm=embedding_norm,
        segments=kind == "bert",
        projection=None if embedding_norm else 12,
        projection_bias=kind == "siglip",
        padded=kind == "siglip",
    )


def _language_model() -> LanguageModel:
    """Reads bytes, gives what its first layer makes of them, and how likely they are."""
    shape = TextShape(
        transformer=_transformer("llama"),
        vocabulary=len(TOKENS),
        context=512,
        pooling="mean",
        embedding_norm=False,
        projection=None,
        taken_after=1,
    )
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    return LanguageModel(
        tower=TextTower(shape).eval(),
        tokenizer=TextTokenizer.chat(vocabulary, merges=[("i", "t")]),
    )


def _image_tower(kind: str) -> ImageTower:
    normalisation = Normalisation(mean=(0.5, 0.4, 0.3), std=(0.5, 0.6, 0.7))
    shape = replace(_transformer("bert"), norm_first=True)
    if kind == "siglip":
        siglip = SiglipShape(
            transformer=shape,
            image_side_px=SIDE,
            patch_side_px=16,
            pool_heads=2,
            pool_hidden=32,
            pool_activation="gelu_tanh",
        )
        return SiglipTower(siglip, normalisation=normalisation, patch_grid=0)
    vit = VitShape(transformer=shape, image_side_px=SIDE, patch_side_px=16, projection=12)
    return VitTower(vit, normalisation=normalisation, patch_grid=1)


def _tokenizer(*, pads: bool) -> TextTokenizer:
    """Word `w<k>` is token k; 90 starts a window, 91 ends it, 92 is any other word."""
    words = {f"w{number}": number for number in range(90)} | {"[UNK]": 92}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))  # noqa: S106 (no password)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if pads:
        return TextTokenizer.padded(tokenizer, clean=str, end=91, pad=93)
    return TextTokenizer(tokenizer, clean=str, start=90, end=91)


def _sentence(length: int, *, seed: int) -> str:
    """Words that the tokenizer knows."""
    numbers = np.random.default_rng(seed).integers(90, size=length)
    return " ".join(f"w{number}" for number in numbers)


@pytest.fixture
def triples(tmp_path: Path) -> list[Triple]:
    """Short, long, cut and empty texts; pictures, a caption, a damaged file and none at all."""
    rng = np.random.default_rng(0)
    for name, size in {"wide.png": (90, 40), "tall.png": (50, 70)}.items():
        pixels = rng.integers(256, size=(*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "damaged.png").write_bytes((tmp_path / "wide.png").read_bytes()[:200])
    wide, tall = str(tmp_path / "wide.png"), str(tmp_path / "tall.png")
    return [
        Triple(prompt=_sentence(5, seed=1), response=_sentence(4, seed=2), image=wide),
        Triple(prompt=_sentence(9, seed=3), response=_sentence(30, seed=4), image=tall),
        Triple(prompt=_sentence(60, seed=5), response=_sentence(90, seed=6), image=wide),
        Triple(prompt="", response="w3", image=str(tmp_path / "damaged.png")),
        Triple(prompt="w1 strange w2", response=" ", image=wide),
        Triple(
            prompt=_sentence(3, seed=7),
            response=_sentence(12, seed=8),
            caption=_sentence(20, seed=9),
        ),
        Triple(prompt=_sentence(3, seed=7), response=_sentence(12, seed=8)),
    ]


@pytest.fixture
def rewritten() -> Callable[..., None]:
    """Change a JSON file in place."""

    def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return rewrite
