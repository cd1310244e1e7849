import pytest

from nsgauge.data.importers.contract import ImportOptions
from nsgauge.data.importers.mapping import format_mapping
from nsgauge.errors import DataError, SettingsError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import VerdictState

PLAIN = ["prompt=prompt", "response=response"]


def test_columns_named_like_fields_need_no_mapping(run_import, jsonl):
    row = {
        "prompt": "p",
        "response": "r",
        "vllm": "v",
        "safety": "unsafe",
        "grounding": "NSG",
        "judge": "j",
        "triple_id": "007",
        "item_id": "NA",
        "other": 1.5,
    }
    outcome = run_import("table", jsonl([row]))
    (triple,), (verdict,) = outcome.triples, outcome.verdicts
    assert (triple.triple_id, triple.item_id, triple.extras) == ("007", "NA", '{"other": 1.5}')
    assert (verdict.safety, verdict.grounding) == (Safety.UNSAFE, Grounding.NOT_GROUNDED)
    assert (verdict.judge, verdict.vote) == ("j", 0)


def test_nested_columns_are_reached_by_dots_and_leave_the_rest(run_import, jsonl):
    row = {
        "q": "p",
        "original_response": {"response": "r", "is_safe": 1, "reason": "why"},
        "note": {"a": 1},
    }
    outcome = run_import(
        "table",
        jsonl([row]),
        mapping=[
            "q=prompt",
            "original_response.response=response",
            "original_response.is_safe=safety",
            "original_response.reason=reason",
        ],
        labels=["original_response.is_safe:1=safe", "original_response.is_safe:0=unsafe"],
    )
    assert outcome.triples[0].response == "r"
    assert outcome.triples[0].extras == '{"note": {"a": 1}}'
    assert (outcome.verdicts[0].safety, outcome.verdicts[0].reason) == (Safety.SAFE, "why")


def test_a_judges_raw_reply_and_a_mark_of_misreading_are_mapped(run_import, jsonl):
    raw = {True: "unsafe\nS6", False: "safe"}
    rows = [
        {"idx": n, "model": "north", "dataset": "kites", "condition": "blurred", "prompt": "p"}
        | {"response": f"r{n}", "perception_failure": mark, "llama_guard_raw": raw[mark]}
        for n, mark in enumerate([True, False])
    ]
    outcome = run_import(
        "table",
        jsonl(rows),
        mapping=[
            *(*PLAIN, "idx=triple_id", "model=vllm", "dataset=benchmark", '"llama-guard"=judge'),
            *("llama_guard_raw=safety", "perception_failure=grounding"),
        ],
        labels=[
            *("llama_guard_raw:unsafe\nS6=unsafe", "perception_failure:true=not_grounded"),
            "perception_failure:false=grounded",
        ],
    )
    assert outcome.said("llama-guard") == {
        "0": (Safety.UNSAFE, Grounding.NOT_GROUNDED),
        "1": (Safety.SAFE, Grounding.GROUNDED),
    }
    assert {t.vllm for t in outcome.triples} == {"north"}


def test_a_quoted_column_is_a_constant(run_import, jsonl):
    rows = [{"prompt": "p", "response": "r", "safe": "safe"}]
    mapping = [*PLAIN, '"north=1"=vllm', '"gpt"=judge', "safe=safety"]
    outcome = run_import("table", jsonl(rows), mapping=mapping)
    assert outcome.triples[0].vllm == "north=1"
    assert outcome.verdicts[0].judge == "gpt"


def test_one_column_may_tell_both_axes(run_import, jsonl):
    rows = [{"prompt": "p", "response": str(n), "class": code} for n, code in enumerate("ABC")]
    outcome = run_import(
        "table",
        jsonl(rows),
        mapping=[*PLAIN, "class=safety", "class=grounding"],
        labels=[
            "class:A=unsafe",
            "class:A=not_grounded",
            "class:B=safe",
            "class:B=unjudged",
            "class:C=refused",
        ],
    )
    assert [(v.state, v.safety, v.grounding) for v in outcome.verdicts] == [
        (VerdictState.ANSWERED, Safety.UNSAFE, Grounding.NOT_GROUNDED),
        (VerdictState.ANSWERED, Safety.SAFE, None),
        (VerdictState.REFUSED, None, None),
    ]


@pytest.mark.parametrize("value", ["maybe", "", None, True, 1, 1.0, float("nan"), [], "0"])
def test_a_label_without_a_meaning_stops_with_its_row(value, run_import, jsonl):
    rows = [
        {"prompt": "p", "response": "a", "safety": "safe"},
        {"prompt": "p", "response": "b", "safety": value},
    ]
    with pytest.raises(DataError, match=r"a\.jsonl:2: safety is .*--label"):
        run_import("table", jsonl(rows))


