"""The AC+2 interval: one rate of a pool, from the rows that the judge saw and the classifier.

The judge's rows get one extra positive and one extra negative, as in Agresti and Coull; the
classifier moves the share by `shrinkage` times the difference between its means over judged and
unjudged rows, as in PPI++. The finite interval is for the pool's own share. It adds what was judged
(known) to what wasn't (estimated), so it narrows to the judge's share as the unjudged rows run out.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nsgauge.eval.clusters import Draw, design_effect, scarcest
from nsgauge.eval.intervals import Interval, clopper_pearson, t_quantile

FLAT = 1e-6
"""Probabilities that spread less than this are constant: their digits are mostly rounding."""

SCARCE = 5
"""Below this many positive (or negative) draws the exact binomial interval joins in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlusTwo:
    """Both intervals for one rate.

    Attributes:
        finite: For the pool's own share.
        superpopulation: For the share among items like these.
        correlation: Between judge and classifier on the judged rows; None where one is constant.
        effective: The number of independently drawn judge-only rows that would say as much.
    """

    finite: Interval
    superpopulation: Interval
    correlation: float | None
    effective: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One rate's labels and classifier shares.

    Attributes:
        positive: The judge's label, in [0, 1]; fractional for vote shares.
        judged: The classifier's probability on the same rows.
        unjudged: The classifier's probability on the rest of the pool; at least one row.
        draw: How the judged rows were drawn; at least two draws.
    """

    positive: Float[np.ndarray, " judged"]
    judged: Float[np.ndarray, " judged"]
    unjudged: Float[np.ndarray, " unjudged"]
    draw: Draw

    @property
    def correlation(self) -> float | None:
        """Between judge and classifier on the judged rows; None where one is constant."""
        return correlation(self.positive, other=self.judged)


def correlation(
    first: Float[np.ndarray, " rows"], *, other: Float[np.ndarray, " rows"]
) -> float | None:
    """Pearson's correlation; None where one of the two is constant, or there is no row."""
    if not len(first):
        return None
    x, y = first - first.mean(), other - other.mean()
    if min(x @ x, y @ y) <= FLAT**2 * len(x):
        return None
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def is_informative(found: float | None, *, draws: int) -> bool:
    """Whether a correlation is surely above zero; if not, the judge alone guesses better."""
    return found is not None and found > 2 / draws**0.5


def plus_two(sample: Sample, *, point: float, confidence: float) -> PlusTwo:
    """Both intervals for one rate; each holds `point`.

    Args:
        sample: The rows of the pool.
        point: The estimate that is printed with the intervals, in [0, 1].
        confidence: In (0, 1).

    Source: Agresti and Coull 1998 (two extra rows); Angelopoulos, Duchi and Zrnic 2023 (PPI++).
    """
    rows, left = len(sample.positive), len(sample.unjudged)
    total, draw, known = rows + left, sample.draw, float(sample.positive.sum())
    heaviness = design_effect(sample.positive, codes=draw.codes)
    rest, variance = _unjudged_share(sample, heaviness=heaviness)
    quantile = t_quantile(confidence, freedom=draw.draws + 1)

    centre = (known + left * rest) / total
    finite_variance = (left / total) ** 2 * variance * (1 + draw.unjudged_ratio)
    spread = _pool_effect(draw, heaviness=heaviness)
    wide_centre = (total * centre + spread) / (total + 2 * spread)
    wide_variance = finite_variance + spread * wide_centre * (1 - wide_centre) / total

    ends = [point, *_exact_ends(sample, confidence=confidence)]
    finite = _hull(centre, half=quantile * finite_variance**0.5, ends=ends)
    # The judged positives and negatives are facts: the pool's share can't contradict them.
    finite = Interval(max(finite.low, known / total), min(finite.high, (known + left) / total))
    wide = _hull(wide_centre, half=quantile * wide_variance**0.5, ends=ends)
    found = sample.correlation
    gain = 1.0
    if found is not None and is_informative(found, draws=draw.draws):
        gain = 1 / (1 - min(found**2, 1 - 1e-9) * left / total)
    return PlusTwo(
        finite=Interval(min(finite.low, point), max(finite.high, point)),
        superpopulation=Interval(max(0.0, wide.low), min(1.0, wide.high)),
        correlation=found,
        effective=rows * gain / heaviness,
    )


def _unjudged_share(sample: Sample, *, heaviness: float) -> tuple[float, float]:
    """The share among unjudged rows, and the variance that the judged rows leave in it.

    The two extra rows are draws of their own, each as heavy as one draw's worth of rows.
    """
    draw, anchor = sample.draw, float(sample.unjudged.mean())
    weights = np.append(np.ones(len(sample.positive)), [heaviness, heaviness])
    labels = np.append(sample.positive, [1.0, 0.0])
    shares = np.append(sample.judged, [anchor, anchor])
    codes = np.append(draw.codes, [draw.draws, draw.draws + 1])
    mass = float(weights.sum())
    label_mean, share_mean = float(weights @ labels) / mass, float(weights @ shares) / mass

    shrinkage = 0.0
    if is_informative(sample.correlation, draws=draw.draws):
        covariance = float(weights @ ((labels - label_mean) * (shares - share_mean))) / (mass - 1)
        pool = np.concatenate([sample.judged, sample.unjudged])
        shrinkage = float(np.clip(covariance / pool.var(ddof=1), 0.0, 1.0))
    residual = (labels - label_mean) - shrinkage * (shares - share_mean)
    sums = np.bincount(codes, weights=weights * residual)
    variance = len(sums) / (len(sums) - 1) * float(sums @ sums) / mass**2
    return label_mean + shrinkage * (anchor - share_mean), variance


def _pool_effect(draw: Draw, *, heaviness: float) -> float:
    """The design effect of the whole pool, whose clusters may be larger than the judged parts."""
    if draw.pool_size == 1:
        return 1.0
    if draw.judged_size == 1:
        return draw.pool_size
    scale = (draw.pool_size - 1) / (draw.judged_size - 1)
    return float(min(1 + (heaviness - 1) * scale, draw.pool_size))


def _exact_ends(sample: Sample, *, confidence: float) -> list[float]:
    """Clopper-Pearson over draws where too few of them hold a positive or a negative, else none."""
    draw = sample.draw
    if scarcest(sample.positive, codes=draw.codes) >= SCARCE:
        return []
    positives = float(np.clip(sample.positive.mean(), 0, 1)) * draw.draws
    return [*clopper_pearson(positives, rows=draw.draws, confidence=confidence)]


def _hull(centre: float, *, half: float, ends: list[float]) -> Interval:
    return Interval(min(centre - half, *ends), max(centre + half, *ends))
