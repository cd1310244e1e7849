"""The face of the estimators: plain arrays in, a table of rates out."""

import numpy as np
from jaxtyping import Float, Int

from nsgauge.eval.census import census_rates
from nsgauge.eval.intervals import check_confidence
from nsgauge.eval.rate_table import RateEstimate, RateStatus, RateTable, no_rows, rate_table
from nsgauge.eval.rates.chained import Chain, chained_rates
from nsgauge.eval.rates.corrected import corrected_rates
from nsgauge.eval.rates.designs import Design, items_of
from nsgauge.eval.rates.pools import Cells, clean_scores, labels_of


def estimate_rates(
    judged: Cells,
    *,
    scores: Float[np.ndarray, "*folds scored cells"] | None,
    design: Design,
    human: Float[np.ndarray, "labelled cells"] | None = None,
    folds: Int[np.ndarray, " folded"] | None = None,
    confidence: float = 0.95,
) -> RateTable:
    """The rates of a pool of which the judge saw a part and the classifier every row.

    All arrays have one entry a row of the pool, in the same order.

    Args:
        judged: The judge's cells, one-hot or vote shares; a row that it didn't judge is NaN. A
            judge that is silent on an axis may put it at its first value: then only the rates of
            the other axis may be read, unless people's labels follow.
        scores: The classifier's cell probabilities, never logits. None for the judge alone. With
            `folds`, one table for each of several models.
        design: How the judged rows were drawn.
        human: People's cells, NaN where there are none: a simple random part of what the judge saw
            (of its items, if the design has some). With them the rates are what people would say,
            and the judge is one more guess at that.
        folds: Where the classifier learned from the judge's labels: per row, the model that was
            trained without it; -1 for rows without a label.
        confidence: Of each interval, in (0, 1). The joint ones share it between the three rates.

    Returns:
        Points, intervals for both estimands, and what they may be taken for. An interval is None
        where none can be trusted: without a declared design, with one judged item, or with
        probabilities that can't be those of the draw.

    Raises:
        ValueError: arrays of other lengths, cells that aren't four shares that sum to one, a label
            that is NaN in part, or people's labels on rows that the judge didn't see.

    Example:
        >>> from nsgauge.eval.rates import SimpleRandom
        >>> judged = np.full((200, 4), np.nan)
        >>> judged[:100] = np.eye(4)[[1] * 30 + [0] * 70]
        >>> table = estimate_rates(judged, scores=None, design=SimpleRandom())
        >>> unsafe = table.rates["unsafe"]
        >>> [round(number, 3) for number in (unsafe.value, unsafe.low, unsafe.high)]
        [0.3, 0.238, 0.366]

    Source: points by generalised regression (`greg`), intervals by AC+2 (`one_hop`, `two_hops`).
    """
    check_confidence(confidence)
    labels = labels_of(np.asarray(judged, dtype=np.float64), whose="judged")
    rows = len(labels.known)
    cells = None
    if scores is not None:
        own = np.asarray(scores, dtype=np.float64)
        of_row = None if folds is None else np.asarray(folds)
        cells = clean_scores(own, folds=of_row, known=labels.known)
    if cells is not None and len(cells) != rows:
        raise ValueError(f"{rows} rows of labels, but scores of {len(cells)}: match them")
    if human is not None:
        people = labels_of(np.asarray(human, dtype=np.float64), whose="human")
        chain = Chain(people=people, judge=labels, scores=cells, design=design)
        return chained_rates(chain, confidence=confidence)
    if not labels.known.any():
        return _unchecked(cells, rows=rows)
    if labels.known.all():
        items = items_of(design)
        return census_rates(labels.cells, naive=cells, clusters=items, confidence=confidence)
    return corrected_rates(labels, scores=cells, design=design, confidence=confidence)


def _unchecked(cells: Cells | None, *, rows: int) -> RateTable:
    """The classifier's own mean, without an interval: no label of this pool checks it."""
    if rows == 0:
        return rate_table(None, estimate=lambda rate, _: no_rows(rate))
    if cells is None:
        raise ValueError(f"{rows} rows without a label and without scores: nothing is known")
    return rate_table(
        cells.mean(axis=0),
        estimate=lambda rate, value: RateEstimate(
            rate=rate,
            value=value,
            rows=rows,
            judged=0,
            positives=0,
            naive=value,
            status=RateStatus.TRANSPORTED,
            note="transported, not checked: the judge saw no row of this pool",
        ),
    )
