"""A confidence from which on verdicts are proven to be right often enough."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special

from nsgauge.eval.clusters import Clusters, cluster_codes, design_effect, mean_size, scarcest
from nsgauge.eval.plus_two import SCARCE

_SPARE_ERRORS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """A confidence from which on at most a share `risk_limit` of the verdicts is wrong.

    Attributes:
        risk_limit: The error rate allowed among kept rows, in (0, 1).
        failure: How often a threshold found this way may break that limit, in (0, 1).
        confidence: Rows from here on are kept; None where no threshold could be shown to hold.
        rows: Rows it was chosen on.
        kept: Of those, kept.
        errors: Of those kept, wrong.
    """

    risk_limit: float
    failure: float
    confidence: float | None
    rows: int
    kept: int
    errors: int

    @property
    def escalated(self) -> int:
        """Rows that go to the judge."""
        return self.rows - self.kept


def guaranteed_threshold(
    confidence: Float[np.ndarray, " rows"],
    *,
    wrong: Bool[np.ndarray, " rows"],
    risk_limit: float,
    failure: float = 0.05,
    clusters: Clusters | None = None,
) -> Guarantee:
    """The least confidence at which the error rate is proven to stay within a limit.

    Thresholds are loosened from the safest on; each is tested with
    `p = P(Bin(kept, risk_limit) <= errors)` and the first `p > failure` ends it. The first one
    tested is the first that could pass with three errors (with none, where that would take over
    half of the rows): a start that one early error ends would rarely get far. The guarantee is for
    rows drawn like these. It is exact where no item repeats; else kept rows and errors enter as
    their effective numbers, from the correlation of errors within an item (taken as full where
    fewer than five items hold an error).

    Args:
        confidence: As `verdict_confidence` gives it; only its order counts.
        wrong: Whether the verdict differs from the reference's answer.
        risk_limit: The error rate to stay within, in (0, 1).
        failure: How often the limit may be broken, in (0, 1).
        clusters: Item ids.

    Raises:
        ValueError: a limit or failure outside (0, 1).

    Source: Angelopoulos, Bates, Candes, Jordan and Lei 2021, "Learn then Test", fixed sequence
    testing with the binomial p-value; Kish 1965 for the effective numbers.
    """
    if not (0 < risk_limit < 1 and 0 < failure < 1):
        raise ValueError(f"wanted risk_limit and failure in (0, 1), got {risk_limit}, {failure}")
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    # Rows of equal confidence are kept together or not at all.
    last = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True)[: len(ranked)])
    kept, errors = last + 1, np.cumsum(wrong[order])[last]
    codes = cluster_codes(clusters, rows=len(confidence))
    weight = _heaviness(codes[order], wrong=wrong[order])[last]
    passed = binomial_tail(kept / weight, errors=errors / weight, share=risk_limit) <= failure
    start = _start(kept / weight, share=risk_limit, failure=failure)
    run = int(np.argmin(np.append(passed[start:], False)))
    best = start + run - 1 if run else None
    return Guarantee(
        risk_limit=risk_limit,
        failure=failure,
        confidence=None if best is None else float(ranked[last[best]]),
        rows=len(confidence),
        kept=0 if best is None else int(kept[best]),
        errors=0 if best is None else int(errors[best]),
    )


def binomial_tail(
    rows: Float[np.ndarray, " tests"], *, errors: Float[np.ndarray, " tests"], share: float
) -> Float[np.ndarray, " tests"]:
    """`P(Bin(rows, share) <= errors)`, by the beta distribution, so that numbers may be effective.

    Args:
        rows: Above 0; may be fractional.
        errors: At least 0; may be fractional.
        share: In (0, 1).

    Example:
        >>> binomial_tail(np.array([2.0]), errors=np.array([1.0]), share=0.5).tolist()
        [0.75]
    """
    left = np.maximum(rows - errors, 1e-12)
    return np.where(errors >= rows, 1.0, special.betainc(left, errors + 1, 1 - share))


def _heaviness(
    codes: Int[np.ndarray, " rows"], *, wrong: Bool[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """How many rows of the first 1, 2, ... say as much as one: `1 + (m - 1) correlation`.

    m is the mean number of kept rows in a kept row's own cluster.
    """
    if not len(codes):
        return np.empty(0)
    labels, largest = wrong.astype(np.float64), mean_size(codes)
    correlation = 1.0
    if largest == 1 or scarcest(labels, codes=codes) >= SCARCE:
        correlation = (design_effect(labels, codes=codes) - 1) / max(largest - 1, 1.0)
    # The k-th row of a cluster takes its squared size from (k-1)^2 to k^2.
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    place = np.empty(len(codes), dtype=np.int64)
    place[order] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    size = np.cumsum(2 * place + 1) / np.arange(1, len(codes) + 1)
    return np.asarray(1 + (size - 1) * correlation)


def _start(effective: Float[np.ndarray, " tests"], *, share: float, failure: float) -> int:
    """The first threshold to test; it depends on how many rows are kept, not on their errors."""
    for spare in (_SPARE_ERRORS, 0):
        errors = np.full(len(effective), float(spare))
        testable = np.flatnonzero(binomial_tail(effective, errors=errors, share=share) <= failure)
        if testable.size and (not spare or effective[testable[0]] <= effective[-1] / 2):
            return int(testable[0])
    return len(effective)
