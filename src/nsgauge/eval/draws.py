"""How the judged rows of a pool were drawn, in the terms that every estimator here needs."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from nsgauge.eval.clusters import mean_size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draw:
    """The judged rows of a pool, and the rows that they stand for.

    Attributes:
        codes: The item of each judged row, numbered from zero.
        strata: The stratum of each judged row, numbered from zero.
        left: Per stratum, how many rows weren't judged; at least 1.
        rest: The stratum of each row that wasn't judged.
        stands_for: Per judged row, how many of the rows left it speaks for; 0 for a row that was
            certain to be judged. In every stratum they sum to `left`.
        missed: Per judged row, the probability that its item was left out, in (0, 1].
        pool_size: Mean number of rows in a row's own item, over the whole pool.
        draws: Judged items: the number of independent looks at the judge.
        units: Per stratum, the judged items in it that speak for a row left.
    """

    codes: Int[np.ndarray, " judged"]
    strata: Int[np.ndarray, " judged"]
    left: Int[np.ndarray, " strata"]
    rest: Int[np.ndarray, " unjudged"]
    stands_for: Float[np.ndarray, " judged"]
    missed: Float[np.ndarray, " judged"]
    pool_size: float
    draws: int
    units: Int[np.ndarray, " strata"]

    @property
    def judged_size(self) -> float:
        """Mean number of judged rows in a judged row's own item."""
        return mean_size(self.codes)

    @property
    def weights(self) -> Float[np.ndarray, " judged"]:
        """Per judged row, how many rows of the pool it speaks for, itself among them."""
        return 1 + self.stands_for

    @property
    def effective_draws(self) -> float:
        """Draws with equal weights that would say as much: `(sum w)^2 / sum w^2`, a row.

        Source: Kish 1965.
        """
        weights = self.weights
        return float(weights.sum() ** 2 / (weights @ weights) * self.draws / len(weights))

    def of_judged(self, values: Float[np.ndarray, " judged"]) -> Float[np.ndarray, " strata"]:
        """The sum in each stratum."""
        return np.bincount(self.strata, weights=values, minlength=len(self.left))

    def mean_of_rest(self, values: Float[np.ndarray, " unjudged"]) -> Float[np.ndarray, " strata"]:
        """The mean in each stratum of a value of the rows left."""
        sums = np.bincount(self.rest, weights=values, minlength=len(self.left))
        return np.asarray(sums / self.left)
