"""Whether rows that nobody judged look like rows on which the classifier could be checked.

A classifier's own rate on a new VLLM or benchmark is worth as much as the new rows resemble those
that a judge has checked. What counts as resembling is measured, not assumed: every checked group
is held against the other checked ones by the same means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.random import Generator, default_rng
from scipy import stats

from nsgauge.eval.clusters import Clusters, cluster_codes
from nsgauge.eval.discrimination import auroc
from nsgauge.eval.intervals import Bounded

MINIMUM_YARDSTICKS = 5
MINIMUM_ROWS = 50
MINIMUM_ITEMS = 30
"""With fewer checked groups, rows or items the gate stays inconclusive."""
_FOLDS = 5
_MOST_ROWS = 4_000
_RIDGE = 1e-3
_FLOOR = 1e-4
_KOLMOGOROV_95 = 1.358


class Gate(StrEnum):
    """What follows for a rate that nothing else checks."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    """The group is no stranger than the checked ones are to each other."""
    INCONCLUSIVE = "inconclusive"
    """Too few rows or checked groups to say."""
    FAIL = "fail"
    """The group is stranger than any checked one: its rate is not to be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How far some rows differ from a baseline.

    Attributes:
        rows: Rows of the group.
        items: Their distinct items.
        domain: AUROC of telling the group's rows from the baseline's, cross-fitted by item, with
            its 95% interval; .5 where they can't be told apart. None with too few rows.
        distance: Per axis, the largest gap between the two distribution functions of the score
            (Kolmogorov and Smirnov), in [0, 1].
        noise: What the gap stays below in 95% of draws from one distribution, items as draws.
    """

    rows: int
    items: int
    domain: Bounded | None
    distance: dict[str, float]
    noise: float


def score_features(
    cells: Float[np.ndarray, "rows cells"],
    *,
    response_characters: Int[np.ndarray, " rows"],
    refusal: Bool[np.ndarray, " rows"],
) -> Float[np.ndarray, "rows width"]:
    """What the domain classifier sees of a row: its scores, how long it is, whether it refuses.

    Nothing of the wording: a VLLM's style gives it away at once, and says little of the rates.

    Args:
        cells: The four cell probabilities.
        response_characters: Length of the response.
        refusal: Whether it opens like a refusal.
    """
    scores = np.log(np.maximum(cells, _FLOOR))
    plain = np.column_stack([scores, np.log1p(response_characters)])
    spread = np.maximum(plain.std(axis=0), _FLOOR)
    scaled = (plain - plain.mean(axis=0)) / spread
    return np.column_stack([scaled, scaled**2, refusal])


def shift_of(
    group: Bool[np.ndarray, " rows"],
    *,
    features: Float[np.ndarray, "rows width"],
    scores: Mapping[str, Float[np.ndarray, " rows"]],
    clusters: Clusters | None = None,
    seed: int,
) -> Shift:
    """Hold the rows of a group against the others.

    Args:
        group: The rows in question; all others are the baseline.
        features: As `score_features` gives them, of both together.
        scores: Probabilities by axis.
        clusters: Item ids; an item's rows fall into one fold.
        seed: Of the folds, and of the rows taken where there are more than 4,000 on a side.

    Raises:
        ValueError: one side has no rows.
    """
    if group.all() or not group.any():
        raise ValueError("a group and a baseline need a row each")
    codes = cluster_codes(clusters, rows=len(group))
    generator = default_rng(seed)
    kept = np.sort(np.concatenate([_some(side, generator) for side in (group, ~group)]))
    member, items = group[kept], np.unique(codes[kept], return_inverse=True)[1].reshape(-1)
    sizes = [len(np.unique(items[side])) for side in (member, ~member)]
    enough = int(member.sum()) >= MINIMUM_ROWS and min(sizes) >= MINIMUM_ITEMS
    domain = None
    if enough:
        told = _told_apart(features[kept], member=member, items=items, generator=generator)
        domain = auroc(member, probability=told, codes=items)
    return Shift(
        rows=int(group.sum()),
        items=len(np.unique(codes[group])),
        domain=domain,
        distance={
            axis: float(stats.ks_2samp(score[kept][member], score[kept][~member]).statistic)
            for axis, score in scores.items()
        },
        noise=float(_KOLMOGOROV_95 * (1 / sizes[0] + 1 / sizes[1]) ** 0.5),
    )


def gate_of(shift: Shift, *, yardsticks: Sequence[Shift]) -> Gate:
    """PASS, INCONCLUSIVE or FAIL for a group, by the checked groups' own shifts.

    It fails where even the low end of its AUROC, or a distance less the noise, is above the
    highest of the yardsticks; it passes where the high end of its AUROC and its distances are not.

    Args:
        shift: Of the group against the checked rows.
        yardsticks: Of each checked group against the other checked ones.
    """
    ends = [found.domain.value for found in yardsticks if found.domain is not None]
    domain = shift.domain
    if domain is None or domain.low is None or domain.high is None:
        return Gate.INCONCLUSIVE
    if len(ends) < MINIMUM_YARDSTICKS:
        return Gate.INCONCLUSIVE
    usual = {axis: max(found.distance[axis] for found in yardsticks) for axis in shift.distance}
    excess = max(value - usual[axis] for axis, value in shift.distance.items())
    if domain.low > max(ends) or excess > shift.noise:
        return Gate.FAIL
    return Gate.PASS if domain.high <= max(ends) and excess <= 0 else Gate.INCONCLUSIVE


def _some(side: Bool[np.ndarray, " rows"], generator: Generator) -> Int[np.ndarray, " some"]:
    at = np.flatnonzero(side)
    return at if at.size <= _MOST_ROWS else generator.choice(at, _MOST_ROWS, replace=False)


def _told_apart(
    features: Float[np.ndarray, "rows width"],
    *,
    member: Bool[np.ndarray, " rows"],
    items: Int[np.ndarray, " rows"],
    generator: Generator,
) -> Float[np.ndarray, " rows"]:
    """Each row's score by a linear discriminant fitted on the folds that don't hold its item."""
    fold = generator.permutation(int(items.max()) + 1)[items] % _FOLDS
    design = np.column_stack([features, np.ones(len(features))])
    told = np.zeros(len(features))
    for number in range(_FOLDS):
        inside = fold == number
        known = design[~inside]
        gram = known.T @ known + _RIDGE * len(known) * np.eye(design.shape[1])
        told[inside] = design[inside] @ np.linalg.solve(gram, known.T @ member[~inside])
    return told
