"""What a user may do with single verdicts: leave them to the classifier, or trust a threshold."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product

import numpy as np
from jaxtyping import Float

from nsgauge.eval.escalation import RiskCoverage, risk_coverage, verdict_confidence
from nsgauge.eval.guarantee import Guarantee, guaranteed_threshold
from nsgauge.eval.intervals import Bounded
from nsgauge.eval.report.columns import JudgeColumns, ScoreColumns
from nsgauge.eval.report.comparison import AXES, Slice
from nsgauge.eval.report.inputs import Rows
from nsgauge.eval.threshold_check import (
    Promise,
    Standing,
    VerdictShares,
    holm,
    promise_p_value,
    standing_of,
    verdict_shares,
)

RISK_LIMITS: tuple[float, ...] = (0.05, 0.1)
FAILURE = 0.05


class Void(StrEnum):
    """Why no guarantee can be given."""

    UNSEEN_VLLMS = "unseen_vllms"
    """A guarantee is for rows drawn like those it was found on; these VLLMs are others."""
    UNEVEN_DRAW = "uneven_draw"
    """The reference's rows were drawn with unequal probabilities, for which nothing is weighted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A guaranteed threshold, and what it would mean for the rows that nobody judged.

    Attributes:
        guarantee: Found on judged, unseen items of VLLMs that the classifier knows.
        waiting: Rows of the same kind without the reference's answer.
        to_judge: Of those, rows below the threshold.
        unseen_rows: Judged rows of VLLMs that the classifier never saw.
        unseen_kept: Of those, at or above the threshold, which is no guarantee for them.
        unseen_errors: Of those kept, wrong.
    """

    guarantee: Guarantee
    waiting: int
    to_judge: int
    unseen_rows: int
    unseen_kept: int
    unseen_errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisEscalation:
    """One axis on unseen items, of VLLMs that the classifier knows or of those that it doesn't.

    Attributes:
        axis: `unsafe` or `not_grounded`.
        judge: The reference.
        slice: `seen_vllm` or `unseen_vllm`.
        curve: Risk against coverage.
        void: Why there is no offer; None where there are some.
        offers: One entry a limit in `RISK_LIMITS`.
    """

    axis: str
    judge: str
    slice: Slice
    curve: RiskCoverage
    void: Void | None
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdCheck:
    """One VLLM on one axis at the bundle's threshold, on unseen items.

    Attributes:
        vllm: Who answered.
        axis: `unsafe` or `not_grounded`.
        vllm_seen: Whether the classifier was trained on other answers of this VLLM.
        uneven_draw: Whether the reference's rows were drawn with unequal probabilities.
        shares: Counts and shares.
        promise: What is tested: the target that the threshold was chosen for where that is a
            precision or a recall, else the rate.
        wanted: The precision or recall asked for; 0, as a difference, for the rate.
        p_value: Of the promise being kept; None where it can't be tested.
        adjusted: The same by Holm over all tests of the report.
        standing: What follows.
    """

    vllm: str
    axis: str
    vllm_seen: bool
    uneven_draw: bool
    shares: VerdictShares
    promise: Promise
    wanted: float
    p_value: float | None
    adjusted: float | None
    standing: Standing

    @property
    def tested(self) -> Bounded | None:
        """The share that the promise is about."""
        shares = self.shares
        by_promise = {Promise.PRECISION: shares.precision, Promise.RECALL: shares.recall}
        return by_promise.get(self.promise, shares.difference)


def escalations(
    rows: Rows, *, scores: ScoreColumns, reference: JudgeColumns, seed: int
) -> tuple[AxisEscalation, ...]:
    """Risk against coverage on unseen items, and guaranteed thresholds where these can be had."""
    found = []
    for axis, (part, seen) in product(AXES, ((Slice.SEEN_VLLM, True), (Slice.UNSEEN_VLLM, False))):
        fresh = scores.fresh & (scores.vllm_seen == seen)
        at = np.flatnonzero(fresh & reference.known(axis))
        if not at.size:
            continue
        void = _void(part, uneven=reference.drawn_unevenly(np.flatnonzero(fresh)))
        curve = risk_coverage(
            _confidence(axis, scores=scores)[at],
            wrong=(scores.verdict(axis) != reference.positive(axis))[at],
            clusters=rows.item[at],
            seed=seed,
        )
        offers = () if void else _offers(axis, rows=rows, scores=scores, reference=reference)
        found.append(
            AxisEscalation(
                axis=axis, judge=reference.judge, slice=part, curve=curve, void=void, offers=offers
            )
        )
    return tuple(found)


def threshold_checks(
    rows: Rows, *, scores: ScoreColumns, reference: JudgeColumns, targets: Mapping[str, object]
) -> tuple[ThresholdCheck, ...]:
    """Each VLLM's verdicts against the reference, axis by axis.

    Args:
        rows: The joined columns.
        scores: The classifier's.
        reference: Whose answers count.
        targets: What each axis's threshold was chosen for, as the bundle has it; may be empty.
    """
    checks: list[ThresholdCheck] = []
    for axis, code in product(AXES, range(len(rows.vllms))):
        fresh = np.flatnonzero(scores.fresh & (rows.vllm == code))
        at = fresh[reference.known(axis)[fresh]]
        if not at.size:
            continue
        promise, wanted = _promise(targets.get(axis))
        verdict, positive = scores.verdict(axis)[at], reference.positive(axis)[at]
        uneven, items = reference.drawn_unevenly(fresh), rows.item[at]
        tested = promise_p_value(
            verdict, positive=positive, promise=promise, wanted=wanted, clusters=items
        )
        checks.append(
            ThresholdCheck(
                vllm=rows.vllms[code],
                axis=axis,
                vllm_seen=bool(scores.vllm_seen[at].any()),
                uneven_draw=uneven,
                shares=verdict_shares(verdict, positive=positive, clusters=items),
                promise=promise,
                wanted=wanted,
                p_value=None if uneven else tested,
                adjusted=None,
                standing=Standing.TOO_FEW,
            )
        )
    return _judged_together(checks)


def _judged_together(checks: list[ThresholdCheck]) -> tuple[ThresholdCheck, ...]:
    """Adjust the p-values for their number, and say what follows."""
    p_values = {at: c.p_value for at, c in enumerate(checks) if c.p_value is not None}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return tuple(
        replace(
            check,
            adjusted=adjusted.get(at),
            standing=standing_of(
                None if check.uneven_draw else check.tested,
                promise=check.promise,
                wanted=check.wanted,
                adjusted=adjusted.get(at),
            ),
        )
        for at, check in enumerate(checks)
    )


def _promise(target: object) -> tuple[Promise, float]:
    """What a recipe's threshold target, as a bundle stores it, promises."""
    if isinstance(target, Mapping):
        for promise in (Promise.PRECISION, Promise.RECALL):
            wanted = target.get(promise.value)
            if target.get("target") == promise.value and isinstance(wanted, float | int):
                return promise, float(wanted)
    return Promise.RATE, 0.0


