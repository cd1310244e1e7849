"""The network: towers, and members that read them, as one torch module."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from nsgauge.models.channels import ChannelSettings
from nsgauge.models.classes import CELL_CLASSES, CellClass, cell_log_probabilities
from nsgauge.models.fusion import FusionSettings
from nsgauge.models.inputs import NetworkInputs
from nsgauge.models.language import exchange_width
from nsgauge.models.lora import LoraSettings, add_lora
from nsgauge.models.member import Member, TowerVectors, TowerWidths
from nsgauge.models.noise import FeatureNoise
from nsgauge.models.pooling import PoolingSettings, ReadTokens
from nsgauge.models.towers.image import ImageTower
from nsgauge.models.towers.pair import Towers
from nsgauge.models.towers.text import TextTower
from nsgauge.settings import Settings


class NetworkSettings(Settings):
    """What a network is made of, beside its towers.

    Attributes:
        lora: Adapters, and which towers get them.
        fusion: Sizes of each member's fusion.
        pooling: How windows' tokens become vectors.
        members: Pools, fusions and heads that are trained apart and decide together.
        classes: What the heads tell apart.
        ordinals: Window numbers that have an embedding of their own.
        channels: Beside each member.
    """

    lora: LoraSettings = LoraSettings()
    fusion: FusionSettings = FusionSettings()
    pooling: PoolingSettings = PoolingSettings()
    members: int = Field(1, ge=1, le=64)
    classes: tuple[CellClass, ...] = Field(CELL_CLASSES, min_length=1)
    ordinals: int = Field(ge=1, le=1024)
    channels: ChannelSettings = ChannelSettings()


class Network(nn.Module):
    """Log-probabilities of the four cells for a batch of triples.

    Each member has one softmax over the classes, and a cell's probability is the sum of its
    classes', so `unsafe` and `not_grounded` are sums of cells, never the product of two heads.
    Members decide together by the mean of their log-probabilities.
    """

    def __init__(self, towers: Towers, *, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.image_tower: ImageTower = towers.image
        self.text_tower: TextTower = towers.text
        self.language_tower = None if towers.language is None else towers.language.tower
        widths = TowerWidths(
            image=towers.image.width,
            image_tokens=1 + towers.image.patch_grid**2,
            window=towers.text.width,
            token=towers.text.token_width,
            exchange=0 if self.language_tower is None else exchange_width(self.language_tower),
        )
        self.token_noise = FeatureNoise(settings.fusion.feature_noise)
        self.members = nn.ModuleList(
            Member(
                settings.fusion,
                pooling=settings.pooling,
                widths=widths,
                ordinals=settings.ordinals,
                classes=len(settings.classes),
                channels=settings.channels,
            )
            for _ in range(settings.members)
        )

    def forward(self, inputs: NetworkInputs) -> Float[Tensor, "rows cells"]:
        """Uncalibrated logits of all members together, in the order of `protocol.CELLS`."""
        return self.cells(self.class_log_probabilities(inputs).mean(dim=0))

    def class_log_probabilities(
        self, inputs: NetworkInputs
    ) -> Float[Tensor, "members rows classes"]:
        """What each member says, up to a constant a row."""
        vectors = self.read(inputs)
        return torch.stack([member(vectors, inputs=inputs) for member in self.members])

    def voices(self, inputs: NetworkInputs) -> Float[Tensor, "members voices rows classes"]:
        """What each member's fusion and then each of its channels says, as log-probabilities."""
        vectors = self.read(inputs)
        said = [torch.stack(member.voices(vectors, inputs=inputs)) for member in self._each()]
        return torch.stack(said).log_softmax(dim=-1)

    def weigh(self, shares: Sequence[float]) -> None:
        """Have every member's fusion and channels decide by other shares, ordered as theirs."""
        channels = self.settings.channels.having(shares)
        self.settings = self.settings.model_copy(update={"channels": channels})
        for member in self._each():
            member.shares = channels.shares

    def cells(self, classes: Float[Tensor, "*rows classes"]) -> Float[Tensor, "*rows cells"]:
        """From log-probabilities of classes, up to a constant a row, to those of cells."""
        return cell_log_probabilities(classes, classes=self.settings.classes)

    @property
    def pools_tokens(self) -> bool:
        """Whether the members read the text tower's tokens, not its pooled windows."""
        return self.settings.pooling.queries > 0

    @property
    def heads(self) -> nn.ModuleDict:
        """Everything that is trained from scratch."""
        return nn.ModuleDict({"members": self.members})

    def read(self, inputs: NetworkInputs) -> TowerVectors:
        """The towers' part, or what is cached of it."""
        packed, windows, tokens = inputs.packed, inputs.window_vectors, inputs.token_vectors
        if windows is None and packed is None:
            raise ValueError("a batch holds windows to read, or their vectors")
        if packed is not None and self.pools_tokens and tokens is None:
            tokens = self.text_tower.tokens(packed)
        elif packed is not None and not self.pools_tokens and windows is None:
            windows = self.text_tower(packed)
        if self.pools_tokens and tokens is None:
            raise ValueError("the members pool tokens: a batch of pooled windows holds none")
        image, present = self._images(inputs)
        return TowerVectors(
            image=image,
            image_present=present,
            windows=windows,
            tokens=None
            if tokens is None or packed is None
            else ReadTokens.of(tokens, packed=packed, noise=self.token_noise),
        )

    def _each(self) -> list[Member]:
        return [member for member in self.members if isinstance(member, Member)]

    def _images(self, inputs: NetworkInputs) -> tuple[Tensor, Tensor]:
        """Image vectors per row, and which rows have an image."""
        present = inputs.image_slots >= 0
        features = inputs.image_features
        if features is None and inputs.pixels is not None:
            features = self.image_tower(inputs.pixels)
        if features is None:
            shape = (1, 1 + self.image_tower.patch_grid**2, self.image_tower.width)
            features = torch.zeros(shape, device=present.device)
        return features[inputs.image_slots.clamp(min=0)], present


def build_network(towers: Towers, *, settings: NetworkSettings, empty: bool = False) -> Network:
    """An untrained network on pretrained towers, which are frozen and get adapters in place.

    Args:
        towers: Of a preset, and the language model that a channel asks for; used, not copied.
        settings: All else.
        empty: Leave the members without memory, for `load_members`: settings that a stranger wrote
            may ask for more than there is.
    """
    lora = settings.lora
    for tower, wanted in ((towers.image, lora.image), (towers.text, lora.text)):
        tower.requires_grad_(requires_grad=False)
        if wanted:
            add_lora(tower, settings=lora)
    if towers.language is not None:
        towers.language.tower.requires_grad_(requires_grad=False)
    with torch.device("meta") if empty else nullcontext():
        return Network(towers, settings=settings)


def load_members(network: Network, *, state: Mapping[str, Tensor]) -> None:
    """Give a network that was built `empty` its members' weights.

    Args:
        network: Whose.
        state: As `heads.state_dict()` has them.

    Raises:
        ValueError: a tensor is of another type.
        RuntimeError: names or shapes differ.
    """
    for name, wanted in network.heads.state_dict().items():
        if name in state and state[name].dtype != wanted.dtype:
            raise ValueError(f"{name} is {state[name].dtype}, wanted {wanted.dtype}")
    network.heads.load_state_dict(state, strict=True, assign=True)
