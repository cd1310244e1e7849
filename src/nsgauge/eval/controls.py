"""Proof that the picture counts: AUROC as scored against AUROC with the picture taken away."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata, t

from nsgauge.data.targets import JudgeLabels
from nsgauge.errors import DataError
from nsgauge.records import ImageState, ScoreStatus

AS_SCORED = "as_scored"
CONTROL_RUNS: tuple[str, ...] = (
    "shuffled_images",
    "blank_images",
    "prompt_response",
    "response_only",
)
AXES: tuple[str, ...] = ("unsafe", "not_grounded")


class Scope(StrEnum):
    """Which rows a control is read on."""

    ALL = "all"
    PICTURED = "pictured"
    """Only the rows with a real picture in the image slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlResult:
    """One axis in one control run, against the same rows as scored.

    Attributes:
        axis: `unsafe` or `not_grounded`.
        run: A name of `CONTROL_RUNS`, or `as_scored`.
        scope: Which rows were read.
        rows: Rows with a reference answer that both runs scored.
        positives: How many of them the reference puts in the positive class.
        auroc: Of the control run, in [0, 1]; None where one class is missing.
        as_scored: AUROC of the same rows as scored.
        difference: `as_scored - auroc`; above zero means the control took something away.
        low: Lower end of the 95% interval of the difference, items resampled as one.
        high: Upper end.
    """

    axis: str
    run: str
    scope: Scope
    rows: int
    positives: int
    auroc: float | None
    as_scored: float | None
    difference: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageControls:
    """All control runs on the rows that the classifier hadn't seen.

    Attributes:
        reference: The judge whose labels are the truth here.
        rows: Unseen rows with probabilities.
        image_states: How many of them had what in the image slot.
        results: One entry an axis, run and scope.
    """

    reference: str
    rows: int
    image_states: dict[str, int]
    results: tuple[ControlResult, ...]

    @property
    def pictured(self) -> int:
        """Rows with a real picture."""
        return self.image_states.get(ImageState.IMAGE, 0)

    def find(self, axis: str, *, run: str, scope: Scope) -> ControlResult | None:
        """The entry of that axis, run and scope; None if that control was not run."""
        for result in self.results:
            if (result.axis, result.run, result.scope) == (axis, run, scope):
                return result
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class AurocContrast:
    """Two AUROCs on the same rows and the interval of their difference."""

    first: float
    second: float
    difference: float
    low: float
    high: float


def image_controls(
    scores: pa.Table,
    *,
    controls: Mapping[str, pa.Table],
    labels: JudgeLabels,
    triples: pa.Table,
) -> ImageControls:
    """Read every control run against the reference's labels, on unseen rows only.

    Args:
        scores: The run as scored (SCORES_SCHEMA).
        controls: Tables of the same schema by name; names outside `CONTROL_RUNS` are refused.
        labels: The reference judge's labels.
        triples: Gives the item of each row, so that responses to one item count as one draw.

    Raises:
        DataError: an unknown control run, or a scored row that no triple has.
    """
    unknown = sorted(set(controls) - set(CONTROL_RUNS))
    if unknown:
        raise DataError(f"unknown control runs {unknown}: expected {', '.join(CONTROL_RUNS)}")
    base = scores.filter(_usable(scores))
    clusters = _items(base, triples=triples)
    pictured = _strings_equal(base["image_state"], ImageState.IMAGE)
    counts = pc.value_counts(base["image_state"]).to_pylist()
    results: list[ControlResult] = []
    runs = {AS_SCORED: base} | {name: controls[name] for name in CONTROL_RUNS if name in controls}
    for axis in AXES:
        truth = _truth(base["triple_id"], labels=labels, axis=axis)
        usual = _numbers(base[axis])
        for run, table in runs.items():
            other = _aligned(base["triple_id"], table=table, column=axis)
            known = ~(np.isnan(truth) | np.isnan(other))
            for scope, rows in _scopes(known, pictured=pictured):
                contrast = _contrast_or_none(
                    truth[rows], first=usual[rows], second=other[rows], clusters=clusters[rows]
                )
                results.append(_result((axis, run, scope), truth=truth[rows], contrast=contrast))
    return ImageControls(
        reference=labels.judge,
        rows=base.num_rows,
        image_states={str(count["values"]): int(count["counts"]) for count in counts},
        results=tuple(sorted(results, key=_reading_order)),
    )


def auroc_contrast(
    positive: Bool[np.ndarray, " rows"],
    *,
    first: Float[np.ndarray, " rows"],
    second: Float[np.ndarray, " rows"],
    clusters: Int[np.ndarray, " rows"],
    level: float = 0.95,
) -> AurocContrast:
    """Two AUROCs of the same rows, with an interval of `first - second` that respects clusters.

    Args:
        positive: Whether the reference puts the row in the positive class.
        first: Scores of one run; only their order counts.
        second: Scores of the other run.
        clusters: Rows with the same number are one independent draw.
        level: Coverage of the interval, in (0, 1).

    Raises:
        ValueError: only one class is there.

    Source:
        DeLong, DeLong, Clarke-Pearson 1988 (placements), summed by cluster as in Obuchowski 1997;
        t with (clusters of the rarer class - 1) degrees of freedom.
    """
    if positive.all() or not positive.any():
        raise ValueError("an AUROC needs both classes, got one: the difference is undefined")
    first_auroc, first_influence = _auroc_influence(positive, score=first)
    second_auroc, second_influence = _auroc_influence(positive, score=second)
    codes = np.unique(clusters, return_inverse=True)[1]
    groups = int(codes.max()) + 1
    sums = np.bincount(codes, weights=first_influence - second_influence, minlength=groups)
    difference = first_auroc - second_auroc
    freedom = min(np.unique(codes[positive]).size, np.unique(codes[~positive]).size) - 1
    if freedom < 1:
        return AurocContrast(
            first=first_auroc, second=second_auroc, difference=difference, low=-1.0, high=1.0
        )
    half = float(t.ppf((1 + level) / 2, freedom)) * np.sqrt(groups / (groups - 1) * sums @ sums)
    return AurocContrast(
        first=first_auroc,
        second=second_auroc,
        difference=difference,
        low=max(-1.0, float(difference - half)),
        high=min(1.0, float(difference + half)),
    )


