"""The three rates of a pool with their intervals, from the judge's labels and the classifier.

Two estimands stand side by side. Finite: what the judge would say of all N rows. Superpopulation:
what it would say of items like these. Statuses say which claims the labels can carry.
"""

import numpy as np
from jaxtyping import Float

from nsgauge.eval.census import census_rates, judge_axis_rate, judge_rates
from nsgauge.eval.clusters import draw_of
from nsgauge.eval.greg import greg_cells
from nsgauge.eval.intervals import bounded_rate, check_confidence
from nsgauge.eval.plus_two import Sample, correlation, is_informative, plus_two
from nsgauge.eval.rate_table import (
    MINIMUM_JUDGED,
    PoolClusters,
    RateEstimate,
    RateStatus,
    RateTable,
    clean_cells,
    no_rows,
    rate_table,
)
from nsgauge.protocol import CELLS, RATES, Rate, rate_weights

__all__ = [
    "MINIMUM_JUDGED",
    "PoolClusters",
    "RateEstimate",
    "RateStatus",
    "RateTable",
    "bounded_rate",
    "estimate_rates",
    "judge_axis_rate",
    "judge_rates",
    "transported_rates",
]


def estimate_rates(
    judged_cells: Float[np.ndarray, "judged cells"],
    *,
    judged_probabilities: Float[np.ndarray, "judged cells"],
    unjudged_probabilities: Float[np.ndarray, "unjudged cells"],
    clusters: PoolClusters | tuple[np.ndarray, np.ndarray] | None = None,
    confidence: float = 0.95,
) -> RateTable:
    """The rates of a pool of which the judge saw a random part and the classifier every row.

    The judged rows must be a simple random draw of rows or, with `clusters`, of whole items; a
    draw that is not random gives numbers that look the same and mean nothing. An item that is only
    partly judged counts as one draw: the interval is then wider than it needs to be.

    Args:
        judged_cells: The judge's cells, one-hot or vote shares.
        judged_probabilities: The classifier's cell probabilities on the same rows; never logits.
        unjudged_probabilities: The classifier's cell probabilities on the rest of the pool.
        clusters: Item ids of the judged and of the unjudged rows; None where no item repeats.
        confidence: Of each interval, in (0, 1).

    Raises:
        ValueError: cells that aren't four shares that sum to one, or lengths that don't match.

    Source: points by generalised regression (`greg`), intervals by AC+2 (`plus_two`).
    """
    check_confidence(confidence)
    labels = clean_cells(judged_cells)
    judged, unjudged = clean_cells(judged_probabilities), clean_cells(unjudged_probabilities)
    if len(labels) != len(judged):
        raise ValueError(
            f"{len(labels)} judged rows but probabilities of {len(judged)}: match them"
        )
    ours, theirs = (None, None) if clusters is None else (clusters[0], clusters[1])
    if len(labels) == 0 and len(unjudged) > 0:
        return transported_rates(unjudged)
    if len(unjudged) == 0:
        return census_rates(labels, naive=judged, clusters=ours, confidence=confidence)
    draw = draw_of(judged=ours, unjudged=theirs, rows=(len(labels), len(unjudged)))
    samples = {
        rate: Sample(
            positive=labels @ rate_weights(rate),
            judged=judged @ rate_weights(rate),
            unjudged=unjudged @ rate_weights(rate),
            draw=draw,
        )
        for rate in RATES
    }
    if _helps(labels, judged=judged, draws=draw.draws):
        shares = greg_cells(labels, judged=judged, unjudged=unjudged)
    else:
        shares = labels.mean(axis=0) / labels.mean(axis=0).sum()
    return rate_table(
        shares,
        estimate=lambda rate, value: _corrected(
            rate, value=value, sample=samples[rate], confidence=confidence
        ),
    )


def transported_rates(probabilities: Float[np.ndarray, "rows cells"]) -> RateTable:
    """The classifier's own mean, without an interval: no label of this pool checks it.

    Args:
        probabilities: The classifier's cell probabilities; never logits.

    Raises:
        ValueError: cells that aren't four shares that sum to one.
    """
    cells = clean_cells(probabilities)
    if len(cells) == 0:
        return rate_table(None, estimate=lambda rate, _: no_rows(rate))
    return rate_table(
        cells.mean(axis=0),
        estimate=lambda rate, value: RateEstimate(
            rate=rate,
            value=value,
            rows=len(cells),
            judged=0,
            positives=0,
            naive=value,
            status=RateStatus.TRANSPORTED,
            note="transported, not checked: the judge saw no row of this pool",
        ),
    )


def _helps(
    labels: Float[np.ndarray, "judged cells"],
    *,
    judged: Float[np.ndarray, "judged cells"],
    draws: int,
) -> bool:
    """Whether the classifier tells anything of the judge, on a cell or on an axis.

    All cells count, also those that no rate is of, so that naming the classes the other way round
    can't change the answer.
    """
    axes = np.array([rate_weights(rate) for rate in (Rate.UNSAFE, Rate.NOT_GROUNDED)])
    ways = np.vstack([np.eye(len(CELLS)), axes])
    found = (correlation(labels @ way, other=judged @ way) for way in ways)
    return any(is_informative(each, draws=draws) for each in found)


def _corrected(rate: Rate, *, value: float, sample: Sample, confidence: float) -> RateEstimate:
    """A rate of which the judge saw a part."""
    judged, rows = len(sample.positive), len(sample.positive) + len(sample.unjudged)
    draws, naive = sample.draw.draws, float(sample.judged.sum() + sample.unjudged.sum()) / rows
    found = plus_two(sample, point=value, confidence=confidence) if draws > 1 else None
    certified = draws >= MINIMUM_JUDGED
    return RateEstimate(
        rate=rate,
        value=value,
        low=found.finite.low if found else None,
        high=found.finite.high if found else None,
        low_super=found.superpopulation.low if found else None,
        high_super=found.superpopulation.high if found else None,
        rows=rows,
        judged=judged,
        positives=round(float(sample.positive.sum())),
        naive=naive,
        correlation=sample.correlation,
        effective=found.effective if found else None,
        status=RateStatus.JUDGED if certified else RateStatus.INSUFFICIENT,
        note=f"{judged} of {rows} rows judged ({draws} independent draws)"
        + ("" if certified else f"; {MINIMUM_JUDGED} are wanted to certify a rate"),
    )
