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

    The scale is fitted with them and then dropped, for the calibrator that follows sets it. Among
    shares of at least `LEAST` each, these are the best: the loss is convex in the weights.

    Source: log opinion pools, Genest and Zidek 1986, section 3.2; fitted on held-out rows as in
    stacking, Wolpert 1992.

    Args:
        voices: Log-probabilities, of rows that they haven't learned from.
        truth: How far each row belongs to each class; rows sum to one.
        given: Shares to return if there are fewer than `ROWS_NEEDED` rows.

    Returns:
        At least `LEAST` each, summing to one.
    """
    if len(truth) < ROWS_NEEDED:
        return tuple(given)
    said = voices.astype(np.float64)
    # Weights are what a voice has of its own and LEAST of the sum, which is as linear as they are.
    spare = 1 - LEAST * len(said)

    def loss(own: Float[np.ndarray, " voices"]) -> tuple[float, Float[np.ndarray, " voices"]]:
        pooled = np.tensordot(own + LEAST / spare * own.sum(), said, axes=1)
        logs = pooled - logsumexp(pooled, axis=1, keepdims=True)
        slopes = np.einsum("rc,vrc->v", np.exp(logs) - truth, said)
        slopes = slopes + LEAST / spare * slopes.sum()
        return -float((truth * logs).sum()) / len(truth), slopes / len(truth)

    bounds = [(1e-6, None)] * len(said)
    own = minimize(loss, np.array(given), jac=True, bounds=bounds, method="L-BFGS-B").x
    return tuple(float(share) for share in LEAST + spare * own / own.sum())
