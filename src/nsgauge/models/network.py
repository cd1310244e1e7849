"""The network: towers, fusion and the joint four-cell head, as one torch module."""

from jaxtyping import Float
from torch import Tensor, nn

from nsgauge.models.fusion import Fusion, FusionSettings
from nsgauge.models.inputs import NetworkInputs
from nsgauge.models.lora import LoraSettings, add_lora
from nsgauge.models.towers.image import ImageTower
from nsgauge.models.towers.pair import Towers
from nsgauge.models.towers.text import TextTower
from nsgauge.protocol import CELLS


class Network(nn.Module):
    """Logits of the four cells for a batch of triples.

    One softmax over the cells, so `unsafe` and `not_grounded` are sums of cells, never the
    product of two heads.
    """

    def __init__(self, towers: Towers, *, fusion: FusionSettings, ordinals: int) -> None:
        super().__init__()
        self.image_tower: ImageTower = towers.image
        self.text_tower: TextTower = towers.text
        self.fusion = Fusion(
            fusion,
            image_width=towers.image.width,
            image_tokens=1 + towers.image.patch_grid**2,
            text_width=towers.text.width,
            ordinals=ordinals,
        )
        self.head = nn.Sequential(
            nn.Dropout(fusion.dropout),
            nn.Linear(fusion.width, fusion.width),
            nn.GELU(),
            nn.Linear(fusion.width, len(CELLS)),
        )

    def forward(self, inputs: NetworkInputs) -> Float[Tensor, "rows cells"]:
        """Uncalibrated logits, in the order of `protocol.CELLS`."""
        windows = inputs.window_vectors
        if windows is None:
            if inputs.packed is None:
                raise ValueError("a batch holds windows to read, or their vectors")
            windows = self.text_tower(inputs.packed)
        text = windows[inputs.slots.clamp(min=0)]
        image, present = self._images(inputs, like=text)
        fused = self.fusion(
            image,
            image_present=present,
            text=text,
            roles=inputs.roles,
            ordinals=inputs.ordinals,
        )
        logits: Tensor = self.head(fused)
        return logits

    def _images(self, inputs: NetworkInputs, *, like: Tensor) -> tuple[Tensor, Tensor]:
        """Image vectors per row, and which rows have an image."""
        present = inputs.image_slots >= 0
        features = inputs.image_features
        if features is None and inputs.pixels is not None:
            features = self.image_tower(inputs.pixels)
        if features is None:
            shape = (1, 1 + self.image_tower.patch_grid**2, self.image_tower.width)
            features = like.new_zeros(shape)
        return features[inputs.image_slots.clamp(min=0)], present

    @property
    def heads(self) -> nn.ModuleDict:
        """Everything that is trained from scratch: fusion and head."""
        return nn.ModuleDict({"fusion": self.fusion, "head": self.head})


def build_network(
    towers: Towers, *, lora: LoraSettings, fusion: FusionSettings, ordinals: int
) -> Network:
    """An untrained network on pretrained towers, which are frozen and get adapters in place.

    Args:
        towers: Of a preset; used, not copied.
        lora: Adapters, and which towers get them.
        fusion: Sizes of the fusion.
        ordinals: Window numbers that have an embedding of their own.
    """
    for tower, wanted in ((towers.image, lora.image), (towers.text, lora.text)):
        tower.requires_grad_(requires_grad=False)
        if wanted:
            add_lora(tower, settings=lora)
    return Network(towers, fusion=fusion, ordinals=ordinals)
