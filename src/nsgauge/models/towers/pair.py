"""A preset's two towers with everything that goes before them."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from torch import nn

from nsgauge.models.preset import Preset, Resize
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.models.towers.convert import image_tower, text_tower
from nsgauge.models.towers.image import ImageTower
from nsgauge.models.towers.open_clip_door import clip_vocabulary, reference_of
from nsgauge.models.towers.text import TextTower


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
        fingerprint: SHA-256 over both towers' weights.
    """

    image: ImageTower
    text: TextTower
    tokenizer: TextTokenizer
    text_context: int
    image_side_px: int
    resize: Resize
    fingerprint: str


def load_towers(preset: Preset, *, tower_directory: Path | None = None) -> Towers:
    """Build a preset's towers with their pretrained weights.

    Raises:
        SettingsError: weights are missing, damaged, can't be fetched or are of an unknown kind.
    """
    reference = reference_of(preset, tower_directory=tower_directory)
    image = image_tower(
        reference.model, normalisation=reference.normalisation, patch_grid=preset.patch_grid
    )
    text = text_tower(reference.model)
    if reference.text_directory is None:
        parts = clip_vocabulary()
        tokenizer = TextTokenizer.clip(parts.vocabulary, merges=parts.merges, clean=parts.clean)
    else:
        tokenizer = TextTokenizer.wordpiece(reference.text_directory / "tokenizer.json")
    return Towers(
        image=image,
        text=text,
        tokenizer=tokenizer,
        text_context=min(reference.text_context, text.shape.context),
        image_side_px=reference.image_side_px,
        resize=reference.resize,
        fingerprint=weights_fingerprint(image, text),
    )


def weights_fingerprint(*modules: nn.Module) -> str:
    """SHA-256 over names and bytes of every parameter and buffer."""
    digest = sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
