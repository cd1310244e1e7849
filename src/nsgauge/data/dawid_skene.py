"""Dawid and Skene's model: who is right how often, and what is true, from the votes alone."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nsgauge.errors import DataError

FEWEST_JUDGES = 3
"""With two judges alone nothing tells a strict one from a lenient one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DawidSkene:
    """A fitted model.

    Attributes:
        marginals: Share of each class among the items; sums to one.
        confusion: Per judge and true class, the probability of each saying; NaN where the judge
            saw no item of that class.
        posteriors: Per item, the probability of each class given all votes; rows sum to one.
        log_likelihood: Of the votes, in nats, at these marginals and confusions.
        iterations: Rounds of EM that it took.
    """

    marginals: Float[np.ndarray, " classes"]
    confusion: Float[np.ndarray, "judges classes sayings"]
    posteriors: Float[np.ndarray, "items classes"]
    log_likelihood: float
    iterations: int


def has_enough_judges(votes: Float[np.ndarray, "items judges sayings"]) -> bool:
    """Whether some item was seen by three judges or more: without one, nothing can be fitted."""
    return bool((votes.any(axis=2).sum(axis=1) >= FEWEST_JUDGES).any())


def fit_dawid_skene(
    votes: Float[np.ndarray, "items judges sayings"],
    *,
    meanings: Float[np.ndarray, "sayings classes"] | None = None,
    tolerance: float = 1e-9,
    most_iterations: int = 5000,
) -> DawidSkene:
    """Maximum likelihood by EM, started from the shares of the votes.

    Given the true class, votes are independent. The votes of one model asked again hardly are:
    give its shares on an item, so that they weigh as one vote.

    Args:
        votes: How often each judge said each thing of each item, or shares of that; a judge that
            didn't see an item has zeros there, and every item has a vote.
        meanings: What each saying is taken for at the start, as a distribution over the classes;
            by default sayings are classes.
        tolerance: EM ends when a round adds less than this to the log-likelihood per item.
        most_iterations: Rounds after which it is given up.

    Raises:
        DataError: no item was seen by three judges, or EM didn't settle.
        ValueError: negative votes, or an item without any.

    Source: Dawid and Skene 1979, equations 2.3 to 2.5.
    """
    _check(votes)
    said = votes.sum(axis=1) @ (np.eye(votes.shape[2]) if meanings is None else meanings)
    posteriors = said / said.sum(axis=1, keepdims=True)
    before = -np.inf
    for iteration in range(1, most_iterations + 1):
        marginals, confusion = posteriors.mean(axis=0), _confusion(votes, posteriors=posteriors)
        joint = _log_joint(votes, marginals=marginals, confusion=confusion)
        peak = joint.max(axis=1, keepdims=True)
        scaled = np.exp(joint - peak)
        total = scaled.sum(axis=1, keepdims=True)
        posteriors = scaled / total
        log_likelihood = float((peak + np.log(total)).sum())
        if log_likelihood - before <= tolerance * len(votes):
            return DawidSkene(
                marginals=marginals,
                confusion=confusion,
                posteriors=posteriors,
                log_likelihood=log_likelihood,
                iterations=iteration,
            )
        before = log_likelihood
    raise DataError(
        f"Dawid-Skene did not settle in {most_iterations} rounds on {len(votes)} items of "
        f"{votes.shape[1]} judges: the votes don't determine it; name other judges, or pool them"
    )


def _check(votes: Float[np.ndarray, "items judges sayings"]) -> None:
    if not has_enough_judges(votes):
        present = int(votes.any(axis=(0, 2)).sum())
        raise DataError(
            f"Dawid-Skene needs items that {FEWEST_JUDGES} judges answered, found none ({present} "
            "judges with an answer): name more judges, or pool their votes"
        )
    if (votes < 0).any() or not np.isfinite(votes).all():
        raise ValueError("votes are counts or shares: none may be negative, NaN or infinite")
    silent = np.flatnonzero(~votes.any(axis=(1, 2)))
    if silent.size:
        raise ValueError(f"{silent.size} items have no vote (first: {silent[0]}): leave them out")


def _confusion(
    votes: Float[np.ndarray, "items judges sayings"],
    *,
    posteriors: Float[np.ndarray, "items classes"],
) -> Float[np.ndarray, "judges classes sayings"]:
    expected = np.einsum("ik,ijs->jks", posteriors, votes, optimize=True)
    seen = expected.sum(axis=2, keepdims=True)
    unseen = np.full_like(expected, np.nan)
    return np.asarray(np.divide(expected, seen, out=unseen, where=seen > 0))


def _log_joint(
    votes: Float[np.ndarray, "items judges sayings"],
    *,
    marginals: Float[np.ndarray, " classes"],
    confusion: Float[np.ndarray, "judges classes sayings"],
) -> Float[np.ndarray, "items classes"]:
    """Per item, the logarithm of the probability of each class together with all votes."""
    tiny = np.finfo(np.float64).tiny
    # A class that a judge never saw tells nothing through it: any constant row does.
    known = np.nan_to_num(confusion, nan=1 / votes.shape[2])
    weights = np.log(np.maximum(known, tiny)).transpose(0, 2, 1).reshape(-1, len(marginals))
    prior = np.log(np.maximum(marginals, tiny))
    return np.asarray(prior + votes.reshape(len(votes), -1) @ weights)
