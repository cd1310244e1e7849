"""Vectors of a corpus from the towers as they are, and logits from the network as it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from nsgauge.models.inputs import EncodedWindows
from nsgauge.models.network import Network
from nsgauge.models.prediction import cell_logits, encode_images, encode_windows
from nsgauge.train.corpus import Corpus

TOKENS_PER_BATCH = 8192
IMAGES_PER_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusVectors:
    """Every distinct image and window of a corpus, encoded once.

    Attributes:
        images: Vectors of each image, by `image_index`; None without images.
        image_index: Row of an image in `images`, by digest.
        windows: Vectors of each window.
    """

    images: Float[Tensor, "images image_tokens image_width"] | None
    image_index: dict[str, int]
    windows: EncodedWindows


def corpus_vectors(network: Network, *, corpus: Corpus) -> CorpusVectors:
    """Encode a corpus; leaves the network in eval mode."""
    network.eval()
    distinct = dict.fromkeys(window for text in corpus.texts for window in text.windows)
    digests = sorted(corpus.images)
    return CorpusVectors(
        images=_image_vectors(network, corpus=corpus, digests=digests),
        image_index={digest: index for index, digest in enumerate(digests)},
        windows=encode_windows(
            network.text_tower, windows=list(distinct), tokens_per_batch=TOKENS_PER_BATCH
        ),
    )


def corpus_logits(
    network: Network, *, corpus: Corpus, rows: list[int]
) -> Float[np.ndarray, "rows cells"]:
    """Uncalibrated logits of some rows of a corpus; leaves the network in eval mode."""
    network.eval()
    digests = [corpus.image_digests[row] for row in rows]
    distinct = sorted({digest for digest in digests if digest is not None})
    slot = {digest: index for index, digest in enumerate(distinct)}
    return cell_logits(
        network,
        texts=[corpus.texts[row] for row in rows],
        image_slots=[-1 if digest is None else slot[digest] for digest in digests],
        image_features=_image_vectors(network, corpus=corpus, digests=distinct),
        tokens_per_batch=TOKENS_PER_BATCH,
    )


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
