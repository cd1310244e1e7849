"""How much fusion and channels each have to say: shares that rows nobody learned from choose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize
from scipy.special import logsumexp

# Fewer rows than this say little; the given shares stay.
ROWS_NEEDED = 100
# A channel that was asked for is heard: rows that are new may need what these did not.
LEAST = 0.02


def fit_shares(
    voices: Float[np.ndarray, "voices rows classes"],
    *,
    named: Float[np.ndarray, "rows classes"],
    masses: Float[np.ndarray, "rows observations"],
    is_open: Bool[np.ndarray, "observations classes"],
    given: Sequence[float],
) -> tuple[float, ...]:
    """The shares of a weighted mean of log-probabilities that loses least, in nats a row.

    The loss is that of the training (`nsgauge.train.loss.row_losses`): against its classes where a
    row's teacher named them, else against what it said of the cells. What it left open costs none.

    The scale is fitted with them and then dropped, for the calibrator that follows sets it. Among
    shares of at least `LEAST` each, these are the best where all classes are named, for then the
    loss is convex in the weights; else the best that can be reached from those given.

    Source: log opinion pools, Genest and Zidek 1986, section 3.2; fitted on held-out rows as in
    stacking, Wolpert 1992.

    Args:
        voices: Log-probabilities, of rows that they haven't learned from.
        named: Per row, the share of votes that named each class; zeros where none did.
        masses: Per row, the share of votes that said each of `protocol.OBSERVATIONS`.
        is_open: Which classes each observation leaves open.
        given: Shares to return if there are fewer than `ROWS_NEEDED` rows.

    Returns:
        At least `LEAST` each, summing to one.
    """
    rows = len(masses)
    if rows < ROWS_NEEDED:
        return tuple(given)
    said = voices.astype(np.float64)
    told = Told(named=named.astype(np.float64), masses=masses.astype(np.float64), is_open=is_open)
    # Weights are what a voice has of its own and LEAST of the sum, which is as linear as they are.
    spare = 1 - LEAST * len(said)

    def loss(own: Float[np.ndarray, " voices"]) -> tuple[float, Float[np.ndarray, " voices"]]:
        pooled = np.tensordot(own + LEAST / spare * own.sum(), said, axes=1)
        lost, slope = told.loss(pooled - logsumexp(pooled, axis=1, keepdims=True))
        slopes = np.einsum("rc,vrc->v", slope, said)
        slopes = slopes + LEAST / spare * slopes.sum()
        return lost / rows, slopes / rows

    bounds = [(1e-6, None)] * len(said)
    own = minimize(loss, np.array(given), jac=True, bounds=bounds, method="L-BFGS-B").x
    return tuple(float(share) for share in LEAST + spare * own / own.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a teacher said of rows; attributes as the arguments of `fit_shares`."""

    named: Float[np.ndarray, "rows classes"]
    masses: Float[np.ndarray, "rows observations"]
    is_open: Bool[np.ndarray, "observations classes"]

    def loss(
        self, logs: Float[np.ndarray, "rows classes"]
    ) -> tuple[float, Float[np.ndarray, "rows classes"]]:
        """The rows' losses summed, and their slopes by the classes' logits.

        Args:
            logs: Log-probabilities of the classes.
        """
        by_class = self.named.sum(axis=1) > 0
        left = np.where(self.is_open, logs[:, None, :], -np.inf)
        seen = logsumexp(left, axis=2)
        # What an observation leaves open is believed as it is: the rest has no slope.
        believed = np.einsum("ro,roc->rc", self.masses, np.exp(left - seen[:, :, None]))
        lost = np.where(
            by_class, -(self.named * logs).sum(axis=1), -(self.masses * seen).sum(axis=1)
        )
        target = np.where(by_class[:, None], self.named, believed)
        return float(lost.sum()), target.sum(axis=1, keepdims=True) * np.exp(logs) - target
