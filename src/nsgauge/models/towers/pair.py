"""A preset's two towers with everything that goes before them."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from torch import nn

from nsgauge.errors import SettingsError
from nsgauge.models.preset import PackagedGguf, Preset, Resize
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.models.towers.convert import image_tower, text_tower
from nsgauge.models.towers.gguf_door import read_gguf
from nsgauge.models.towers.huggingface import mpnet_tower
from nsgauge.models.towers.image import ImageTower
from nsgauge.models.towers.llama import llama_tower
from nsgauge.models.towers.open_clip_door import clip_vocabulary, reference_of
from nsgauge.models.towers.packaged import verified_file
from nsgauge.models.towers.reference import PaddedVocabulary, Reference
from nsgauge.models.towers.text import TextTower


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """A language model, or its first layers, and its tokenizer.

    Attributes:
        tower: In eval mode.
        tokenizer: Of a chat.
    """

    tower: TextTower
    tokenizer: TextTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Towers:
    """Pretrained towers, ready for adapters.

    Attributes:
        image: Image tower, in eval mode.
        text: Text tower, in eval mode.
        tokenizer: Of the text tower.
        text_context: Tokens in a window, start and end tokens included.
        image_side_px: Side of the square that the image tower reads.
        resize: How a picture becomes that square.
        fingerprint: SHA-256 over both towers' weights, and the vocabulary that came with them; and
            over the language model's.
        language: Reads exchanges for a channel of that name.
    """

    image: ImageTower
    text: TextTower
    tokenizer: TextTokenizer
    text_context: int
    image_side_px: int
    resize: Resize
    fingerprint: str
    language: LanguageModel | None = None


def load_towers(
    preset: Preset,
    *,
    tower_directory: Path | None = None,
    language: Preset | None = None,
    likelihoods: bool = False,
) -> Towers:
    """Build a preset's towers with their pretrained weights.

    Args:
        preset: Which towers.
        tower_directory: As `reference_of`.
        language: Another preset, whose text tower is the language model beside them.
        likelihoods: Whether that says how likely its text is, too.

    Raises:
        SettingsError: weights are missing, damaged, can't be fetched or are of an unknown kind.
    """
    reference = reference_of(preset, tower_directory=tower_directory)
    image = image_tower(
        reference.model, normalisation=reference.normalisation, patch_grid=preset.patch_grid
    )
    text = _text_tower(reference, layers=preset.text_layers)
    fingerprint = weights_fingerprint(image, text)
    if isinstance(reference.vocabulary, PaddedVocabulary):
        fingerprint = _with_vocabulary(
            fingerprint, vocabulary=reference.vocabulary.tokenizer.get_vocab()
        )
    beside = None
    if language is not None:
        beside = load_language(language, likelihoods=likelihoods)
        own = f"{fingerprint}\n{weights_fingerprint(beside.tower)}"
        fingerprint = sha256(own.encode()).hexdigest()
    return Towers(
        image=image,
        text=text,
        tokenizer=_tokenizer(reference),
        text_context=min(reference.text_context, text.shape.context),
        image_side_px=reference.image_side_px,
        resize=reference.resize,
        fingerprint=fingerprint,
        language=beside,
    )


def load_language(preset: Preset, *, likelihoods: bool = False) -> LanguageModel:
    """A preset's text tower alone, which has to be a language model.

    Args:
        preset: Whose; says after how many layers tokens are taken.
        likelihoods: Have it say how likely each token was, too, by all of its layers.

    Raises:
        SettingsError: it is of another kind, or its weights are missing or damaged.
    """
    packaged = None if preset.weights is None else preset.weights.text
    if not isinstance(packaged, PackagedGguf):
        raise SettingsError(
            f"the text tower of preset {preset.name!r} is no language model: name pocket-smollm2"
        )
    held = read_gguf(verified_file(packaged))
    return LanguageModel(
        tower=llama_tower(
            held.configuration,
            state=held.state,
            layers=preset.text_layers,
            likelihoods=likelihoods,
        ),
        tokenizer=held.tokenizer,
    )


def weights_fingerprint(*modules: nn.Module) -> str:
    """SHA-256 over names and bytes of every parameter and buffer.

    A tower that has all layers but gives what an earlier one makes is another at another layer.
    """
    digest = sha256()
    for module in modules:
        if isinstance(module, TextTower) and module.shape.taken_after is not None:
            digest.update(f"taken after {module.shape.taken_after}\n".encode())
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _text_tower(reference: Reference, *, layers: int | None) -> TextTower:
    own = reference.text
    if own is None:
        return text_tower(reference.model, layers=layers)
    tower_of = llama_tower if own.configuration.get("model_type") == "llama" else mpnet_tower
    return tower_of(own.configuration, state=own.state, layers=layers)


def _tokenizer(reference: Reference) -> TextTokenizer:
    own = reference.vocabulary
    if isinstance(own, TextTokenizer):
        return own
    if own is not None:
        return TextTokenizer.padded(own.tokenizer, clean=own.clean, end=own.end, pad=own.pad)
    if reference.text_directory is not None:
        return TextTokenizer.wordpiece(reference.text_directory / "tokenizer.json")
    parts = clip_vocabulary()
    return TextTokenizer.clip(parts.vocabulary, merges=parts.merges, clean=parts.clean)


def _with_vocabulary(fingerprint: str, *, vocabulary: Mapping[str, int]) -> str:
    """The fingerprint of weights that came with a vocabulary of their own: ids must not move."""
    digest = sha256(fingerprint.encode())
    for token, index in sorted(vocabulary.items()):
        digest.update(f"{index} {token}\n".encode())
    return digest.hexdigest()