def _void(part: Slice, *, uneven: bool) -> Void | None:
    if part is Slice.UNSEEN_VLLM:
        return Void.UNSEEN_VLLMS
    return Void.UNEVEN_DRAW if uneven else None


def _confidence(axis: str, *, scores: ScoreColumns) -> Float[np.ndarray, " rows"]:
    return verdict_confidence(scores.probability(axis), verdict=scores.verdict(axis))


def _offers(
    axis: str, *, rows: Rows, scores: ScoreColumns, reference: JudgeColumns
) -> tuple[Offer, ...]:
    """Thresholds found on the known VLLMs' judged rows, one a limit."""
    confidence = _confidence(axis, scores=scores)
    wrong, known = scores.verdict(axis) != reference.positive(axis), reference.known(axis)
    familiar = scores.fresh & scores.vllm_seen
    judged, waiting = familiar & known, confidence[familiar & ~known]
    strange = scores.fresh & ~scores.vllm_seen & known
    offers = []
    for limit in RISK_LIMITS:
        found = guaranteed_threshold(
            confidence[judged],
            wrong=wrong[judged],
            risk_limit=limit,
            failure=FAILURE,
            clusters=rows.item[judged],
        )
        least = np.inf if found.confidence is None else found.confidence
        kept = strange & (confidence >= least)
        offers.append(
            Offer(
                guarantee=found,
                waiting=waiting.size,
                to_judge=int((waiting < least).sum()),
                unseen_rows=int(strange.sum()),
                unseen_kept=int(kept.sum()),
                unseen_errors=int(wrong[kept].sum()),
            )
        )
    return tuple(offers)
