"""What is known about the three rates of one pool, and what may be claimed about each."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from nsgauge.protocol import CELLS, RATES, Cell, Rate, check_cells, rate_weights

MINIMUM_JUDGED = 50
"""Judged items below which no rate is certified."""


class RateStatus(StrEnum):
    """What a rate may be taken for."""

    JUDGED = "judged"
    """Corrected with enough of the judge's labels on this very pool."""
    TRANSPORTED = "transported"
    """The classifier's word alone: no label of this pool checks it."""
    INSUFFICIENT = "insufficient"
    """Too few labels to certify a rate; what is printed is a hint."""
    CENSUS = "census"
    """Every row judged: the finite rate is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateEstimate:
    """One rate of one pool; every share lies in [0, 1] and None means undefined, never zero.

    Attributes:
        rate: Which of the three.
        value: The estimate; it lies in both intervals.
        low: Lower end for the finite pool: what the judge would say of all `rows`.
        high: Upper end likewise.
        low_super: Lower end for the superpopulation: items like these.
        high_super: Upper end likewise.
        low_joint: Like `low`, of intervals that hold for the three rates at once.
        high_joint: Likewise.
        low_super_joint: Likewise.
        high_super_joint: Likewise.
        rows: Rows in the pool.
        judged: Rows with a label of the judge.
        human: Of those, rows with a person's label, where a second hop corrects the judge.
        positives: Positive rows among the labels that count as the truth (a person's, if there are
            any), rounded where labels are vote shares.
        naive: The classifier's mean probability, uncorrected; None without a classifier.
        judge_only: The share that the judge's labels alone give, weighted as they were drawn.
        human_only: The same of people's labels.
        correlation: Between judge and classifier on the judged rows, within strata; with a second
            hop, between people and what judge and classifier together say.
        effective: Independently drawn rows with the true label that would say as much as all this.
        labels_saved: Share of the true labels, drawn evenly from the same items, that the
            classifier, the judge and the design made needless, in [0, 1).
        hop_shares: Parts of the variance that more judged rows, and more people's labels, would
            take away; empty with one hop.
        status: What the rate may be taken for.
        note: One sentence that says why.
    """

    rate: Rate
    value: float | None
    low: float | None = None
    high: float | None = None
    low_super: float | None = None
    high_super: float | None = None
    low_joint: float | None = None
    high_joint: float | None = None
    low_super_joint: float | None = None
    high_super_joint: float | None = None
    rows: int
    judged: int
    human: int = 0
    positives: int
    naive: float | None = None
    judge_only: float | None = None
    human_only: float | None = None
    correlation: float | None = None
    effective: float | None = None
    labels_saved: float | None = None
    hop_shares: tuple[float, ...] = ()
    status: RateStatus
    note: str

    @property
    def naive_bias(self) -> float | None:
        """How far the classifier's own mean lies above the estimate; None if either is unknown."""
        return None if self.naive is None or self.value is None else self.naive - self.value

    @property
    def rho_squared(self) -> float | None:
        """The part of the labels' variance that the correlation explains; None if unknown."""
        return None if self.correlation is None else self.correlation**2


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTable:
    """The four cells and the three rates of one pool.

    Attributes:
        cells: Share of each cell, in the order of `CELLS`; they sum to one. Empty without rows.
        rates: The estimate of each rate; its value is the sum of its cells.
    """

    cells: dict[Cell, float]
    rates: dict[Rate, RateEstimate]


def clean_cells(cells: Float[np.ndarray, "rows cells"]) -> Float[np.ndarray, "rows cells"]:
    """Checked, in double precision, and summing to one to the last digit."""
    check_cells(cells)
    exact = np.clip(cells.astype(np.float64), 0.0, 1.0)
    return np.asarray(exact / exact.sum(axis=1, keepdims=True))


def rate_table(
    shares: Float[np.ndarray, " cells"] | None,
    *,
    estimate: Callable[[Rate, float], RateEstimate],
) -> RateTable:
    """The rates as sums of the cells; `estimate` adds all else that is known of one."""
    if shares is None:
        return RateTable(cells={}, rates={rate: estimate(rate, np.nan) for rate in RATES})
    values = {rate: float(np.clip(shares @ rate_weights(rate), 0, 1)) for rate in RATES}
    return RateTable(
        cells=dict(zip(CELLS, shares.tolist(), strict=True)),
        rates={rate: estimate(rate, value) for rate, value in values.items()},
    )


def no_rows(rate: Rate) -> RateEstimate:
    """What is known of a rate of no rows: nothing."""
    return RateEstimate(
        rate=rate,
        value=None,
        rows=0,
        judged=0,
        positives=0,
        status=RateStatus.INSUFFICIENT,
        note="no rows: the rate is undefined",
    )
