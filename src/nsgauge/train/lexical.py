"""Fitting the lexical channel."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from nsgauge.errors import DataError
from nsgauge.models.lexical import Grams, LexicalChannel, LexicalSettings, tfidf
from nsgauge.train.regression import regression

# An n-gram in fewer training rows than this tells nothing about other rows.
ROWS_NEEDED = 2


def fit_lexical(
    grams: Grams, *, shares: Float[np.ndarray, "rows classes"], settings: LexicalSettings
) -> LexicalChannel:
    """Learn what the n-grams of a response say of its class.

    Args:
        grams: Of the training rows.
        shares: How far each row belongs to each class, such as shares of votes; rows sum to one.
        settings: That the grams were counted with.

    Raises:
        DataError: the rows name one class only, or no two of them share an n-gram.
        ValueError: shares aren't distributions, one per row of the grams.
    """
    rows = len(grams.offsets) - 1
    vocabulary, column, rows_with = np.unique(
        grams.keys.numpy(), return_inverse=True, return_counts=True
    )
    kept = _kept(rows_with, most=settings.grams)
    if not len(kept):
        raise DataError(
            f"no n-gram is in {ROWS_NEEDED} of the {rows} responses to learn from: "
            "the lexical channel needs more rows; label more or leave it out"
        )
    idf = np.zeros(len(vocabulary))
    # Smooth inverse document frequency, as scikit-learn's TfidfTransformer has it.
    idf[kept] = np.log((1 + rows) / (1 + rows_with[kept])) + 1
    values = tfidf(grams, idf=torch.from_numpy(idf[column])).numpy()
    features = csr_array((values, column, grams.offsets.numpy()), shape=(rows, len(vocabulary)))
    channel = LexicalChannel(settings, classes=shares.shape[1])
    channel.keys[: len(kept)] = torch.from_numpy(vocabulary[kept])
    channel.idf[: len(kept)] = torch.from_numpy(idf[kept])
    weight, bias = regression(features[:, kept], shares=shares, c=settings.c)
    channel.weight[: len(kept)] = weight
    channel.bias.copy_(bias)
    return channel


def _kept(rows_with: Int[np.ndarray, " grams"], *, most: int) -> Int[np.ndarray, " kept"]:
    """Which n-grams are known, in their own order: those in most rows, if in enough."""
    common = np.argsort(-rows_with, kind="stable")[:most]
    return np.sort(common[rows_with[common] >= ROWS_NEEDED])
