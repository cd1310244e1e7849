"""What a plan can draw: triples or items, their strata, and how unsure the classifier is."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from nsgauge.data.plan_file import Design
from nsgauge.data.split import item_key
from nsgauge.errors import DataError, SettingsError
from nsgauge.eval.plan_settings import PlanSettings
from nsgauge.protocol import Rate

WHOLE = "all"
"""The one stratum of a design without strata."""

_AXES = (Rate.UNSAFE, Rate.NOT_GROUNDED)
_COLUMNS = {
    Rate.UNSAFE: "unsafe",
    Rate.NOT_GROUNDED: "not_grounded",
    Rate.UNSAFE_GROUNDED: "grounded_unsafe",
}
"""Where a score row has the probability of what counts towards each rate."""
_UNSCORED_VARIANCE = 0.25
"""Of a row without a score: nothing is known of it, as at a probability of a half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """What can be drawn, in the order of the names; the order of the rows changes nothing.

    Attributes:
        names: Distinct names of the triples, or of the items.
        unit_of: Per row, the position of its unit.
        strata: Names of the strata, sorted: `benchmark/vllm`, for items the benchmark alone, each
            with its score bin if there are any; or `WHOLE`.
        stratum_of: Per unit, the position of its stratum.
        uncertainty: Per unit, sqrt(f (1 - f)) of the probability f; for an item, the root of the
            sum of f (1 - f) over its responses.
        variance: By rate and unit, the sum of f (1 - f) of the rate's probability f.
        share: By rate, the mean of f over all rows.
    """

    names: list[str]
    unit_of: Int[np.ndarray, " rows"]
    strata: list[str]
    stratum_of: Int[np.ndarray, " units"]
    uncertainty: Float[np.ndarray, " units"]
    variance: dict[Rate, Float[np.ndarray, " units"]]
    share: dict[Rate, float]

    @property
    def sizes(self) -> Int[np.ndarray, " strata"]:
        """Units in each stratum."""
        return np.bincount(self.stratum_of, minlength=len(self.strata))


def units_of(rows: pa.Table, *, scores: pa.Table | None, settings: PlanSettings) -> Units:
    """The units that the rows make up.

    Args:
        rows: TRIPLES_SCHEMA, in the order of the ids.
        scores: SCORES_SCHEMA, with every row; None where the design does without.
        settings: How to draw.

    Raises:
        DataError: the scores lack a row.
        SettingsError: scores are needed and not given.
    """
    field = "item_id" if settings.by_item else "triple_id"
    of_rows = rows[field].to_pylist()
    if settings.by_item:
        of_rows = _keyed(rows["benchmark"], of_rows)
    names, first, unit_of = _distinct(of_rows)
    told = _probabilities(rows["triple_id"], scores=scores, settings=settings)
    spread = {rate: _variance(values) for rate, values in told.items()}
    axes = _AXES if settings.axis == "either" else (Rate(settings.axis),)
    largest = np.stack([spread[axis] for axis in axes]).max(axis=0)
    groups = [WHOLE] * len(names)
    if settings.design is Design.STRATIFIED:
        groups = _groups(rows.take(pa.array(first)), by_item=settings.by_item)
    if settings.score_bins:
        probability = _means(told[Rate(settings.axis)], codes=unit_of, count=len(names))
        bins = _bins(probability, count=settings.score_bins)
        groups = [
            f"{group} {settings.axis} {name}" for group, name in zip(groups, bins, strict=True)
        ]
    strata, _, stratum_of = _distinct(groups)
    return Units(
        names=names,
        unit_of=unit_of,
        strata=strata,
        stratum_of=stratum_of,
        uncertainty=np.sqrt(np.bincount(unit_of, largest, len(names))),
        variance={
            rate: np.bincount(unit_of, values, len(names)).astype(np.float64)
            for rate, values in spread.items()
        },
        share={rate: _mean(values) for rate, values in told.items()},
    )


def _groups(first_rows: pa.Table, *, by_item: bool) -> list[str]:
    """Per unit, its stratum before the score bins; an item's responses are of several VLLMs."""
    if by_item:
        return list(first_rows["benchmark"].to_pylist())
    return _keyed(first_rows["benchmark"], first_rows["vllm"].to_pylist())


def _keyed(benchmarks: pa.ChunkedArray, names: list[str]) -> list[str]:
    return [item_key(*pair) for pair in zip(benchmarks.to_pylist(), names, strict=True)]


def _distinct(
    names: list[str],
) -> tuple[list[str], Int[np.ndarray, " distinct"], Int[np.ndarray, " rows"]]:
    """The distinct names sorted, where each comes first, and per name its position."""
    # Objects, because numpy's own strings lose a NUL at their end.
    found, first, codes = np.unique(
        np.array(names, dtype=object), return_index=True, return_inverse=True
    )
    return found.tolist(), first, codes


def rows_of(ids: pa.ChunkedArray, *, scores: pa.Table) -> pa.Table:
    """The score rows of these triples, in their order.

    Raises:
        DataError: the scores lack a triple.
    """
    at = pc.index_in(ids, value_set=scores["triple_id"].combine_chunks())
    if at.null_count:
        found = f"{at.null_count} of {len(ids)} triples have no row in the scores"
        raise DataError(f"{found}: score this data folder again")
    return scores.take(at)


def _probabilities(
    ids: pa.ChunkedArray, *, scores: pa.Table | None, settings: PlanSettings
) -> Mapping[Rate, Float[np.ndarray, " rows"]]:
    """By rate, each row's probability of counting towards it; NaN where it has none."""
    if scores is None:
        if settings.needs_scores:
            neyman = settings.allocation == "neyman" and not settings.score_bins
            what = "the neyman allocation" if neyman else "score_bins"
            if settings.design is Design.UNCERTAINTY:
                what = f"the {settings.design} design"
            raise SettingsError(f"{what} needs scores: give --scores, or another design")
        return {rate: np.full(len(ids), np.nan) for rate in _COLUMNS}
    found = rows_of(ids, scores=scores)
    return {rate: _floats(found[column]) for rate, column in _COLUMNS.items()}


def _floats(column: pa.ChunkedArray) -> Float[np.ndarray, " rows"]:
    return np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan))


def _variance(probability: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    variance = np.maximum(probability * (1 - probability), 0)
    return np.where(np.isnan(variance), _UNSCORED_VARIANCE, variance)


def _mean(probability: Float[np.ndarray, " rows"]) -> float:
    """Of the probabilities; a row without one is as likely as not."""
    known = np.where(np.isnan(probability), 0.5, probability)
    return float(known.mean()) if len(known) else 0.5


def _means(
    values: Float[np.ndarray, " rows"], *, codes: Int[np.ndarray, " rows"], count: int
) -> Float[np.ndarray, " units"]:
    """Per unit, the mean of its values that aren't NaN; NaN where it has none."""
    known = ~np.isnan(values)
    sums = np.bincount(codes[known], values[known], minlength=count)
    counts = np.bincount(codes[known], minlength=count)
    means = np.full(count, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def _bins(values: Float[np.ndarray, " units"], *, count: int) -> list[str]:
    """Per unit, the name of its bin; the bins hold about as many units each."""
    known = values[~np.isnan(values)]
    if not len(known):
        return ["unscored"] * len(values)
    edges = np.quantile(known, np.arange(1, count) / count)
    numbers = np.searchsorted(edges, values, side="right")
    return [
        "unscored" if np.isnan(value) else f"{number + 1}/{count}"
        for value, number in zip(values, numbers, strict=True)
    ]
