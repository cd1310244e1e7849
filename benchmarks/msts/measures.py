"""What the kept opinions are worth: means over folds and seeds, and paired differences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmarks.lexical import cells_named
from benchmarks.msts.rows import AXES, Lesson, Rows
from nsgauge.eval.agreement import axis_agreement, outcome_agreement
from nsgauge.eval.calibration import reliability
from nsgauge.eval.discrimination import auroc, average_precision

RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Opinions on some rows, a fold's or all folds' together.

    Attributes:
        rows: Numbers of the rows; with several held-out groups, a row may come more than once.
        probability: By axis that the teacher speaks of.
        verdict: Likewise.
    """

    rows: Int[np.ndarray, " told"]
    probability: dict[str, Float[np.ndarray, " told"]]
    verdict: dict[str, Bool[np.ndarray, " told"]]


def together(folds: Sequence[Told]) -> Told:
    """The folds as one."""
    axes = folds[0].probability
    return Told(
        rows=np.concatenate([told.rows for told in folds]),
        probability={a: np.concatenate([told.probability[a] for told in folds]) for a in axes},
        verdict={a: np.concatenate([told.verdict[a] for told in folds]) for a in axes},
    )


def measures(told: Told, *, rows: Rows, lesson: Lesson | None = None) -> dict[str, float | None]:
    """Each axis against people, and the three outcomes where both axes are told.

    Args:
        told: Opinions.
        rows: All rows, with what people say.
        lesson: What another teacher than people says of them; agreement with it is measured too.
    """
    items = np.array(rows.items)[told.rows]
    found: dict[str, float | None] = {"rows": float(len(told.rows))}
    for axis, probability in told.probability.items():
        positive = rows.positive[axis][told.rows]
        agreement = axis_agreement(
            positive, predicted=told.verdict[axis], probability=probability, clusters=items
        )
        found |= {
            f"{axis}_positives": float(agreement.positives),
            f"{axis}_auroc": agreement.auroc,
            f"{axis}_auprc": agreement.auprc,
            f"{axis}_kappa": agreement.kappa,
            f"{axis}_f1": agreement.f1,
            f"{axis}_smooth_ece": reliability(
                probability, positive=positive, seed=0, resamples=20
            ).smooth_ece.value,
        }
        if lesson is not None:
            found |= _against_teacher(told, axis=axis, lesson=lesson, items=items.tolist())
    if len(told.probability) == len(AXES):
        people = {axis: rows.positive[axis][told.rows] for axis in AXES}
        outcomes = outcome_agreement(cells_named(people), predicted_cells=cells_named(told.verdict))
        found["outcome_kappa"] = outcomes.kappa
    return found


def _against_teacher(
    told: Told, *, axis: str, lesson: Lesson, items: Sequence[str]
) -> dict[str, float | None]:
    """AUROC and share of equal verdicts against the teacher's own majority, where it has one."""
    share = lesson.probability[axis][told.rows]
    sure = lesson.known[axis][told.rows] & (share != 0.5)
    positive = share[sure] > 0.5
    codes = np.unique(np.array(items)[sure], return_inverse=True)[1]
    ranked = auroc(positive, probability=told.probability[axis][sure], codes=codes)
    return {
        f"{axis}_teacher_auroc": None if ranked is None else ranked.value,
        f"{axis}_teacher_agreement": float((told.verdict[axis][sure] == positive).mean()),
    }


Measure = Callable[[Told, Int[np.ndarray, " drawn"]], float | None]


def auprc_of(axis: str, *, rows: Rows) -> Measure:
    """AUPRC on some of the told rows."""

    def measure(told: Told, at: Int[np.ndarray, " drawn"]) -> float | None:
        positive = rows.positive[axis][told.rows[at]]
        return average_precision(positive, probability=told.probability[axis][at])

    return measure


def kappa_of(axis: str, *, rows: Rows) -> Measure:
    """Cohen's kappa of the verdicts on some of the told rows."""

    def measure(told: Told, at: Int[np.ndarray, " drawn"]) -> float | None:
        positive = rows.positive[axis][told.rows[at]]
        called = told.verdict[axis][at]
        chance = positive.mean() * called.mean() + (1 - positive.mean()) * (1 - called.mean())
        agreed = float((positive == called).mean())
        return None if chance == 1 else float((agreed - chance) / (1 - chance))

    return measure


def paired_difference(
    ours: Told, theirs: Told, *, measure: Measure, items: Sequence[str], seed: int
) -> tuple[float, float, float]:
    """Ours less theirs with a 95 % interval, whole items drawn with replacement for both at once.

    Args:
        ours: On the same rows, in the same order, as `theirs`.
        theirs: Likewise.
        measure: Of told rows; draws on which it is undefined are left out.
        items: Key of every row's item.
        seed: Of the draws.

    Raises:
        ValueError: the two are not on the same rows.
    """
    if not np.array_equal(ours.rows, theirs.rows):
        raise ValueError("a paired difference wants both on the same rows in the same order")
    codes = np.unique(np.array(items)[ours.rows], return_inverse=True)[1]
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    generator = np.random.default_rng(seed)
    everything = np.arange(len(ours.rows))
    differences = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(len(members), size=len(members))
        difference = _difference(
            ours, theirs, measure=measure, at=np.concatenate([members[item] for item in drawn])
        )
        if difference is not None:
            differences.append(difference)
    low, high = np.quantile(differences, [0.025, 0.975])
    value = _difference(ours, theirs, measure=measure, at=everything)
    return (np.nan if value is None else value), float(low), float(high)


def _difference(
    ours: Told, theirs: Told, *, measure: Measure, at: Int[np.ndarray, " drawn"]
) -> float | None:
    left, right = measure(ours, at), measure(theirs, at)
    return None if left is None or right is None else left - right
