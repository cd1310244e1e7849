"""A pool as the estimators take it: checked labels and scores, one entry a row."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from nsgauge.eval.rate_table import clean_cells
from nsgauge.protocol import CELLS

Cells = Float[np.ndarray, "rows cells"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """Somebody's labels of some rows of a pool.

    Attributes:
        known: Which rows have one.
        cells: The cells of those rows; each sums to one.
    """

    known: Bool[np.ndarray, " rows"]
    cells: Float[np.ndarray, "known cells"]


def labels_of(cells: Cells, *, whose: str) -> Labels:
    """Labels with a row of NaN where there is none.

    Args:
        cells: One-hot or vote shares; a row without a label is NaN in all cells.
        whose: What to call them in an error.

    Raises:
        ValueError: a row that is NaN in some cells only, or cells that aren't four shares that sum
            to one.
    """
    if cells.ndim != 2 or cells.shape[1] != len(CELLS):
        raise ValueError(f"{whose}: shape {cells.shape}, wanted a row of {len(CELLS)} cells a row")
    missing = np.isnan(cells)
    partly = np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1))
    if partly.size:
        raise ValueError(
            f"{whose}: row {partly[0]} has a label in some cells and NaN in others: a row without "
            "a label is NaN in all four"
        )
    known = ~missing.any(axis=1)
    try:
        return Labels(known=known, cells=clean_cells(cells[known]))
    except ValueError as error:
        raise ValueError(f"{whose}: {error}") from error


def clean_scores(
    scores: Float[np.ndarray, "*folds scored cells"],
    *,
    folds: Int[np.ndarray, " folded"] | None,
    known: Bool[np.ndarray, " rows"],
) -> Float[np.ndarray, "scored cells"]:
    """The classifier's cells, each labelled row's from a model that never saw its label.

    Args:
        scores: Cell probabilities; with folds, one such table a model.
        folds: Per row, the model that was trained without it; -1 where every model was. Rows
            without a label take the mean of all models.
        known: Which rows have a label.

    Raises:
        ValueError: cells that aren't four shares that sum to one, folds without a table a model,
            or a labelled row that every model was trained on.

    Source: Zrnic and Candes 2024, Cross-prediction-powered inference.
    """
    lost = np.flatnonzero(np.isnan(scores).any(axis=-1).reshape(-1))
    if lost.size:
        raise ValueError(
            f"scores: row {lost[0] % scores.shape[-2]} is NaN, as a row is that couldn't be scored "
            "(its status says why): leave such rows out of every array"
        )
    if folds is None:
        if scores.ndim != 2:
            raise ValueError(f"scores of shape {scores.shape}: give folds, or one table")
        return clean_cells(np.asarray(scores))
    if scores.ndim != 3 or len(scores) < 2:
        raise ValueError(f"folds need a table of scores a model, got shape {scores.shape}")
    if folds.shape != known.shape:
        raise ValueError(f"{len(folds)} folds of {len(known)} rows: give one a row")
    lost = np.flatnonzero(known & ~((folds >= 0) & (folds < len(scores))))
    if lost.size:
        raise ValueError(
            f"row {lost[0]} has a label and fold {folds[lost[0]]}: wanted the number of a model "
            f"that was trained without it, 0 to {len(scores) - 1}"
        )
    tables = clean_cells(scores.reshape(-1, len(CELLS))).reshape(scores.shape)
    mixed = tables.mean(axis=0)
    mixed[known] = tables[folds[known], np.flatnonzero(known)]
    return np.asarray(mixed)
