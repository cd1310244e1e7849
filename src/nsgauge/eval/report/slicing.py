"""Calibration on slices of the unseen rows: by VLLM, benchmark, length, refusal and the like."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from nsgauge.eval.report.columns import JudgeColumns, ScoreColumns
from nsgauge.eval.report.comparison import AXES
from nsgauge.eval.report.inputs import Rows
from nsgauge.eval.report.traits import Trait
from nsgauge.eval.slices import SliceCalibration, adjust, slice_calibration

MOST_VALUES = 40
"""Of each trait, the largest slices; a trait of one value is the whole, and is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRow:
    """One slice on one axis, against the reference.

    Attributes:
        axis: `unsafe` or `not_grounded`.
        trait: What the rows are sliced by.
        value: Which slice.
        calibration: What was measured; its p-values allow for all slices of the report.
    """

    axis: str
    trait: str
    value: str
    calibration: SliceCalibration

    @property
    def differs(self) -> bool:
        """Whether the slice's probabilities fail, all slices allowed for."""
        found = self.calibration
        return min(_or_one(found.adjusted), _or_one(found.ecce_adjusted)) < 0.05


def slice_rows(
    rows: Rows, *, scores: ScoreColumns, reference: JudgeColumns
) -> tuple[SliceRow, ...]:
    """Every slice with an answered row, by axis and trait."""
    found: list[SliceRow] = []
    for axis, trait in product(AXES, rows.traits):
        at = np.flatnonzero(scores.fresh & reference.known(axis) & (trait.codes >= 0))
        probability, positive = scores.probability(axis), reference.positive(axis)
        parts = _parts(trait, at=at)
        for code, part in parts.items() if len(parts) > 1 else ():
            measured = slice_calibration(
                probability[part], positive=positive[part], clusters=rows.item[part]
            )
            name = trait.values[code]
            found.append(SliceRow(axis=axis, trait=trait.name, value=name, calibration=measured))
    adjusted = adjust([row.calibration for row in found])
    return tuple(
        replace(row, calibration=calibration)
        for row, calibration in zip(found, adjusted, strict=True)
    )


def _parts(trait: Trait, *, at: np.ndarray) -> dict[int, np.ndarray]:
    """Rows by slice, in the trait's order; the largest where there are many."""
    codes = trait.codes[at]
    counts = np.bincount(codes, minlength=len(trait.values))
    kept = np.sort(np.argsort(-counts, kind="stable")[:MOST_VALUES])
    return {int(code): at[codes == code] for code in kept if counts[code]}


def _or_one(p_value: float | None) -> float:
    return 1.0 if p_value is None else p_value
