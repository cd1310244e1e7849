"""One hop: the classifier's rates of a pool, corrected with the rows that the judge saw."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from nsgauge.eval.clusters import design_effect
from nsgauge.eval.draws import Draw
from nsgauge.eval.plus_two import Spread, effective_rows, is_informative
from nsgauge.eval.rate_table import (
    MINIMUM_JUDGED,
    RateEstimate,
    RateStatus,
    RateTable,
    rate_table,
)
from nsgauge.eval.rates.designs import Design, draw_of, fault_of, trusted
from nsgauge.eval.rates.greg import greg_cells
from nsgauge.eval.rates.one_hop import Sample, one_hop
from nsgauge.eval.rates.pools import Cells, Labels
from nsgauge.protocol import CELLS, RATES, Rate, rate_weights


def corrected_rates(
    labels: Labels, *, scores: Cells | None, design: Design, confidence: float
) -> RateTable:
    """The rates of a pool of which the judge saw a part.

    Args:
        labels: The judge's; of one row at least, and not of all.
        scores: The classifier's cells of every row; None for the judge alone.
        design: How the judged rows were drawn.
        confidence: Of each interval, in (0, 1).
    """
    fault = fault_of(design, judged=labels.known)
    draw = draw_of(trusted(design, fault=fault), judged=labels.known)
    standing = status_of(draw, labels=len(labels.cells), fault=fault)

    def estimate(rate: Rate, value: float) -> RateEstimate:
        sample = _sample(labels, scores=scores, draw=draw, weights=rate_weights(rate))
        bare = RateEstimate(
            rate=rate,
            value=value,
            rows=len(labels.known),
            judged=len(labels.cells),
            positives=round(float(sample.positive.sum())),
            naive=None if scores is None else float((scores @ rate_weights(rate)).mean()),
            judge_only=float(draw.weights @ sample.positive / draw.weights.sum()),
            correlation=sample.correlation,
            status=standing[0],
            note=standing[1],
        )
        if fault is not None or draw.draws < 2:
            return bare
        spread = one_hop(sample)
        known = with_labels(bare, positive=sample.positive, draw=draw, spread=spread)
        return with_intervals(known, spread=spread, confidence=confidence)

    return rate_table(_shares(labels, scores=scores, draw=draw), estimate=estimate)


def status_of(
    draw: Draw, *, labels: int, fault: str | None, done: str = "judged"
) -> tuple[RateStatus, str]:
    """What rates may be taken for, and one sentence that says why.

    Args:
        draw: The rows whose labels count as the truth.
        labels: How many they are.
        fault: Why no interval can be trusted, if anything speaks against it.
        done: What was done to these rows.
    """
    rows = labels + int(draw.left.sum())
    note = f"{labels} of {rows} rows {done} ({draw.draws} independent draws)"
    if fault is not None:
        return RateStatus.INSUFFICIENT, f"{fault}; {note}"
    if draw.draws < MINIMUM_JUDGED:
        return RateStatus.INSUFFICIENT, f"{note}; {MINIMUM_JUDGED} are wanted to certify a rate"
    return RateStatus.JUDGED, note


def with_labels(
    estimate: RateEstimate,
    *,
    positive: Float[np.ndarray, " labelled"],
    draw: Draw,
    spread: Spread,
) -> RateEstimate:
    """The estimate with what its labels are worth, and how many of them were saved.

    Args:
        estimate: Of the rate.
        positive: The labels that count as the truth, in [0, 1].
        draw: How they were drawn.
        spread: The variance that they leave.
    """
    effective = effective_rows(positive, draw=draw, variance=spread.variance)
    alone = len(positive) / design_effect(positive, codes=draw.codes)
    saved = max(0.0, 1 - alone / effective)
    return replace(estimate, effective=effective, labels_saved=saved)


def with_intervals(estimate: RateEstimate, *, spread: Spread, confidence: float) -> RateEstimate:
    """The estimate with its intervals for both estimands, alone and for the three rates at once.

    Args:
        estimate: With a value.
        spread: Its variance.
        confidence: Of each interval, in (0, 1); the joint ones share it (Bonferroni).
    """
    point = np.nan if estimate.value is None else estimate.value
    together = 1 - (1 - confidence) / len(RATES)
    finite, finite_joint = (
        spread.finite(point=point, confidence=each) for each in (confidence, together)
    )
    wide, wide_joint = (
        spread.superpopulation(point=point, confidence=each) for each in (confidence, together)
    )
    return replace(
        estimate,
        low=finite.low,
        high=finite.high,
        low_super=wide.low,
        high_super=wide.high,
        low_joint=finite_joint.low,
        high_joint=finite_joint.high,
        low_super_joint=wide_joint.low,
        high_super_joint=wide_joint.high,
    )


def _shares(labels: Labels, *, scores: Cells | None, draw: Draw) -> Float[np.ndarray, " cells"]:
    """The share of each cell; the classifier counts if it tells anything of the judge.

    All cells and both axes are asked, also those that no rate is of, so that naming the classes
    the other way round can't change the answer.
    """
    nothing = np.zeros((len(labels.known), 0))
    signals = nothing if scores is None else scores
    if scores is not None:
        axes = [rate_weights(rate) for rate in (Rate.UNSAFE, Rate.NOT_GROUNDED)]
        ways = np.vstack([np.eye(len(CELLS)), axes])
        found = (_sample(labels, scores=scores, draw=draw, weights=way) for way in ways)
        draws = draw.effective_draws
        if not any(is_informative(each.correlation, draws=draws) for each in found):
            signals = nothing
    return greg_cells(
        labels.cells,
        signals=signals[labels.known],
        rest=signals[~labels.known].sum(axis=0),
        draw=draw,
    )


def _sample(
    labels: Labels, *, scores: Cells | None, draw: Draw, weights: Float[np.ndarray, " cells"]
) -> Sample:
    """The rows as one sum of cells sees them."""
    shares = np.zeros(len(labels.known)) if scores is None else scores @ weights
    return Sample(
        positive=labels.cells @ weights,
        judged=shares[labels.known],
        unjudged=shares[~labels.known],
        draw=draw,
    )
