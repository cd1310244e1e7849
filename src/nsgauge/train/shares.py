"""How much fusion and channels each have to say: shares that rows nobody learned from choose."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import logsumexp

# Fewer rows than this say little; the given shares stay.
ROWS_NEEDED = 100
# A channel that was asked for is heard: rows that are new may need what these did not.
LEAST = 0.02


def fit_shares(
    voices: Float[np.ndarray, "voices rows classes"],
    *,
    truth: Float[np.ndarray, "rows classes"],
    given: Sequence[float],
) -> tuple[float, ...]:
    """The shares of a weighted mean of log-probabilities that loses least, in nats a row.

    The sum of the weights is free while they are fitted, and one in what is returned: the
    calibrator that follows sets the scale. The loss is convex in them.

    Source: log opinion pools, Genest and Zidek 1986, section 3.2; fitted on held-out rows as in
    stacking, Wolpert 1992.

    Args:
        voices: Log-probabilities, of rows that they haven't learned from.
        truth: How far each row belongs to each class; rows sum to one.
        given: Shares to return if there are fewer than `ROWS_NEEDED` rows.

    Returns:
        At least `LEAST` each, summing to one.
    """
    said = voices.astype(np.float64)
    if len(truth) < ROWS_NEEDED:
        return tuple(given)

    def loss(
        weights: Float[np.ndarray, " voices"],
    ) -> tuple[float, Float[np.ndarray, " voices"]]:
        pooled = np.tensordot(weights, said, axes=1)
        logs = pooled - logsumexp(pooled, axis=1, keepdims=True)
        slopes = np.einsum("rc,vrc->v", np.exp(logs) - truth, said)
        return -float((truth * logs).sum()) / len(truth), slopes / len(truth)

    bounds = [(LEAST, None)] * len(said)
    found = minimize(loss, np.array(given), jac=True, bounds=bounds, method="L-BFGS-B").x
    # Not below LEAST after the sum is one: what is above it is shared out.
    spare = np.maximum(found / found.sum() - LEAST, 0)
    shares = LEAST + spare / spare.sum() * (1 - LEAST * len(said))
    return tuple(float(share) for share in shares)
