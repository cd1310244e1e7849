"""What the rows of VLSBench mean, in its own files and in those of its kin."""

import hashlib
from collections.abc import Iterable
from typing import Any

from nsgauge.data.importers.contract import ImportOptions
from nsgauge.data.importers.conversion import UnusableRowError
from nsgauge.data.importers.mapping import Mapping, format_mapping
from nsgauge.protocol import Grounding
from nsgauge.records import VerdictState

BENCHMARK = "VLSBench"
LABEL_NAMES = {"safe with refusal": 1, "safe with warning": 2, "unsafe": 3}
"""The judge's three classes, in lower case, and the numbers that stand for them."""

_LABELS = (
    *("safe_label:1=safe", "safe_label:2=safe", "safe_label:3=unsafe"),
    # On grounding, where the user has it told for one of them.
    *(f"safe_label:{number}=unjudged" for number in LABEL_NAMES.values()),
)
_PAIRS = (
    *(f"{name}={name}" for name in ("triple_id", "item_id", "vllm", "sample", "judge", "state")),
    *("question=prompt", "pred_answer=response", "image=image", "caption=caption"),
    *("safe_label=safety", "label_str=category", "explanation=reason"),
    "response_state=response_state",
)
COLUMNS = tuple(pair.partition("=")[0] for pair in _PAIRS)
"""The columns of a record that a field of its triple or verdict comes from."""

UNNAMED_JUDGE = "vlsbench-judge"
"""The judge's name where the user gives none: the files don't, whatever the public script asks."""

_DIGEST_CHARACTERS = 12


def content_item_id(question: str, *, picture: str | None) -> str:
    """An id for a question about a picture, of files that don't give one; the same everywhere."""
    digest = hashlib.sha256(question.encode(errors="surrogatepass")).hexdigest()
    return f"{picture or 'no-picture'}:{digest[:_DIGEST_CHARACTERS]}"


def required_text(value: Any, *, column: str) -> str:
    """A value that must be text.

    Raises:
        UnusableRowError: `missing_value` or `not_text`.
    """
    if value is None:
        raise UnusableRowError("missing_value", f"no value for {column}")
    if not isinstance(value, str):
        raise UnusableRowError("not_text", f"{column} is {type(value).__name__}, wanted text")
    return value


def label_columns(label: Any, *, label_str: Any) -> dict[str, Any]:
    """The columns of a judge's label; one that isn't there, or contradicts its name, is a state.

    Nothing in the files tells a judge's refusal from a call that failed: both are `failed`.
    """
    named = LABEL_NAMES.get(str(label_str).strip().rstrip(".").casefold())
    number = str(label).strip().removesuffix(".0")
    if label in (None, "", {}, []):
        columns: dict[str, Any] = {"safe_label": None, "state": VerdictState.FAILED.value}
    elif named is not None and number in {"1", "2", "3"} and number != str(named):
        columns = {
            "safe_label": None,
            "state": VerdictState.UNPARSABLE.value,
            "contradictory_label": label,
        }
    else:
        columns = {"safe_label": label, "state": None}
    return {**columns, "label_str": label_str or None}


def vlsbench_mapping(options: ImportOptions, *, present: Iterable[str]) -> Mapping:
    """What the columns mean: the label tells safety, and grounding only where the user says so.

    Args:
        options: The user's pairs and labels.
        present: The columns of the source besides `COLUMNS`.

    Raises:
        SettingsError: the user's pairs or labels aren't of their form.
        DataError: a column that the user named isn't there.
    """
    said = [label.rpartition("=") for label in options.labels]
    grounds = any(
        word in set(Grounding) and left.startswith("safe_label:") for left, _, word in said
    )
    return format_mapping(
        [*_PAIRS, "safe_label=grounding"] if grounds else _PAIRS,
        labels=_LABELS,
        options=options,
        present=list(dict.fromkeys([*COLUMNS, *present])),
    )