def _auroc_influence(
    positive: Bool[np.ndarray, " rows"], *, score: Float[np.ndarray, " rows"]
) -> tuple[float, Float[np.ndarray, " rows"]]:
    """The AUROC and each row's share in its sampling error (they sum to zero)."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    overall = rankdata(score)
    placement = np.empty(score.size)
    placement[positive] = (overall[positive] - rankdata(score[positive])) / negatives
    placement[~positive] = 1 - (overall[~positive] - rankdata(score[~positive])) / positives
    auroc = float(placement[positive].mean())
    weight = np.where(positive, 1 / positives, 1 / negatives)
    return auroc, (placement - auroc) * weight


def _contrast_or_none(
    truth: Float[np.ndarray, " rows"],
    *,
    first: Float[np.ndarray, " rows"],
    second: Float[np.ndarray, " rows"],
    clusters: Int[np.ndarray, " rows"],
) -> AurocContrast | None:
    positive = truth > 0.5
    if positive.size == 0 or positive.all() or not positive.any():
        return None
    return auroc_contrast(positive, first=first, second=second, clusters=clusters)


def _reading_order(result: ControlResult) -> tuple[int, int, int]:
    runs = (AS_SCORED, *CONTROL_RUNS)
    return AXES.index(result.axis), tuple(Scope).index(result.scope), runs.index(result.run)


def _result(
    key: tuple[str, str, Scope],
    *,
    truth: Float[np.ndarray, " rows"],
    contrast: AurocContrast | None,
) -> ControlResult:
    axis, run, scope = key
    return ControlResult(
        axis=axis,
        run=run,
        scope=scope,
        rows=truth.size,
        positives=int((truth > 0.5).sum()),
        auroc=contrast.second if contrast else None,
        as_scored=contrast.first if contrast else None,
        difference=contrast.difference if contrast else None,
        low=contrast.low if contrast else None,
        high=contrast.high if contrast else None,
    )


def _scopes(
    known: Bool[np.ndarray, " rows"], *, pictured: Bool[np.ndarray, " rows"]
) -> list[tuple[Scope, Bool[np.ndarray, " rows"]]]:
    """All rows, and those with a picture where that is another set."""
    scopes = [(Scope.ALL, known)]
    if pictured.any() and not pictured.all():
        scopes.append((Scope.PICTURED, known & pictured))
    return scopes


def _usable(scores: pa.Table) -> pa.ChunkedArray:
    return pc.and_(pc.equal(scores["status"], ScoreStatus.SCORED), pc.invert(scores["item_seen"]))


def _items(base: pa.Table, *, triples: pa.Table) -> Int[np.ndarray, " rows"]:
    """A number per row that is the same for all rows of one item."""
    at = pc.index_in(base["triple_id"], value_set=triples["triple_id"].combine_chunks())
    if at.null_count:
        missing = base["triple_id"].filter(pc.is_null(at))[0].as_py()
        raise DataError(f"scores name triple {missing!r}, which the data folder doesn't have")
    where = at.combine_chunks()
    key = pc.binary_join_element_wise(
        triples["benchmark"].take(where), triples["item_id"].take(where), "\x1f"
    )
    codes = pc.dictionary_encode(key).combine_chunks().indices
    return np.asarray(codes).astype(np.int64)


def _truth(ids: pa.ChunkedArray, *, labels: JudgeLabels, axis: str) -> Float[np.ndarray, " rows"]:
    """The reference's label per row, 0 or 1; NaN where it is unknown."""
    at = _positions(ids, within=pa.array(labels.triple_ids, pa.string()))
    label: np.ndarray = getattr(labels, axis)
    known: np.ndarray = getattr(labels, f"{axis}_known")
    return _taken(np.where(known, label.astype(np.float64), np.nan), at=at)


def _aligned(ids: pa.ChunkedArray, *, table: pa.Table, column: str) -> Float[np.ndarray, " rows"]:
    """A score column of another run in the order of `ids`; NaN where it has none."""
    at = _positions(ids, within=table["triple_id"].combine_chunks())
    return _taken(_numbers(table[column]), at=at)


def _taken(
    values: Float[np.ndarray, " others"], *, at: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """`values[at]`, NaN where `at` is negative."""
    return np.append(values, np.nan)[np.where(at < 0, values.size, at)]


def _positions(ids: pa.ChunkedArray, *, within: pa.Array) -> Int[np.ndarray, " rows"]:
    at = pc.index_in(ids, value_set=within)
    return np.asarray(pc.fill_null(at, -1)).astype(np.int64)


def _numbers(column: pa.ChunkedArray) -> Float[np.ndarray, " rows"]:
    """Arrow numbers as float64, null as NaN."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _strings_equal(column: pa.ChunkedArray, value: str) -> Bool[np.ndarray, " rows"]:
    return np.asarray(pc.equal(column, value).to_numpy(zero_copy_only=False), dtype=bool)
