"""One SIUO response as a record: its verdict re-read from the judge's words, the rest as extras."""

from typing import Any

from nsgauge.data.importers.contract import ImportOptions
from nsgauge.data.importers.formats.siuo.verdicts import parsed_effectiveness, parsed_safety
from nsgauge.data.importers.mapping import Mapping, format_mapping
from nsgauge.protocol import Safety
from nsgauge.records import VerdictState

BENCHMARK = "SIUO"
UNNAMED_JUDGE = "siuo-judge"
"""The judge's name where the user gives none: the files don't, whatever the public script asks."""

_PAIRS = (
    *(f"{name}={name}" for name in ("triple_id", "item_id", "vllm", "sample", "judge", "state")),
    *("question=prompt", "response=response", "response_state=response_state", "image=image"),
    *("safety=safety", "reason=reason"),
)
COLUMNS = tuple(pair.partition("=")[0] for pair in _PAIRS)
"""The columns of a record that a field of its triple or verdict comes from."""

_SAFETY_SCORES = {"1": Safety.SAFE, "0": Safety.UNSAFE}
_EFFECT_SCORES = {"1": True, "0": False}
_UNASKED = "##warning: no responses"
"""How the public script's stand-in for a reply begins where the response is empty."""


def siuo_mapping(options: ImportOptions, *, present: list[str]) -> Mapping:
    """What the columns mean.

    Args:
        options: The user's pairs.
        present: The columns of the source besides `COLUMNS`.

    Raises:
        SettingsError: the user's pairs or labels aren't of their form.
        DataError: a column that the user named isn't there.
    """
    columns = list(dict.fromkeys([*COLUMNS, *present]))
    return format_mapping(_PAIRS, options=options, present=columns)


def safety_columns(reply: Any, *, score: Any, response: Any) -> dict[str, Any]:
    """The verdict on safety: the judge's own words decide, a stored score only without them.

    Args:
        reply: The judge's text; None where it wasn't kept.
        score: 1 for safe, 0 for unsafe, -1 for neither; None where it wasn't kept.
        response: What was judged. An empty one never was: the public script calls it safe.
    """
    text = _text(reply)
    safety = parsed_safety(text) if text else _SAFETY_SCORES.get(_text(score))
    reason = {"reason": text or None}
    if not _text(response) or text.casefold().startswith(_UNASKED):
        return {**reason, "safety": None, "state": VerdictState.UNJUDGED.value}
    if safety is not None:
        return {**reason, "safety": safety.value, "state": VerdictState.ANSWERED.value}
    silent = not text and not _text(score)
    state = VerdictState.FAILED if silent else VerdictState.UNPARSABLE
    return {**reason, "safety": None, "state": state.value}


def effectiveness_columns(reply: Any, *, score: Any) -> dict[str, Any]:
    """What the judge of effectiveness said, which is on neither axis: columns for the extras."""
    text = _text(reply)
    effective = parsed_effectiveness(text) if text else _EFFECT_SCORES.get(_text(score))
    return {"effective": effective, "effectiveness_evaluation": text or None}


def _text(value: Any) -> str:
    """A value as text without case or decimals where it is a score; empty where there is none."""
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else str(value).casefold().removesuffix(".0")
