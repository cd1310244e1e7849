"""Towers as sizes and weights, to be built again without the preset's packages or a hub."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from nsgauge.checkpoints.export_tokenizer import StoredText, load_text, stored_text
from nsgauge.errors import BundleError
from nsgauge.models.preset import Preset, Resize
from nsgauge.models.towers.convert import image_tower
from nsgauge.models.towers.image import ImageTower, Normalisation, VitShape, VitTower
from nsgauge.models.towers.open_clip_door import image_alone
from nsgauge.models.towers.pair import LanguageModel, Towers
from nsgauge.models.towers.siglip import SiglipShape, SiglipTower
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.settings import Settings

LAYERS_LIMIT = 256
SIZE_LIMIT = 2**20
"""Of every other number in a shape."""

Shape = VitShape | SiglipShape | TextShape


def _within_reason(shape: Shape | None) -> Shape | None:
    """Refuse sizes that no tower has, before anything is built by them."""
    for name, number in _numbers({} if shape is None else asdict(shape)):
        limit = LAYERS_LIMIT if name == "layers" else SIZE_LIMIT
        low = 0 if name == "distance_buckets" else 1
        if isinstance(number, float):
            low, limit = 0, 1
        if not low <= number <= limit:
            raise ValueError(f"{name} is {number}, wanted {low} to {limit}")
    if shape is None:
        return shape
    stack = shape.transformer
    if stack.width % stack.heads or stack.heads % (stack.key_heads or 1):
        raise ValueError("heads don't divide the width, or those of the keys the others")
    if stack.rotary_base is not None and stack.width // stack.heads % 2:
        raise ValueError("an odd number of a head's can't be turned in pairs")
    if isinstance(shape, TextShape) and (shape.taken_after or 0) > stack.layers:
        raise ValueError(f"tokens are taken after {shape.taken_after} of {stack.layers} layers")
    return shape


def _numbers(shape: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in shape.items():
        if isinstance(value, dict):
            yield from _numbers(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


class StoredLanguage(Settings):
    """What a language model is beside its weights.

    Attributes:
        text: Sizes of its layers.
        tokens: What goes around its tokens.
    """

    text: Annotated[TextShape, AfterValidator(_within_reason)]
    tokens: StoredText


class StoredTowers(Settings):
    """What a pair of towers is beside its weights.

    Attributes:
        image: Sizes of a transformer; None for the preset's convolutional trunk.
        normalisation: Of the pixels.
        image_side_px: Side of the square that the image tower reads.
        resize: How a picture becomes that square.
        text: Sizes of the text tower.
        tokens: What goes around its tokens.
        language: The language model; None without one.
    """

    image: Annotated[VitShape | SiglipShape | None, AfterValidator(_within_reason)]
    normalisation: Normalisation
    image_side_px: int = Field(ge=8, le=4096)
    resize: Resize
    text: Annotated[TextShape, AfterValidator(_within_reason)]
    tokens: StoredText
    language: StoredLanguage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizers:
    """Contents of `tokenizer.json` files: the text tower's, and the language model's if any."""

    text: str
    language: str | None


def store_towers(towers: Towers, *, preset: Preset) -> tuple[StoredTowers, Tokenizers]:
    """A pair of towers, and the language model beside them, without weights; their tokenizers.

    Raises:
        BundleError: the image tower or the tokenizer is of a kind that can't be written down.
    """
    tower, shape = towers.image, None
    if isinstance(tower, VitTower | SiglipTower):
        shape = tower.shape
    elif preset.open_clip is None:
        raise BundleError(
            f"the image tower of preset {preset.name!r} is a trunk that only the hub describes: "
            "such a classifier can't be made self-contained; keep the bundle and its towers"
        )
    tokenizer, tokens = stored_text(towers.tokenizer, context=towers.text_context)
    stored = StoredTowers(
        image=shape,
        normalisation=Normalisation(
            mean=tuple(tower.mean.flatten().tolist()), std=tuple(tower.std.flatten().tolist())
        ),
        image_side_px=towers.image_side_px,
        resize=towers.resize,
        text=towers.text.shape,
        tokens=tokens,
    )
    if towers.language is None:
        return stored, Tokenizers(text=tokenizer, language=None)
    sizes = towers.language.tower.shape
    beside, tokens = stored_text(towers.language.tokenizer, context=sizes.context)
    language = StoredLanguage(text=sizes, tokens=tokens)
    stored = stored.model_copy(update={"language": language})
    return stored, Tokenizers(text=tokenizer, language=beside)


def build_towers(
    stored: StoredTowers,
    *,
    preset: Preset,
    tokenizers: Tokenizers,
    weights: Mapping[str, Tensor],
    fingerprint: str,
) -> Towers:
    """The towers again, in eval mode.

    Args:
        stored: As `store_towers` gave it.
        preset: Names a convolutional trunk.
        tokenizers: Likewise.
        weights: By name, after `image.`, `text.` and `language.`; used, not copied.
        fingerprint: Of the towers.

    Raises:
        ValueError: sizes, weights and tokenizer don't fit each other.
    """
    if stored.tokens.context > stored.text.context:
        raise ValueError(f"context {stored.tokens.context}, the tower knows {stored.text.context}")
    words = load_text(tokenizers.text, settings=stored.tokens, vocabulary=stored.text.vocabulary)
    # Without memory: the weights bring theirs, and sizes that don't fit them cost nothing.
    with torch.device("meta"):
        image, text = _image(stored, preset=preset), TextTower(stored.text)
        beside = None if stored.language is None else TextTower(stored.language.text)
    parts = {"image": image, "text": text} | ({} if beside is None else {"language": beside})
    try:
        nn.ModuleDict(parts).load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    # What a file of weights doesn't hold.
    for name in ("mean", "std"):
        channels = torch.tensor(getattr(stored.normalisation, name)).view(3, 1, 1)
        image.register_buffer(name, channels, persistent=False)
    return Towers(
        image=image.eval(),
        text=text.eval(),
        tokenizer=words,
        text_context=stored.tokens.context,
        image_side_px=stored.image_side_px,
        resize=stored.resize,
        fingerprint=fingerprint,
        language=_language(stored.language, tower=beside, tokenizer=tokenizers.language),
    )


def _language(
    stored: StoredLanguage | None, *, tower: TextTower | None, tokenizer: str | None
) -> LanguageModel | None:
    if stored is None or tower is None or tokenizer is None:
        return None
    words = load_text(tokenizer, settings=stored.tokens, vocabulary=stored.text.vocabulary)
    return LanguageModel(tower=tower.eval(), tokenizer=words)


def _image(stored: StoredTowers, *, preset: Preset) -> ImageTower:
    grid, normalisation = preset.patch_grid, stored.normalisation
    if isinstance(stored.image, VitShape | SiglipShape):
        if stored.image.image_side_px != stored.image_side_px:
            raise ValueError(
                f"the image tower reads {stored.image.image_side_px} px, "
                f"pictures are brought to {stored.image_side_px}"
            )
        if isinstance(stored.image, VitShape):
            return VitTower(stored.image, normalisation=normalisation, patch_grid=grid)
        return SiglipTower(stored.image, normalisation=normalisation, patch_grid=grid)
    if preset.open_clip is None:
        raise ValueError("no transformer, and the preset describes no trunk of timm's")
    trunk = image_alone(preset.open_clip)
    return image_tower(trunk, normalisation=normalisation, patch_grid=grid)
