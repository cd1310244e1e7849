"""What the network reads: one batch, its distinct windows and images once each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.windows import RowText


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedWindows:
    """Windows that the text tower has read already.

    Attributes:
        index: Each window's row in `vectors`.
        vectors: What the tower made of them.
    """

    index: Mapping[Window, int]
    vectors: Float[Tensor, "windows text_width"]

    def of(self, windows: Sequence[Window]) -> Float[Tensor, "asked text_width"]:
        """Vectors of some windows, in the order asked for."""
        return self.vectors[[self.index[window] for window in windows]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInputs:
    """A batch of rows.

    Attributes:
        packed: The batch's distinct windows; None where `window_vectors` are given.
        window_vectors: The same windows, encoded already, or None.
        slots: Per row, indices into the windows; -1 in unused slots.
        roles: Per slot, its TextRole; -1 in unused slots.
        ordinals: Per slot, its number within its role.
        image_slots: Per row, index into `pixels` or `image_features`; -1 for no image.
        pixels: The batch's distinct images, or None.
        image_features: The same images, encoded already, or None.
    """

    packed: Packed | None
    window_vectors: Float[Tensor, "windows text_width"] | None
    slots: Int[Tensor, "rows slots"]
    roles: Int[Tensor, "rows slots"]
    ordinals: Int[Tensor, "rows slots"]
    image_slots: Int[Tensor, " rows"]
    pixels: UInt8[Tensor, "images 3 side side"] | None
    image_features: Float[Tensor, "images image_tokens image_width"] | None

    def to(self, device: torch.device) -> "NetworkInputs":
        """The same batch on another device."""
        return NetworkInputs(
            packed=None if self.packed is None else self.packed.to(device),
            window_vectors=_moved(self.window_vectors, device=device),
            slots=self.slots.to(device),
            roles=self.roles.to(device),
            ordinals=self.ordinals.to(device),
            image_slots=self.image_slots.to(device),
            pixels=_moved(self.pixels, device=device),
            image_features=_moved(self.image_features, device=device),
        )


def assemble(
    texts: Sequence[RowText],
    *,
    image_slots: Sequence[int],
    pixels: UInt8[Tensor, "images 3 side side"] | None = None,
    image_features: Float[Tensor, "images image_tokens image_width"] | None = None,
    encoded: EncodedWindows | None = None,
) -> NetworkInputs:
    """Build a batch; a window that several rows share (a prompt, a refusal) is encoded once.

    Args:
        texts: One per row.
        image_slots: Per row, which image; -1 for none.
        pixels: Distinct images as bytes; or
        image_features: the same, encoded already.
        encoded: Holds every window of the batch; None has the tower read them.

    Raises:
        ValueError: rows and image slots differ in number, or a slot points past the images.
    """
    if len(texts) != len(image_slots):
        raise ValueError(f"{len(texts)} texts but {len(image_slots)} image slots")
    images = pixels if image_features is None else image_features
    held = 0 if images is None else images.shape[0]
    if max(image_slots, default=-1) >= held:
        raise ValueError(f"image slot {max(image_slots)} points past the {held} images given")
    distinct: dict[Window, int] = {}
    for text in texts:
        for window in text.windows:
            distinct.setdefault(window, len(distinct))
    shape = (len(texts), max(len(text.windows) for text in texts))
    slots, roles = np.full(shape, -1), np.full(shape, -1)
    ordinals = np.zeros(shape, dtype=np.int64)
    for row, text in enumerate(texts):
        count = len(text.windows)
        slots[row, :count] = [distinct[window] for window in text.windows]
        roles[row, :count] = text.roles
        ordinals[row, :count] = text.ordinals
    return NetworkInputs(
        packed=Packed.of(list(distinct)) if encoded is None else None,
        window_vectors=None if encoded is None else encoded.of(list(distinct)),
        slots=torch.from_numpy(slots),
        roles=torch.from_numpy(roles),
        ordinals=torch.from_numpy(ordinals),
        image_slots=torch.tensor(list(image_slots), dtype=torch.int64),
        pixels=pixels,
        image_features=image_features,
    )


def _moved(tensor: Tensor | None, *, device: torch.device) -> Tensor | None:
    return None if tensor is None else tensor.to(device)
