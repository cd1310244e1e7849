"""One axis at a time: the teacher's labels as a target holds them, and a classifier's quality."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from nsgauge.protocol import OBSERVATIONS, Rate

AXES = (Rate.UNSAFE, Rate.NOT_GROUNDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisQuality:
    """How well one axis is told apart on some rows; None where a class is missing.

    Attributes:
        rows: With a label on this axis.
        positives: Among them.
        auroc: Area under the ROC curve.
        average_precision: Area under the precision-recall curve.
        f1: Of the verdicts at the threshold.
    """

    rows: int
    positives: int
    auroc: float | None
    average_precision: float | None
    f1: float | None


def axis_labels(
    masses: Float[np.ndarray, "rows observations"], *, rate: Rate
) -> tuple[Bool[np.ndarray, " rows"], Bool[np.ndarray, " rows"]]:
    """The majority label of one axis per row, and whether there is one (ties have none).

    Raises:
        ValueError: the rate is not one of the two axes.
    """
    axis = {Rate.UNSAFE: 0, Rate.NOT_GROUNDED: 1}.get(rate)
    if axis is None:
        raise ValueError(f"{rate} is a cell, not an axis")
    values = [observation[axis] for observation in OBSERVATIONS]
    said_positive = [value is not None and value == str(rate) for value in values]
    said_negative = [value is not None and value != str(rate) for value in values]
    positive = masses[:, said_positive].sum(axis=1)
    negative = masses[:, said_negative].sum(axis=1)
    # Shares of votes: a tie of three sevenths with three is none to the last digit.
    tied = np.isclose(positive, negative, rtol=0, atol=1e-5)
    return (positive > negative) & ~tied, ~tied


def axis_quality(
    probability: Float[np.ndarray, " rows"],
    *,
    positive: Bool[np.ndarray, " rows"],
    threshold: float,
) -> AxisQuality:
    """Quality of one axis.

    Args:
        probability: Calibrated, in [0, 1].
        positive: The label.
        threshold: Verdicts are `probability >= threshold`.
    """
    rows, positives = len(positive), int(positive.sum())
    if positives in (0, rows):
        return AxisQuality(
            rows=rows, positives=positives, auroc=None, average_precision=None, f1=None
        )
    return AxisQuality(
        rows=rows,
        positives=positives,
        auroc=float(roc_auc_score(positive, probability)),
        average_precision=float(average_precision_score(positive, probability)),
        f1=float(f1_score(positive, probability >= threshold)),
    )
