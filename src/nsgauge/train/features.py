"""Vectors of a corpus from the towers as they are, and logits from the network as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nsgauge.data.split import Side
from nsgauge.models.inputs import EncodedTokens, EncodedWindows
from nsgauge.models.language import exchange_width
from nsgauge.models.lora import adapters_off
from nsgauge.models.network import Network
from nsgauge.models.prediction import (
    RowBatch,
    cell_logits,
    encode_images,
    encode_tokens,
    encode_windows,
    member_voices,
    row_features,
)
from nsgauge.models.towers.packing import Window
from nsgauge.train.corpus import Corpus
from nsgauge.train.token_cache import cached_exchanges, cached_tokens

TOKENS_PER_BATCH = 8192
IMAGES_PER_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusVectors:
    """Every distinct image and window that isn't for testing, encoded once.

    Attributes:
        images: Vectors of each image, by `image_index`; None without images.
        image_index: Row of an image in `images`, by digest.
        windows: Vectors of each window, or its tokens where the members pool them.
        exchanges: Per row of the corpus, what the language model made of it; zeros where nobody
            has read it. None without a language channel.
    """

    images: Float[Tensor, "images image_tokens image_width"] | None
    image_index: dict[str, int]
    windows: EncodedWindows | EncodedTokens
    exchanges: Float[Tensor, "rows exchange_width"] | None = None


def corpus_vectors(network: Network, *, corpus: Corpus, cache: Path | None) -> CorpusVectors:
    """Encode a corpus, its test side excepted; leaves the network in eval mode.

    Args:
        network: Whose adapters, if any, are still without effect.
        corpus: Whose pictures and windows.
        cache: Folder of tokens that outlives the training; None for none.
    """
    network.eval()
    # A kept file holds every row's tokens: trainings on other splits of the data share it.
    kept = cache is not None and network.pools_tokens
    rows = [row for row, side in enumerate(corpus.sides) if kept or side is not Side.TEST]
    windows = dict.fromkeys(window for row in rows for window in corpus.texts[row].windows)
    digests = sorted({digest for row in rows if (digest := corpus.image_digests[row]) is not None})
    with adapters_off(network.text_tower), adapters_off(network.image_tower):
        return CorpusVectors(
            images=_image_vectors(network, corpus=corpus, digests=digests),
            image_index={digest: index for index, digest in enumerate(digests)},
            windows=_windows(network, windows=list(windows), cache=cache),
            exchanges=_exchanges(network, corpus=corpus, rows=rows, cache=cache),
        )


def corpus_logits(
    network: Network, *, corpus: Corpus, rows: Sequence[int], vectors: CorpusVectors | None = None
) -> Float[np.ndarray, "rows cells"]:
    """Uncalibrated logits of some rows of a corpus; leaves the network in eval mode.

    Args:
        network: Whose.
        corpus: What is decided on.
        rows: Row numbers.
        vectors: What the towers made of the corpus; None has them read the rows.
    """
    network.eval()
    batch = _row_batch(network, corpus=corpus, rows=rows, vectors=vectors)
    return cell_logits(network, rows=batch, tokens_per_batch=TOKENS_PER_BATCH)


def corpus_voices(
    network: Network, *, corpus: Corpus, rows: Sequence[int], vectors: CorpusVectors | None = None
) -> Float[np.ndarray, "members voices rows classes"]:
    """Log-probabilities of every member's fusion and channels; arguments as `corpus_logits`."""
    network.eval()
    batch = _row_batch(network, corpus=corpus, rows=rows, vectors=vectors)
    return member_voices(network, rows=batch, tokens_per_batch=TOKENS_PER_BATCH)


def held_out_voices(
    network: Network, *, corpus: Corpus, rows: Sequence[int], vectors: CorpusVectors | None = None
) -> Float[np.ndarray, "voices rows classes"]:
    """As `corpus_voices`, but each row's are those of the one member that didn't learn from it.

    Of a network with one member, of rows that it hasn't learned from.
    """
    said = corpus_voices(network, corpus=corpus, rows=rows, vectors=vectors)
    if len(said) == 1:
        return said[0]
    return said[corpus.parts[list(rows)], :, np.arange(len(rows))].swapaxes(0, 1)


