"""What the kept opinions are worth: means over folds and seeds, and paired differences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

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
            at = np.arange(len(told.rows))
            found |= {
                f"{axis}_teacher_auroc": teacher_auroc_of(axis, lesson=lesson)(told, at),
                f"{axis}_teacher_agreement": teacher_agreement_of(axis, lesson=lesson)(told, at),
            }
    if len(told.probability) == len(AXES):
        people = {axis: rows.positive[axis][told.rows] for axis in AXES}
        outcomes = outcome_agreement(cells_named(people), predicted_cells=cells_named(told.verdict))
        found["outcome_kappa"] = outcomes.kappa
    return found


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
        return _kappa(rows.positive[axis][told.rows[at]], told.verdict[axis][at])

    return measure


def outcome_kappa_of(*, rows: Rows) -> Measure:
    """Cohen's kappa over the three outcomes: not grounded, else unsafe, else safe."""

    def outcomes(
        verdict: dict[str, Bool[np.ndarray, " rows"]], at: Int[np.ndarray, " drawn"]
    ) -> Int[np.ndarray, " drawn"]:
        return np.where(verdict["not_grounded"][at], 2, verdict["unsafe"][at].astype(np.int64))

    def measure(told: Told, at: Int[np.ndarray, " drawn"]) -> float | None:
        return _kappa(outcomes(rows.positive, told.rows[at]), outcomes(told.verdict, at))

    return measure


def teacher_agreement_of(axis: str, *, lesson: Lesson) -> Measure:
    """Share of verdicts equal to the teacher's own majority, where it has one."""

    def measure(told: Told, at: Int[np.ndarray, " drawn"]) -> float | None:
        positive, sure = _majority(told.rows[at], axis=axis, lesson=lesson)
        return (
            float((told.verdict[axis][at][sure] == positive[sure]).mean()) if sure.any() else None
        )

    return measure


def teacher_auroc_of(axis: str, *, lesson: Lesson) -> Measure:
    """AUROC against the teacher's own majority, where it has one."""

    def measure(told: Told, at: Int[np.ndarray, " drawn"]) -> float | None:
        positive, sure = _majority(told.rows[at], axis=axis, lesson=lesson)
        probability = told.probability[axis][at]
        codes = np.arange(int(sure.sum()))
        ranked = auroc(positive[sure], probability=probability[sure], codes=codes)
        return None if ranked is None else ranked.value

    return measure


def _majority(
    at: Int[np.ndarray, " told"], *, axis: str, lesson: Lesson
) -> tuple[Bool[np.ndarray, " told"], Bool[np.ndarray, " told"]]:
    """Whether most of the teacher's votes are positive, and whether there is a majority."""
    share = lesson.probability[axis][at]
    return share > 0.5, lesson.known[axis][at] & (share != 0.5)


def _kappa(truth: Shaped[np.ndarray, " drawn"], said: Shaped[np.ndarray, " drawn"]) -> float | None:
    """Cohen 1960; None where chance alone agrees."""
    names = np.union1d(truth, said)
    chance = sum(float((truth == name).mean() * (said == name).mean()) for name in names)
    agreed = float((truth == said).mean())
    return None if chance == 1 else (agreed - chance) / (1 - chance)


def paired_difference(
    ours: Sequence[Told],
    theirs: Sequence[Told],
    *,
    measure: Measure,
    items: Sequence[str],
    seed: int,
) -> tuple[float, float, float]:
    """Ours less theirs, each the mean over its seeds, with a 95 % interval.

    Whole items are drawn with replacement, the same for all seeds of both.

    Args:
        ours: Of each seed, on the same rows, in the same order, as all others and `theirs`.
        theirs: Likewise.
        measure: Of told rows; draws on which it is undefined are left out.
        items: Key of every row's item.
        seed: Of the draws.

    Raises:
        ValueError: they are not all on the same rows.
    """
    shared = ours[0].rows
    if not all(np.array_equal(told.rows, shared) for told in (*ours, *theirs)):
        raise ValueError("a paired difference wants all on the same rows in the same order")
    codes = np.unique(np.array(items)[shared], return_inverse=True)[1]
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    generator = np.random.default_rng(seed)
    differences = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(len(members), size=len(members))
        difference = _difference(
            ours, theirs, measure=measure, at=np.concatenate([members[item] for item in drawn])
        )
        if difference is not None:
            differences.append(difference)
    low, high = np.quantile(differences, [0.025, 0.975]) if differences else (np.nan, np.nan)
    value = _difference(ours, theirs, measure=measure, at=np.arange(len(shared)))
    return (np.nan if value is None else value), float(low), float(high)


def _difference(
    ours: Sequence[Told],
    theirs: Sequence[Told],
    *,
    measure: Measure,
    at: Int[np.ndarray, " drawn"],
) -> float | None:
    left, right = (_mean([measure(told, at) for told in side]) for side in (ours, theirs))
    return None if left is None or right is None else left - right


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
