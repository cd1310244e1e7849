"""Weighted multinomial logistic regression, by scikit-learn: how channels are fitted."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from nsgauge.errors import DataError

# Of a class that no training row names: e^-30 beside the others, whose biases are around zero.
ABSENT_LOGIT = -30.0


def regression(
    features: csr_array | Float[np.ndarray, "rows features"],
    *,
    shares: Float[np.ndarray, "rows classes"],
    c: float,
) -> tuple[Float[Tensor, "features classes"], Float[Tensor, " classes"]]:
    """Weights and biases; of a class without a share no weight, and a bias that rules it out.

    Args:
        features: Of the rows to learn from.
        shares: How far each row belongs to each class, such as shares of votes; rows sum to one.
        c: Inverse of the regularisation's strength.

    Raises:
        DataError: the rows name one class only.
        ValueError: shares aren't distributions, one per row of the features.
    """
    named = _named(shares, rows=features.shape[0])
    row, label = np.nonzero(shares[:, named])
    fitted = LogisticRegression(C=c, max_iter=2000)
    fitted.fit(features[row], label, sample_weight=shares[row, named[label]])
    weights, biases = fitted.coef_, fitted.intercept_
    if len(named) == 2:
        # scikit-learn gives the log-odds of the second class alone.
        weights, biases = (np.concatenate([-half, half]) / 2 for half in (weights, biases))
    weight = torch.zeros(features.shape[1], shares.shape[1])
    bias = torch.full((shares.shape[1],), ABSENT_LOGIT)
    weight[:, named] = torch.from_numpy(weights.T).float()
    bias[named] = torch.from_numpy(biases).float()
    return weight, bias


def _named(shares: Float[np.ndarray, "rows classes"], *, rows: int) -> Int[np.ndarray, " named"]:
    """The classes that have a share; there are two at least."""
    if len(shares) != rows or rows == 0:
        raise ValueError(f"{len(shares)} rows of shares for the features of {rows}: give one each")
    if shares.min() < 0 or not np.allclose(shares.sum(axis=1), 1):
        raise ValueError("each row's shares must lie in [0, 1] and sum to one")
    named = np.flatnonzero(shares.sum(axis=0))
    if len(named) < 2:
        raise DataError(
            f"all {rows} rows to learn from are of one class (number {named[0]} of "
            f"{shares.shape[1]}): a lexical channel or a probe needs two; label more rows or leave "
            "it out"
        )
    return named
