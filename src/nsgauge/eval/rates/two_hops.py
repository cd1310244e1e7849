"""Two hops: the classifier speaks for the judge, and the judge for people.

People labelled a simple random part of what the judge saw. Their labels are regressed on judge and
classifier; the fit is taken at the classifier's mean over the pool and at the judge's mean there,
which the first hop estimates. Each hop adds its own variance.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from nsgauge.eval.clusters import design_effect
from nsgauge.eval.draws import Draw
from nsgauge.eval.plus_two import FLAT, Spread, spread_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relay:
    """One rate along the two hops.

    Attributes:
        human: People's labels, in [0, 1].
        asked: Which of the judged rows they are of.
        judge: The judge's label on each judged row.
        classifier: The classifier's probability on each judged row; zeros without a classifier.
        classifier_mean: The same over the whole pool.
        weights: How many rows of the pool each judged row speaks for.
        missed: Probability that the judge left the row's item out; 0 where it saw all.
        drawn: Probability that people labelled a judged row, in (0, 1].
        draw: How the rows that people labelled came out of the pool, through both hops.
    """

    human: Float[np.ndarray, " human"]
    asked: Bool[np.ndarray, " judged"]
    judge: Float[np.ndarray, " judged"]
    classifier: Float[np.ndarray, " judged"]
    classifier_mean: float
    weights: Float[np.ndarray, " judged"]
    missed: Float[np.ndarray, " judged"]
    drawn: float
    draw: Draw


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoHops:
    """What the two hops give for one rate.

    Attributes:
        spread: Estimate and variance.
        hop_shares: Of the variance, what more judged rows and what more people's labels would
            take away; they sum to one.
        explained: The part of the labels' variance that judge and classifier explain, in [0, 1].
    """

    spread: Spread
    hop_shares: tuple[float, float]
    explained: float


def two_hops(relay: Relay) -> TwoHops:
    """Estimate and variance of one rate of the pool.

    Source: Cochran 1977, section 12.6 (double sampling for regression), with two extra rows.
    """
    draw, weights = relay.draw, relay.weights[relay.asked]
    judge_mean, judge_rest = _first_hop(relay)
    heavy = design_effect(relay.human, codes=draw.codes) * float(weights @ weights / weights.sum())
    # Measured from the pool's means, so that the intercept is the estimate.
    signals = np.stack(
        [relay.classifier - relay.classifier_mean, relay.judge - judge_mean], axis=1
    )[relay.asked]
    fit = partial(_fit, relay.human, signals=signals, weights=weights)
    explained = _explained(relay.human, fitted=fit(extra=0.0)[2], weights=weights)
    # The extra rows draw the estimate to a half. What judge and classifier explain needs no such
    # draw: with all of it, coverage falls to .91 where people's positives are few.
    share, slopes, fitted = fit(extra=heavy * (1 - explained))
    second = relay.human - fitted
    first = second + slopes[1] * judge_rest[relay.asked]

    missed, lost = relay.missed[relay.asked], 1 + int((slopes != 0).sum())
    count, mass = draw.effective_draws + 2, float(weights.sum()) + 2 * heavy
    extra = heavy**2 * ((1 - share) ** 2 + share**2)
    judged = _square(weights * np.sqrt(missed) * first, draw=draw) + extra * float(missed.mean())
    judged *= min(1.0, relay.drawn * count / draw.draws) * count / max(count - 2, 1) / mass**2
    asked = _square(weights * second, draw=draw) + extra
    asked *= (1 - relay.drawn) * count / max(count - lost, 1) / mass**2
    return TwoHops(
        spread=spread_of(
            relay.human, draw=draw, centre=share, variance=judged + asked, freedom=count - lost
        ),
        hop_shares=(judged / (judged + asked), asked / (judged + asked)),
        explained=explained,
    )


def _square(influence: Float[np.ndarray, " human"], *, draw: Draw) -> float:
    """The sum of squares of the items' sums."""
    sums = np.bincount(draw.codes, weights=influence)
    return float(sums @ sums)


def _first_hop(relay: Relay) -> tuple[float, Float[np.ndarray, " judged"]]:
    """The judge's mean over the pool, and what the classifier leaves of its labels."""
    parts = relay.weights / relay.weights.sum()
    judge_mean = float(parts @ relay.judge)
    classifier_mean = float(parts @ relay.classifier)
    labels, shares = relay.judge - judge_mean, relay.classifier - classifier_mean
    spread = float(parts @ shares**2)
    slope = float(parts @ (labels * shares)) / spread if spread > FLAT**2 else 0.0
    return judge_mean + slope * (relay.classifier_mean - classifier_mean), labels - slope * shares


def _fit(
    labels: Float[np.ndarray, " human"],
    *,
    signals: Float[np.ndarray, "human signals"],
    weights: Float[np.ndarray, " human"],
    extra: float,
) -> tuple[float, Float[np.ndarray, " signals"], Float[np.ndarray, " human"]]:
    """Intercept, slopes and fitted labels; an extra positive and negative lie at the origin.

    A signal that hardly varies has a slope of exactly zero.
    """
    spread = signals.std(axis=0)
    live = spread > FLAT
    columns = signals[:, live] / spread[live]
    roots = np.sqrt(weights)[:, None]
    design = roots * np.column_stack([np.ones(len(labels)), columns])
    origin = np.zeros((2, design.shape[1]))
    origin[:, 0] = extra**0.5
    answers = np.append(roots[:, 0] * labels, [extra**0.5, 0.0])
    found = np.linalg.lstsq(np.vstack([design, origin]), answers, rcond=None)[0]
    slopes = np.zeros(signals.shape[1])
    slopes[live] = found[1:] / spread[live]
    return float(found[0]), slopes, np.asarray(found[0] + signals @ slopes)


def _explained(
    labels: Float[np.ndarray, " human"],
    *,
    fitted: Float[np.ndarray, " human"],
    weights: Float[np.ndarray, " human"],
) -> float:
    """The part of the labels' variance that the fit explains, in [0, 1]."""
    parts = weights / weights.sum()
    total = float(parts @ (labels - parts @ labels) ** 2)
    left = float(parts @ (labels - fitted) ** 2)
    return 0.0 if total <= FLAT**2 else float(np.clip(1 - left / total, 0.0, 1.0))
