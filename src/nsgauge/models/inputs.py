"""What the network reads: one batch, its distinct windows and images once each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from nsgauge.models.channels import ChannelSettings
from nsgauge.models.lexical import Grams, response_grams
from nsgauge.models.row_windows import RowText, RowWindows
from nsgauge.models.stretches import gathered
from nsgauge.models.towers.packing import Packed, Window


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
class EncodedTokens:
    """Windows whose tokens the text tower has read already.

    Attributes:
        start: Where each window's tokens begin in `vectors`.
        vectors: What the tower made of them, end to end; in half precision to save memory.
    """

    start: Mapping[Window, int]
    vectors: Float[Tensor, "all_tokens token_width"]

    def of(self, windows: Sequence[Window]) -> Float[Tensor, "tokens token_width"]:
        """Tokens of some windows in fp32, in the order in which `Packed.of` lays them."""
        order = Packed.order(windows)
        spans = [(self.start[windows[index]], len(windows[index].ids)) for index in order]
        rows = [np.arange(start, start + length) for start, length in spans]
        return self.vectors[torch.from_numpy(np.concatenate(rows))].float()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInputs:
    """A batch of rows.

    Attributes:
        packed: The batch's distinct windows; None where `window_vectors` are given.
        window_vectors: The same windows, encoded already, or None.
        token_vectors: The tokens of `packed`, encoded already, or None.
        slots: Per row, indices into the windows; -1 in unused slots.
        roles: Per slot, its TextRole; -1 in unused slots.
        ordinals: Per slot, its number within its role.
        image_slots: Per row, index into `pixels` or `image_features`; -1 for no image.
        pixels: The batch's distinct images, or None.
        image_features: The same images, encoded already, or None.
        grams: Of the responses, for a lexical channel.
        channels: Whether the members' channels join in; training leaves them out.
        exchanges: What the language model made of each row, for a language channel.
    """

    packed: Packed | None
    window_vectors: Float[Tensor, "windows text_width"] | None
    token_vectors: Float[Tensor, "tokens token_width"] | None
    slots: Int[Tensor, "rows slots"]
    roles: Int[Tensor, "rows slots"]
    ordinals: Int[Tensor, "rows slots"]
    image_slots: Int[Tensor, " rows"]
    pixels: UInt8[Tensor, "images 3 side side"] | None
    image_features: Float[Tensor, "images image_tokens image_width"] | None
    grams: Grams | None = None
    channels: bool = False
    exchanges: Float[Tensor, "rows exchange_width"] | None = None

    def to(self, device: torch.device) -> "NetworkInputs":
        """The same batch on another device."""
        return NetworkInputs(
            packed=None if self.packed is None else self.packed.to(device),
            window_vectors=_moved(self.window_vectors, device=device),
            token_vectors=_moved(self.token_vectors, device=device),
            slots=self.slots.to(device),
            roles=self.roles.to(device),
            ordinals=self.ordinals.to(device),
            image_slots=self.image_slots.to(device),
            pixels=_moved(self.pixels, device=device),
            image_features=_moved(self.image_features, device=device),
            grams=None if self.grams is None else self.grams.to(device),
            channels=self.channels,
            exchanges=_moved(self.exchanges, device=device),
        )


def assemble(
    texts: Sequence[RowText],
    *,
    image_slots: Sequence[int],
    pixels: UInt8[Tensor, "images 3 side side"] | None = None,
    image_features: Float[Tensor, "images image_tokens image_width"] | None = None,
    encoded: EncodedWindows | EncodedTokens | None = None,
    channels: ChannelSettings | None = None,
) -> NetworkInputs:
    """Build a batch; a window that several rows share (a prompt, a refusal) is encoded once.

    Args:
        texts: One per row.
        image_slots: Per row, which image; -1 for none.
        pixels: Distinct images as bytes; or
        image_features: the same, encoded already.
        encoded: Holds every window of the batch; None has the tower read them.
        channels: The members', which join in; None leaves them out.

    Raises:
        ValueError: rows and image slots differ in number, or a slot points past the images.
    """
    if len(texts) != len(image_slots):
        raise ValueError(f"{len(texts)} texts but {len(image_slots)} image slots")
    images = pixels if image_features is None else image_features
    held = 0 if images is None else images.shape[0]
    if max(image_slots, default=-1) >= held:
        raise ValueError(f"image slot {max(image_slots)} points past the {held} images given")
    lexical = None if channels is None else channels.lexical
    distinct: dict[Window, int] = {}
    for text in texts:
        for window in text.windows:
            distinct.setdefault(window, len(distinct))
    windows = list(distinct)
    shape = (len(texts), max(len(text.windows) for text in texts))
    slots, roles = np.full(shape, -1), np.full(shape, -1)
    ordinals = np.zeros(shape, dtype=np.int64)
    for row, text in enumerate(texts):
        count = len(text.windows)
        slots[row, :count] = [distinct[window] for window in text.windows]
        roles[row, :count] = text.roles
        ordinals[row, :count] = text.ordinals
    return NetworkInputs(
        packed=None if isinstance(encoded, EncodedWindows) else Packed.of(windows),
        window_vectors=encoded.of(windows) if isinstance(encoded, EncodedWindows) else None,
        token_vectors=encoded.of(windows) if isinstance(encoded, EncodedTokens) else None,
        slots=torch.from_numpy(slots),
        roles=torch.from_numpy(roles),
        ordinals=torch.from_numpy(ordinals),
        image_slots=torch.tensor(list(image_slots), dtype=torch.int64),
        pixels=pixels,
        image_features=image_features,
        grams=None if lexical is None else response_grams(texts, settings=lexical),
        channels=channels is not None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Where the windows of some rows are, as `NetworkInputs` has it."""

    slots: Int[Tensor, "rows slots"]
    roles: Int[Tensor, "rows slots"]
    ordinals: Int[Tensor, "rows slots"]

    @classmethod
    def of(
        cls,
        rows: RowWindows,
        *,
        chosen: Int[np.ndarray, " chosen"],
        places: Int[np.ndarray, " windows"],
    ) -> "Slots":
        """Slots of some rows.

        Args:
            rows: The windows of these and other rows.
            chosen: Row numbers.
            places: Per window of `rows`, which of the distinct windows it is.
        """
        counts = np.diff(rows.bounds)[chosen]
        windows = gathered(
            np.arange(len(rows.roles)), starts=rows.bounds[:-1][chosen], lengths=counts
        )
        used = np.arange(counts.max(initial=0)) < counts[:, None]
        slots, roles = np.full(used.shape, -1), np.full(used.shape, -1)
        ordinals = np.zeros(used.shape, dtype=np.int64)
        slots[used], roles[used] = places[windows], rows.roles[windows]
        ordinals[used] = rows.ordinals[windows]
        return cls(
            slots=torch.from_numpy(slots),
            roles=torch.from_numpy(roles),
            ordinals=torch.from_numpy(ordinals),
        )


def _moved(tensor: Tensor | None, *, device: torch.device) -> Tensor | None:
    return None if tensor is None else tensor.to(device)