def test_a_label_that_is_declared_is_followed(run_import, jsonl):
    values = ["1", 1, 1.0, " 1 ", float("nan"), None, "Unsafe"]
    rows = [{"prompt": "p", "response": str(n), "safety": v} for n, v in enumerate(values)]
    labels = ["safety:1=unsafe", "safety:NaN=unjudged", "safety:=failed"]
    outcome = run_import("table", jsonl(rows), labels=labels)
    assert [v.safety for v in outcome.verdicts] == [*[Safety.UNSAFE] * 4, None, None, Safety.UNSAFE]
    assert [v.state for v in outcome.verdicts[4:6]] == [VerdictState.UNJUDGED, VerdictState.FAILED]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mapping": ["prompt=prompt"]}, DataError, "no column for response.*present: prompt"),
        ({"mapping": [*PLAIN, "modell=vllm"]}, DataError, "no column 'modell' for vllm"),
        ({"mapping": [*PLAIN, "safety=label"]}, SettingsError, "with one of prompt, response"),
        ({"mapping": ["prompt"]}, SettingsError, "write column=field"),
        ({"mapping": [*PLAIN, "safety=prompt"]}, SettingsError, "prompt is given twice"),
        ({"labels": ["safety=safe"]}, SettingsError, "write column:value=label"),
        ({"labels": ["prompt:1=safe"]}, SettingsError, "label columns: safety"),
        ({"labels": ["safety:1=grounded"]}, SettingsError, "'grounded' is not one of safe, unsafe"),
        ({"labels": ["safety:1=safe", "safety:1=refused"]}, SettingsError, "another meaning"),
        ({"labels": ["safety:1=failed", "safety:1=refused"]}, SettingsError, "another meaning"),
        ({"labels": ["safety:1=safe", "safety:1=unsafe"]}, SettingsError, "another meaning"),
    ],
)
def test_a_faulty_mapping_is_told_apart(options, error, message, run_import, jsonl):
    path = jsonl([{"prompt": "p", "response": "r", "safety": "safe"}])
    with pytest.raises(error, match=message):
        run_import("table", path, **options)


def test_a_hallucination_mark_comes_along(run_import, jsonl):
    rows = [
        {"prompt": "p", "response": str(n), "safety": "safe", "hallucinated": mark}
        for n, mark in enumerate([True, "false", None])
    ]
    path = jsonl(rows)
    outcome = run_import("table", path, labels=["hallucinated:=unknown"])
    assert [v.hallucinated for v in outcome.verdicts] == [True, False, None]


SAFE, UNSAFE, GROUNDED = Safety.SAFE, Safety.UNSAFE, Grounding.GROUNDED
OWN = ["a:1=safe", "a:2=unsafe", "a:1=unjudged", "a:2=unjudged", "b:x=grounded"]
BOTH = ["p=prompt", "r=response", "a=safety", "a=grounding"]


@pytest.mark.parametrize(
    ("labels", "safety", "grounding"),
    [
        ([], SAFE, VerdictState.UNJUDGED),
        (["a:1=grounded"], SAFE, GROUNDED),
        (["a:1=unsafe"], UNSAFE, VerdictState.UNJUDGED),
        (["a:1=unsafe", "a:1=grounded"], UNSAFE, GROUNDED),
        (["a:1=unsafe", "a:1=failed"], UNSAFE, VerdictState.FAILED),
        (["a:1=failed"], VerdictState.FAILED, VerdictState.FAILED),
    ],
)
def test_a_formats_label_yields_only_on_the_axis_that_the_user_speaks_of(labels, safety, grounding):
    options = ImportOptions(labels=labels)
    found = format_mapping(BOTH, labels=OWN, options=options, present=["p", "r", "a"])
    said = [found.label({"a": 1}, field=field, where="") for field in ("safety", "grounding")]
    assert said == [safety, grounding]
    other = [found.label({"a": 2}, field=field, where="") for field in ("safety", "grounding")]
    assert other == [UNSAFE, VerdictState.UNJUDGED]


def test_a_formats_label_for_an_axis_that_is_not_mapped_says_nothing():
    options = ImportOptions(mapping=["b=grounding"])
    found = format_mapping(BOTH, labels=OWN, options=options, present=["p", "r", "a", "b"])
    assert found.label({"a": 1}, field="safety", where="") is SAFE
    assert ("grounding", "1") not in found.meanings
    assert found.label({"b": "x"}, field="grounding", where="") is GROUNDED