def held_out_logits(
    network: Network, *, corpus: Corpus, rows: Sequence[int], vectors: CorpusVectors | None = None
) -> Float[np.ndarray, "rows cells"]:
    """Uncalibrated logits by `held_out_voices`; leaves the network in eval mode."""
    voices = held_out_voices(network, corpus=corpus, rows=rows, vectors=vectors)
    shares = network.settings.channels.shares
    joined = torch.tensordot(torch.tensor(shares), torch.from_numpy(voices), dims=1)
    return network.cells(joined).numpy()


@torch.inference_mode()
def corpus_features(
    network: Network, *, corpus: Corpus, rows: Sequence[int], vectors: CorpusVectors | None
) -> Float[np.ndarray, "rows features"]:
    """What a linear probe takes of some rows, the same for every member; arguments as above."""
    network.eval()
    batch = _row_batch(network, corpus=corpus, rows=rows, vectors=vectors)
    return row_features(network, rows=batch, tokens_per_batch=TOKENS_PER_BATCH)


def _row_batch(
    network: Network, *, corpus: Corpus, rows: Sequence[int], vectors: CorpusVectors | None
) -> RowBatch:
    digests = [corpus.image_digests[row] for row in rows]
    distinct = sorted({digest for digest in digests if digest is not None})
    slot = {digest: index for index, digest in enumerate(distinct)}
    if vectors is None:
        features = _image_vectors(network, corpus=corpus, digests=distinct)
    elif vectors.images is None or not distinct:
        features = None
    else:
        features = vectors.images[[vectors.image_index[digest] for digest in distinct]]
    return RowBatch(
        texts=[corpus.texts[row] for row in rows],
        image_slots=[-1 if digest is None else slot[digest] for digest in digests],
        image_features=features,
        encoded=None if vectors is None else vectors.windows,
        exchanges=row_exchanges(network, corpus=corpus, rows=rows, vectors=vectors),
    )


def row_exchanges(
    network: Network, *, corpus: Corpus, rows: Sequence[int], vectors: CorpusVectors | None
) -> Float[Tensor, "rows exchange_width"] | None:
    """What the language model makes of some rows; None without one."""
    if vectors is not None:
        return None if vectors.exchanges is None else vectors.exchanges[list(rows)]
    found = _exchanges(network, corpus=corpus, rows=rows, cache=None)
    return None if found is None else found[list(rows)]


def _exchanges(
    network: Network, *, corpus: Corpus, rows: Sequence[int], cache: Path | None
) -> Float[Tensor, "all_rows exchange_width"] | None:
    """Of these rows what the language model makes of them, of others zeros."""
    tower, exchanges = network.language_tower, corpus.exchanges
    if tower is None or exchanges is None:
        return None
    told = exchanges.rows(np.array(rows, dtype=np.int64))
    found = torch.zeros(len(exchanges), exchange_width(tower))
    found[list(rows)] = cached_exchanges(
        tower, rows=told, cache=cache, tokens_per_batch=TOKENS_PER_BATCH
    )
    return found


def _windows(
    network: Network, *, windows: Sequence[Window], cache: Path | None
) -> EncodedWindows | EncodedTokens:
    tower = network.text_tower
    if not network.pools_tokens:
        return encode_windows(tower, windows=windows, tokens_per_batch=TOKENS_PER_BATCH)
    if cache is None:
        return encode_tokens(tower, windows=windows, tokens_per_batch=TOKENS_PER_BATCH)
    return cached_tokens(tower, windows=windows, cache=cache, tokens_per_batch=TOKENS_PER_BATCH)


def _image_vectors(
    network: Network, *, corpus: Corpus, digests: Sequence[str]
) -> Float[Tensor, "images image_tokens image_width"] | None:
    if not digests:
        return None
    batches = (
        np.stack([corpus.images[digest] for digest in digests[start : start + IMAGES_PER_BATCH]])
        for start in range(0, len(digests), IMAGES_PER_BATCH)
    )
    return encode_images(network.image_tower, batches=batches)
