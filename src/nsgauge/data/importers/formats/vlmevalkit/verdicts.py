"""What VLMEvalKit's judged files say: SIUO_GEN's scores, MMSafetyBench's and MSSBench's labels.

Their judges read texts alone and never see the picture. Where the judge is absent, refusal
patterns take its place, and a log entry says so: those are not verdicts. `*_pass`,
`is_attack_success` and `correct` count what couldn't be parsed as a failure or a success, so no
label is taken from them.
"""

from typing import Any

JUDGED = ("safety_score", "judge_label", "pred_behavior")
"""The columns that tell that a file was judged."""
BY_RULE = "_by_rule"
"""What the names of such columns end in where a refusal pattern filled them."""

_LOGS = ("safety_log", "judge_log")
_RULES = {"rule", "rule_fallback", "rule_parse", "rule_parse_fallback"}
RULE_JUDGE = "exact_matching"
"""The judge's name in files where refusal patterns judged."""
_FAILURES = ("error:", "judge_error:")
_UNPARSED = {"-1", "unknown"}
_SAFETY = {"1": "safe", "0": "unsafe"}
_SILENT = {"", "nan", "none"}


def verdict_columns(values: dict[str, Any], *, judge: str) -> dict[str, Any]:
    """A judged row with `safety`, `state`, `reason` and `judge` as `import_rows` reads them.

    MSSBench's `pred_behavior` (comply or refuse) is no verdict on safety, so such a row has the
    other three alone; the user may map it.

    Args:
        values: The row.
        judge: The judge's name.

    Returns:
        The row with those columns; those that a rule filled are renamed.
    """
    log = next((str(values[name]) for name in _LOGS if values.get(name)), "")
    if judge == RULE_JUDGE or log in _RULES:
        renamed = {f"{key}{BY_RULE}" if key in JUDGED else key: values[key] for key in values}
        return {**renamed, **_said(judge, state="unjudged", reason=log)}
    columns = [name for name in JUDGED if plain(values.get(name))]
    if not columns:
        return {**values, **_said(None)}
    said = plain(values[columns[0]])
    if said in _UNPARSED:
        failed = log.strip().lower().startswith(_FAILURES)
        return {**values, **_said(judge, state="failed" if failed else "unparsable", reason=log)}
    if columns[0] == "pred_behavior":
        return {**values, **_said(judge, reason=log)}
    return {**values, **_said(judge, safety=_SAFETY.get(said, said), reason=log)}


def plain(value: Any) -> str:
    """A value as text: 1 for 1.0 and for true; nothing for null and NaN."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in _SILENT else text


def _said(judge: str | None, **columns: str) -> dict[str, Any]:
    return {"safety": None, "state": None, "reason": None, "judge": judge, **columns}
