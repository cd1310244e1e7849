"""Logits for many rows: images first and once, then text under a token budget."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nsgauge.models.inputs import EncodedWindows, assemble
from nsgauge.models.network import Network
from nsgauge.models.towers.image import ImageTower
from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.towers.text import TextTower
from nsgauge.models.windows import RowText


def batches_under_budget(sizes: Sequence[int], *, tokens_per_batch: int) -> list[list[int]]:
    """Row numbers in batches of similar size; each fits the budget, or is a single row.

    The order depends on the sizes alone, so the same rows give the same batches.
    """
    order = sorted(range(len(sizes)), key=lambda row: (sizes[row], row))
    batches: list[list[int]] = []
    used = 0
    for row in order:
        if not batches or used + sizes[row] > tokens_per_batch:
            batches.append([])
            used = 0
        batches[-1].append(row)
        used += sizes[row]
    return batches


@torch.inference_mode()
def encode_images(
    tower: ImageTower, *, batches: Iterable[UInt8[np.ndarray, "_images 3 side side"]]
) -> Float[Tensor, "all_images image_tokens image_width"]:
    """Image vectors in fp32 on the CPU, batch after batch.

    Raises:
        ValueError: there are no batches.
    """
    device = tower.mean.device
    parts = []
    for batch in batches:
        pixels = torch.from_numpy(batch).to(device, memory_format=torch.channels_last)
        parts.append(tower(pixels).float().cpu())
    if not parts:
        raise ValueError("no images to encode")
    return torch.cat(parts)


@torch.inference_mode()
def encode_windows(
    tower: TextTower, *, windows: Sequence[Window], tokens_per_batch: int
) -> EncodedWindows:
    """Vectors of distinct windows, in fp32 on the CPU."""
    device = next(tower.parameters()).device
    vectors = torch.empty(len(windows), tower.width)
    sizes = [len(window.ids) for window in windows]
    for rows in batches_under_budget(sizes, tokens_per_batch=tokens_per_batch):
        packed = Packed.of([windows[row] for row in rows]).to(device)
        vectors[rows] = tower(packed).float().cpu()
    return EncodedWindows(
        index={window: row for row, window in enumerate(windows)}, vectors=vectors
    )


@torch.inference_mode()
def cell_logits(
    network: Network,
    *,
    texts: Sequence[RowText],
    image_slots: Sequence[int],
    image_features: Float[Tensor, "images image_tokens image_width"] | None,
    tokens_per_batch: int,
) -> Float[np.ndarray, "rows cells"]:
    """Uncalibrated logits of each row, in the order given.

    Args:
        network: In eval mode, on the device to run on.
        texts: The rows' windows.
        image_slots: Per row, index into `image_features`; -1 for no image.
        image_features: What `encode_images` gave; None if no row has an image.
        tokens_per_batch: Packed tokens in one forward.
    """
    device = next(network.parameters()).device
    logits = np.empty((len(texts), 4), dtype=np.float32)
    sizes = [sum(len(window.ids) for window in text.windows) for text in texts]
    for rows in batches_under_budget(sizes, tokens_per_batch=tokens_per_batch):
        slots = [image_slots[row] for row in rows]
        distinct = sorted({slot for slot in slots if slot >= 0})
        local = {slot: index for index, slot in enumerate(distinct)} | {-1: -1}
        features = None if image_features is None or not distinct else image_features[distinct]
        inputs = assemble(
            [texts[row] for row in rows],
            image_slots=[local[slot] for slot in slots],
            image_features=features,
        )
        logits[rows] = network(inputs.to(device)).float().cpu().numpy()
    return logits
