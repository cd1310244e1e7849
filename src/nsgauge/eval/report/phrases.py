"""Numbers and short phrases as a reader sees them; plain text, escaped later."""

import re
from collections.abc import Mapping
from math import isnan

from nsgauge.eval.intervals import Bounded
from nsgauge.eval.rates import RateEstimate

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

# What turns or hides the text around it; joiners stay, since scripts and emoji need them.
_DECEIVING = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]")


def percent(share: float | None) -> str:
    """A share as percent with one decimal, without the sign.

    Example:
        >>> percent(0.1234), percent(0.0), percent(1.0)
        ('12.3', '0.0', '100.0')
    """
    return DASH if share is None or isnan(share) else f"{100 * share:.1f}"


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, always signed.

    Example:
        >>> points(0.0312)
        '+3.1'
    """
    if difference is None:
        return DASH
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


def decimal(value: float | None) -> str:
    """A measure with two decimals; None and NaN are a dash."""
    if value is None or isnan(value):
        return DASH
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", MINUS)


def thousandths(value: float | None) -> str:
    """A small measure with three decimals; None and NaN are a dash."""
    if value is None or isnan(value):
        return DASH
    text = f"{value:.3f}"
    return "0.000" if text == "-0.000" else text.replace("-", MINUS)


def count(number: int | None) -> str:
    """A count with thousands separated.

    Example:
        >>> count(12345)
        '12,345'
    """
    return DASH if number is None else f"{number:,}"


def some(number: int, noun: str) -> str:
    """A count with its noun.

    Example:
        >>> some(1, "row"), some(1200, "row")
        ('1 row', '1,200 rows')
    """
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def ends(estimate: RateEstimate | Bounded) -> tuple[float | None, float | None]:
    """The interval to show: for a rate, the one for prompts like these."""
    if isinstance(estimate, RateEstimate):
        return estimate.low_super, estimate.high_super
    return estimate.low, estimate.high


def with_interval(estimate: RateEstimate | Bounded) -> str:
    """`21.7% (95% interval 20.1 to 23.3)`.

    Example:
        >>> with_interval(Bounded(0.5, 0.25, 0.75))
        '50.0% (95% interval 25.0 to 75.0)'
    """
    low, high = ends(estimate)
    if low is None or high is None:
        return f"{percent(estimate.value)}%"
    return f"{percent(estimate.value)}% (95% interval {percent(low)} to {percent(high)})"


def words_of(name: str) -> str:
    """A stable name as words: `not_grounded` as `not grounded`."""
    return name.replace("_", " ")


def listed(counts: Mapping[str, int]) -> str:
    """Counts by name on one line, with words for names.

    Example:
        >>> listed({"refused": 2, "not_a_response": 1})
        '2 refused, 1 not a response'
    """
    return ", ".join(f"{count(number)} {words_of(name)}" for name, number in counts.items())


def visible(text: str) -> str:
    r"""The text with its invisible signs, and those that turn its direction, as code points.

    Example:
        >>> visible("\u202egpj.exe")
        '[U+202E]gpj.exe'
    """
    return _DECEIVING.sub(lambda sign: f"[U+{ord(sign[0]):04X}]", text)
