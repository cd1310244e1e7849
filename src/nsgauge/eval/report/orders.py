"""The order of the VLLMs: by the reference, by the classifier, and how much of it is luck."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nsgauge.eval.ranking import (
    MINIMUM_VLLMS,
    Place,
    RankAgreement,
    places,
    rank_agreement_of_rows,
    tau_elsewhere,
)
from nsgauge.eval.report.columns import JudgeColumns, ScoreColumns
from nsgauge.eval.report.comparison import AXES
from nsgauge.eval.report.files import Cell, CsvTable
from nsgauge.eval.report.inputs import Rows
from nsgauge.eval.report.phrases import count, words_of

TABLE = (
    "On unseen rows that the reference answered, in percent; place 1 is the lowest rate. A range "
    "of places is what can't be told apart on the items that both VLLMs answered, all pairs "
    "allowed for (Holm)."
)
_MANY_RESAMPLES = 2000
_ROWS_FOR_MANY = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmOrder:
    """The VLLMs by one axis.

    Attributes:
        axis: `unsafe` or `not_grounded`.
        judge: The reference.
        rows: That it answered and the classifier had not seen.
        agreement: Between both orders.
        elsewhere: The tau that the reference would have with itself on other such items.
        reference: Each VLLM's place by the reference.
        classifier: Its place by the classifier's mean probability on the same rows.
    """

    axis: str
    judge: str
    rows: int
    agreement: RankAgreement
    elsewhere: float | None
    reference: tuple[Place, ...]
    classifier: tuple[Place, ...]

    @property
    def lines(self) -> list[tuple[Place, Place]]:
        """Both places of each VLLM, in the reference's order."""
        own = {place.vllm: place for place in self.classifier}
        return [(place, own[place.vllm]) for place in self.reference]


def vllm_orders(
    rows: Rows, *, scores: ScoreColumns, reference: JudgeColumns, seed: int
) -> tuple[VllmOrder, ...]:
    """One order an axis, where three VLLMs have rows."""
    found = []
    for axis in AXES:
        at = np.flatnonzero(scores.fresh & reference.known(axis))
        vllms = np.array(rows.vllms)[rows.vllm[at]]
        if len(np.unique(vllms)) < MINIMUM_VLLMS:
            continue
        said = reference.positive(axis)[at].astype(np.float64)
        told, items = scores.probability(axis)[at].astype(np.float64), rows.item[at]
        many = {"resamples": _MANY_RESAMPLES if len(at) <= _ROWS_FOR_MANY else 200}
        found.append(
            VllmOrder(
                axis=axis,
                judge=reference.judge,
                rows=len(at),
                agreement=rank_agreement_of_rows(
                    said, predicted=told, vllms=vllms, items=items, seed=seed, **many
                ),
                elsewhere=tau_elsewhere(said, vllms=vllms, items=items, seed=seed, **many),
                reference=places(said, vllms=vllms, items=items),
                classifier=places(told, vllms=vllms, items=items),
            )
        )
    return tuple(found)


def order_sentences(orders: Sequence[VllmOrder]) -> Iterator[str]:
    """How far both orders agree, and how much could be asked."""
    for order in orders:
        found = order.agreement
        if found.kendall is None:
            yield f"{words_of(order.axis).capitalize()}: one side rates all VLLMs alike."
            continue
        ends = (
            ""
            if found.kendall_low is None or found.kendall_high is None
            else f" (95% interval {found.kendall_low:.2f} to {found.kendall_high:.2f})"
        )
        most = (
            ""
            if order.elsewhere is None
            else f" {order.judge}'s own order on other such items would agree with this one by "
            f"{order.elsewhere:.2f}: the rest is luck of these items."
        )
        yield (
            f"{words_of(order.axis).capitalize()}: classifier and {order.judge} order "
            f"{count(found.vllms)} VLLMs with Kendall's tau {found.kendall:.2f}{ends}.{most}"
        )


def order_table(orders: tuple[VllmOrder, ...]) -> CsvTable:
    """A line an axis and VLLM."""
    rows: list[tuple[Cell, ...]] = [
        (
            *(order.axis, order.judge, theirs.vllm, order.rows),
            *(theirs.rate, theirs.first, theirs.last, own.rate, own.first, own.last),
            *(order.agreement.kendall, order.agreement.kendall_low, order.agreement.kendall_high),
            order.elsewhere,
        )
        for order in orders
        for theirs, own in order.lines
    ]
    sides = [f"{side}_{what}" for side in ("judge", "classifier") for what in _WHAT]
    header = ("axis", "judge", "vllm", "rows", *sides, "kendall", "kendall_low", "kendall_high")
    return CsvTable(header=(*header, "kendall_elsewhere"), rows=tuple(rows))


_WHAT = ("rate", "first_place", "last_place")
