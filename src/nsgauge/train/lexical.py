"""Fitting the lexical channel: weighted multinomial logistic regression, by scikit-learn."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from nsgauge.errors import DataError
from nsgauge.models.lexical import Grams, LexicalChannel, LexicalSettings, tfidf

# Of a class that no training row names: e^-30 beside the others, whose biases are around zero.
ABSENT_LOGIT = -30.0
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
    named = _named(shares, rows=rows)
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
    weight, bias = _regression(features[:, kept], shares=shares[:, named], c=settings.c)
    channel.weight[: len(kept), named] = torch.from_numpy(weight).float()
    channel.bias.fill_(ABSENT_LOGIT)
    channel.bias[named] = torch.from_numpy(bias).float()
    return channel


def _named(shares: Float[np.ndarray, "rows classes"], *, rows: int) -> Int[np.ndarray, " named"]:
    """The classes that have a share; there are two at least."""
    if len(shares) != rows or rows == 0:
        raise ValueError(f"{len(shares)} rows of shares for the grams of {rows}: give one each")
    if shares.min() < 0 or not np.allclose(shares.sum(axis=1), 1):
        raise ValueError("each row's shares must lie in [0, 1] and sum to one")
    named = np.flatnonzero(shares.sum(axis=0))
    if len(named) < 2:
        raise DataError(
            f"all {rows} rows to learn from are of one class (number {named[0]} of "
            f"{shares.shape[1]}): the lexical channel needs two; label more rows or leave it out"
        )
    return named


def _kept(rows_with: Int[np.ndarray, " grams"], *, most: int) -> Int[np.ndarray, " kept"]:
    """Which n-grams are known, in their own order: those in most rows, if in enough."""
    common = np.argsort(-rows_with, kind="stable")[:most]
    return np.sort(common[rows_with[common] >= ROWS_NEEDED])


def _regression(
    features: csr_array, *, shares: Float[np.ndarray, "rows classes"], c: float
) -> tuple[Float[np.ndarray, "kept classes"], Float[np.ndarray, " classes"]]:
    """Weights and biases of classes that all have a share."""
    row, label = np.nonzero(shares)
    regression = LogisticRegression(C=c, max_iter=2000)
    regression.fit(features[row], label, sample_weight=shares[row, label])
    weights, bias = regression.coef_, regression.intercept_
    if shares.shape[1] == 2:
        # scikit-learn gives the log-odds of the second class alone.
        weights, bias = (np.concatenate([-half, half]) / 2 for half in (weights, bias))
    return weights.T, bias
