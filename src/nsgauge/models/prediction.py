"""Logits for many rows: images first and once, then text under a token budget."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from nsgauge.models.inputs import EncodedTokens, EncodedWindows, NetworkInputs, assemble
from nsgauge.models.language import exchange_width, of_rows, read_exchanges
from nsgauge.models.member import Member, TowerVectors
from nsgauge.models.network import Network
from nsgauge.models.pooling import ReadTokens
from nsgauge.models.probe import probe_features
from nsgauge.models.row_windows import RowText, RowWindows
from nsgauge.models.towers.image import ImageTower
from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.towers.text import TextTower
from nsgauge.protocol import CELLS


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
def encode_tokens(
    tower: TextTower, *, windows: Sequence[Window], tokens_per_batch: int
) -> EncodedTokens:
    """Tokens of distinct windows, in fp16 on the CPU."""
    device = next(tower.parameters()).device
    lengths = np.array([len(window.ids) for window in windows])
    ends = np.cumsum(lengths)
    starts = ends - lengths
    vectors = torch.empty(int(lengths.sum()), tower.token_width, dtype=torch.float16)
    for rows in batches_under_budget(lengths.tolist(), tokens_per_batch=tokens_per_batch):
        batch = [windows[row] for row in rows]
        order = Packed.order(batch)
        tokens = tower.tokens(Packed.of(batch).to(device)).half().cpu()
        places = np.concatenate([np.arange(starts[rows[i]], ends[rows[i]]) for i in order])
        vectors[torch.from_numpy(places)] = tokens
    return EncodedTokens(
        start={window: int(start) for window, start in zip(windows, starts, strict=True)},
        vectors=vectors,
    )


def window_shape(network: Network) -> tuple[int, int]:
    """How many vectors `read_windows` makes of a window, and how wide they are."""
    if not network.pools_tokens:
        return 1, network.text_tower.width
    pools = [member.pool for member in network.members if isinstance(member, Member)]
    return len(pools), max(pool.width for pool in pools if pool is not None)


@torch.inference_mode()
def read_windows(network: Network, *, packed: Packed) -> Float[Tensor, "sequences readers width"]:
    """What the members are given of each window, in fp32 on the CPU, in the order packed from.

    One vector where the text tower pools; where the members have pools of their own, one each.
    """
    packed = packed.to(next(network.parameters()).device)
    if not network.pools_tokens:
        return network.text_tower(packed).float().cpu().unsqueeze(1)
    tokens = network.text_tower.tokens(packed).float()
    read = ReadTokens.of(tokens, packed=packed, noise=network.token_noise)
    pools = [member.pool for member in network.members if isinstance(member, Member)]
    pooled = [pool(read) for pool in pools if pool is not None]
    return torch.stack(pooled, dim=1).cpu()


@torch.inference_mode()
def encode_exchanges(
    tower: TextTower, *, rows: RowWindows, tokens_per_batch: int
) -> Float[Tensor, "rows width"]:
    """What a language model makes of rows, in fp32 on the CPU; equal windows are read once."""
    device = next(tower.parameters()).device
    first, places = first_of_equals(rows.windows.keys())
    lengths = rows.windows.lengths[first]
    vectors = np.empty((len(first), exchange_width(tower)), dtype=np.float32)
    for batch in batches_under_budget(lengths.tolist(), tokens_per_batch=tokens_per_batch):
        packed = rows.windows.pack(first[batch]).to(device)
        vectors[batch] = read_exchanges(tower, packed=packed).cpu().numpy()
    each = np.diff(rows.bounds)
    return torch.from_numpy(of_rows(vectors[places], each=each, roles=rows.roles, tower=tower))


def first_of_equals(
    keys: Sequence[bytes],
) -> tuple[Int[np.ndarray, " distinct"], Int[np.ndarray, " windows"]]:
    """Of each distinct key, where it first is; and per key, its place among these."""
    distinct: dict[bytes, int] = {}
    places = [distinct.setdefault(key, len(distinct)) for key in keys]
    first = np.unique(places, return_index=True)[1]
    return first, np.array(places, dtype=np.int64)


@torch.inference_mode()
def logits_of_read(
    network: Network,
    *,
    inputs: NetworkInputs,
    windows: Float[Tensor, "windows readers width"],
) -> Float[np.ndarray, "rows cells"]:
    """Uncalibrated logits of rows whose windows and images are read already.

    Args:
        network: In eval mode.
        inputs: With `image_features`, and slots that point into `windows`.
        windows: What `read_windows` made.
    """
    features = inputs.image_features
    if features is None:
        raise ValueError("read the images first, or give one of zeros where there is none")
    image, present = features[inputs.image_slots.clamp(min=0)], inputs.image_slots >= 0
    said = [
        member(
            TowerVectors(
                image=image,
                image_present=present,
                windows=windows[:, index % windows.shape[1]],
                tokens=None,
            ),
            inputs=inputs,
        )
        for index, member in enumerate(network.members)
    ]
    return network.cells(torch.stack(said).mean(dim=0)).float().cpu().numpy()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBatch:
    """Rows to decide on.

    Attributes:
        texts: The rows' windows.
        image_slots: Per row, index into `image_features`; -1 for no image.
        image_features: What `encode_images` gave; None if no row has an image.
        encoded: Holds every window of the rows; None has the tower read them.
        exchanges: What the language model made of each row; None where there is no such channel.
    """

    texts: Sequence[RowText]
    image_slots: Sequence[int]
    image_features: Float[Tensor, "images image_tokens image_width"] | None
    encoded: EncodedWindows | EncodedTokens | None = None
    exchanges: Float[Tensor, "rows exchange_width"] | None = None


@torch.inference_mode()
def cell_logits(
    network: Network, *, rows: RowBatch, tokens_per_batch: int
) -> Float[np.ndarray, "rows cells"]:
    """Uncalibrated logits of each row, in the order given.

    Args:
        network: In eval mode, on the device to run on.
        rows: What to decide on.
        tokens_per_batch: Packed tokens in one forward.
    """
    logits = np.empty((len(rows.texts), len(CELLS)), dtype=np.float32)
    for at, inputs in _forwards(network, rows=rows, tokens_per_batch=tokens_per_batch):
        logits[at] = network(inputs).float().cpu().numpy()
    return logits


@torch.inference_mode()
def member_voices(
    network: Network, *, rows: RowBatch, tokens_per_batch: int
) -> Float[np.ndarray, "members voices rows classes"]:
    """Log-probabilities of each member's fusion and channels, in the order given; as `cell_logits`.

    The voices are in the order of `ChannelSettings.shares`.
    """
    settings = network.settings
    shape = (settings.members, len(settings.channels.shares), len(rows.texts))
    said = np.empty((*shape, len(settings.classes)), dtype=np.float32)
    for at, inputs in _forwards(network, rows=rows, tokens_per_batch=tokens_per_batch):
        said[:, :, at] = network.voices(inputs).float().cpu().numpy()
    return said


@torch.inference_mode()
def row_features(
    network: Network, *, rows: RowBatch, tokens_per_batch: int
) -> Float[np.ndarray, "rows features"]:
    """What a linear probe takes of each row, in the order given; as `cell_logits`."""
    found: list[tuple[list[int], np.ndarray]] = []
    for at, inputs in _forwards(network, rows=rows, tokens_per_batch=tokens_per_batch):
        read = network.read(inputs)
        windows = read.windows if read.tokens is None else read.tokens.means_as_given()
        if windows is None:
            raise ValueError("the towers gave neither windows nor tokens")
        features = probe_features(
            read.image,
            image_present=read.image_present,
            text=windows[inputs.slots.clamp(min=0)],
            roles=inputs.roles,
        )
        found.append((at, features.float().cpu().numpy()))
    order = np.concatenate([at for at, _ in found])
    return np.concatenate([features for _, features in found])[np.argsort(order)]


def _forwards(
    network: Network, *, rows: RowBatch, tokens_per_batch: int
) -> Iterator[tuple[list[int], NetworkInputs]]:
    """Row numbers and inputs of one forward after another."""
    device = next(network.parameters()).device
    sizes = [sum(len(window.ids) for window in text.windows) for text in rows.texts]
    features = rows.image_features
    for at in batches_under_budget(sizes, tokens_per_batch=tokens_per_batch):
        slots = [rows.image_slots[row] for row in at]
        distinct = sorted({slot for slot in slots if slot >= 0})
        local = {slot: index for index, slot in enumerate(distinct)} | {-1: -1}
        inputs = assemble(
            [rows.texts[row] for row in at],
            image_slots=[local[slot] for slot in slots],
            image_features=None if features is None or not distinct else features[distinct],
            encoded=rows.encoded,
            channels=network.settings.channels,
        )
        if rows.exchanges is not None:
            inputs = replace(inputs, exchanges=rows.exchanges[at])
        yield at, inputs.to(device)
