"""What a preset's towers are taken from: reference models, weights and vocabularies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor, nn

from nsgauge.models.preset import Resize
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.models.towers.image import Normalisation


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An open_clip model in eval mode, with what goes before its image tower.

    Attributes:
        model: open_clip's CLIP or CustomTextCLIP, fp32 on the CPU; its image side alone where
            there is `text`.
        normalisation: Of the pixels.
        image_side_px: Side of the square that the image tower reads.
        resize: How a picture becomes that square.
        text_context: Positions that the text tower was trained to read.
        text_directory: Where a packaged text tower's `tokenizer.json` lies, or None.
        text: A packaged text tower of a kind that open_clip doesn't know; None if it is in `model`.
        vocabulary: A tokenizer that pads, as SigLIP's, or a language model's, which is ours
            already; None for CLIP's own or a packaged one.
    """

    model: nn.Module
    normalisation: Normalisation
    image_side_px: int
    resize: Resize
    text_context: int
    text_directory: Path | None
    text: "HuggingFaceText | None"
    vocabulary: "PaddedVocabulary | TextTokenizer | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFaceText:
    """A Hugging Face model's `config.json`, and its weights, mapped from their file."""

    configuration: dict[str, Any]
    state: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedVocabulary:
    """A Hugging Face tokenizer as open_clip uses it: the text, `end`, then `pad` to the context."""

    tokenizer: Tokenizer
    clean: Callable[[str], str]
    end: int
    pad: int


@dataclass(frozen=True, slots=True)
class ClipVocabulary:
    """What CLIP's byte-pair tokenizer is made of."""

    vocabulary: dict[str, int]
    merges: list[tuple[str, str]]
    clean: Callable[[str], str]
