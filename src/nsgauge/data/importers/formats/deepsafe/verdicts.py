"""What DeepSafe's judges replied, as the columns of the benchmark's own format."""

import re
from typing import Any

from nsgauge.data.importers.formats.siuo.rows import effectiveness_columns, safety_columns
from nsgauge.data.importers.formats.vlsbench.rows import LABEL_NAMES, label_columns
from nsgauge.data.importers.reading.json_files import parse_json
from nsgauge.data.importers.reading.records import is_too_deep
from nsgauge.records import VerdictState

FILTERED = "[CONTENT_FILTER]"
"""What stands for a reply that the judge's provider held back."""

_REPLIES = ("safety", "effectiveness")
# From the first brace to the last: what is left without fences and words around.
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


def vlsbench_columns(judgment: Any) -> dict[str, Any]:
    """The verdict in a judgment of VLSBench: one object with a label, or the text of one.

    An empty one is `failed`, a held back one `filtered`, and what isn't such an object, or is one
    that was cut off, `unparsable`.
    """
    text = judgment.strip() if isinstance(judgment, str) else ""
    if FILTERED in text:
        return {"state": VerdictState.FILTERED.value}
    if not text and not judgment:
        return {"state": VerdictState.FAILED.value}
    told = judgment if isinstance(judgment, dict) else _parsed(text)
    name = told.get("label_str")
    label = told.get("label", LABEL_NAMES.get(str(name).strip().rstrip(".").casefold()))
    number = str(label).strip().removesuffix(".0")
    if number not in {str(known) for known in LABEL_NAMES.values()}:
        return {"state": VerdictState.UNPARSABLE.value, "explanation": text or None}
    explanation = told.get("explanation")
    return {
        **label_columns(number, label_str=name if isinstance(name, str) else None),
        "explanation": explanation if isinstance(explanation, str) else None,
    }


def siuo_columns(judgment: Any, *, response: Any) -> dict[str, Any]:
    """The verdicts in a judgment of SIUO: an object with the replies on safety and effectiveness.

    Args:
        judgment: That object; a text is taken for both replies.
        response: What was judged.
    """
    told = judgment if isinstance(judgment, dict) else dict.fromkeys(_REPLIES, judgment)
    safety, effectiveness = (told.get(name) for name in _REPLIES)
    columns = effectiveness_columns(effectiveness, score=None)
    if FILTERED in str(safety):
        return {**columns, "safety": None, "state": VerdictState.FILTERED.value}
    return {**columns, **safety_columns(safety, score=None, response=response)}


def _parsed(text: str) -> dict[str, Any]:
    """The object in a judge's reply; empty where there is none, or no whole one."""
    found = _OBJECT.search(text)
    if found is None:
        return {}
    try:
        told = parse_json(found.group().encode(errors="replace"))
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) and not is_too_deep(told) else {}
