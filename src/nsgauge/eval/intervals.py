"""Intervals for one share, and the quantiles that they are built from."""

from typing import NamedTuple

from scipy import special

Count = float | int
"""A number of rows; fractional for vote shares and effective numbers."""


class Interval(NamedTuple):
    """A closed interval; both ends lie in the range of the quantity."""

    low: float
    high: float


class Bounded(NamedTuple):
    """A value and its interval; the ends are None where nothing can be said of its spread."""

    value: float
    low: float | None
    high: float | None


def check_confidence(confidence: float) -> None:
    """Refuse anything that isn't a confidence level.

    Raises:
        ValueError: not strictly between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}: 95% is 0.95")


def normal_quantile(confidence: float) -> float:
    """The two-sided quantile of the normal distribution: 1.96 for 0.95."""
    check_confidence(confidence)
    return float(special.ndtri((1 + confidence) / 2))


def t_quantile(confidence: float, *, freedom: Count) -> float:
    """The two-sided quantile of Student's t with `freedom` degrees of freedom, above 0."""
    check_confidence(confidence)
    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def wilson(positives: Count, *, rows: Count, quantile: float) -> Interval:
    """Wilson's score interval for a share.

    Args:
        positives: In [0, rows]; may be fractional (vote shares, effective counts).
        rows: Above 0; may be an effective number.
        quantile: Two-sided quantile, of the normal or of t.

    Raises:
        ValueError: no rows, or positives outside [0, rows].

    Example:
        >>> low, high = wilson(81, rows=263, quantile=normal_quantile(0.95))
        >>> round(low, 4), round(high, 4)
        (0.2553, 0.3662)

    Source: Wilson 1927; the example is Newcombe 1998, method 3.
    """
    _check_counts(positives, rows=rows)
    share, square = positives / rows, quantile**2
    centre = (share + square / (2 * rows)) / (1 + square / rows)
    spread = share * (1 - share) / rows + square / (4 * rows**2)
    half = quantile * max(spread, 0.0) ** 0.5 / (1 + square / rows)
    # Rounding may move an end past the share itself where the share is 0 or 1.
    return Interval(max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def clopper_pearson(positives: Count, *, rows: Count, confidence: float) -> Interval:
    """The exact binomial interval for a share, through the beta distribution.

    Args:
        positives: In [0, rows]; may be fractional, which interpolates between the exact limits.
        rows: Above 0; may be an effective number.
        confidence: In (0, 1).

    Raises:
        ValueError: no rows, or positives outside [0, rows].

    Source: Clopper and Pearson 1934.
    """
    _check_counts(positives, rows=rows)
    check_confidence(confidence)
    tail, negatives = (1 - confidence) / 2, rows - positives
    # Less than a millionth of a row is rounding, and overflows the beta distribution.
    low = float(special.betaincinv(positives, negatives + 1, tail)) if positives > 1e-6 else 0.0
    high = float(special.betainccinv(positives + 1, negatives, tail)) if negatives > 1e-6 else 1.0
    return Interval(min(low, positives / rows), max(high, positives / rows))


def bounded_rate(positives: Count, *, answered: int, asked: int) -> tuple[float, float]:
    """The lowest and highest share that any reading of the missing verdicts would allow.

    A verdict without an answer is never a "no": the low end reads all of them as negative, the
    high end reads all of them as positive.

    Args:
        positives: Positive rows among the answered ones.
        answered: Rows with a label.
        asked: All rows, answered or not; at least 1.

    Raises:
        ValueError: no row was asked, or the counts don't nest.

    Example:
        >>> bounded_rate(3, answered=8, asked=10)
        (0.3, 0.5)
    """
    if not 0 <= positives <= answered <= asked or asked == 0:
        raise ValueError(
            f"wanted 0 <= positives <= answered <= asked and asked > 0, got {positives:g} "
            f"positives, {answered} answered, {asked} asked"
        )
    return positives / asked, (positives + asked - answered) / asked


def _check_counts(positives: Count, *, rows: Count) -> None:
    if not 0 <= positives <= rows or rows <= 0:
        raise ValueError(
            f"wanted 0 <= positives <= rows and rows > 0, got {positives:g} of {rows:g}"
        )
