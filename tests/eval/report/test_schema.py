"""The published schema: as the classes are now, and true of what is written."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nsgauge.eval.report.contents import build_report
from nsgauge.eval.report.files import json_text, plain
from nsgauge.eval.report.inputs import join_rows
from nsgauge.eval.report.schema import comparison_schema, report_schema
from nsgauge.eval.report.side_by_side import judge_side, side_by_side
from nsgauge.records import SCORES_SCHEMA

DOCS = Path(__file__).resolve().parents[3] / "docs"
KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "null": type(None),
    "boolean": bool,
}
KNOWN = {
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "anyOf",
    "enum",
    "items",
    "prefixItems",
    "properties",
    "required",
    "type",
}


def is_of(value, kind):
    fits = isinstance(value, KINDS[kind])
    return fits and (kind == "boolean" or not isinstance(value, bool))


def faults(value, schema, *, top, at="$"):
    """What of JSON Schema these documents use; any other keyword is an error."""
    assert not set(schema) - KNOWN, set(schema) - KNOWN
    if "$ref" in schema:
        return faults(value, top["$defs"][schema["$ref"].removeprefix("#/$defs/")], top=top, at=at)
    if "anyOf" in schema:
        tried = [faults(value, part, top=top, at=at) for part in schema["anyOf"]]
        return [] if [] in tried else [f"{at}: none fits: {tried}"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{at}: {value!r} isn't one of {schema['enum']}"]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_of(value, kind) for kind in kinds):
        return [f"{at}: {value!r} is no {kinds}"]
    if not kinds or not isinstance(value, dict | list):
        return []
    return (of_object if isinstance(value, dict) else of_array)(value, schema, top=top, at=at)


def of_object(value, schema, *, top, at):
    found = [f"{at}: no {name}" for name in schema.get("required", []) if name not in value]
    known, rest = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name, entry in value.items():
        part = known.get(name, rest)
        where = f"{at}.{name}"
        found += [f"{where}: unknown"] if part is False else faults(entry, part, top=top, at=where)
    return found


def of_array(value, schema, *, top, at):
    first = schema.get("prefixItems", [])
    if schema.get("items") is False and len(value) != len(first):
        return [f"{at}: {len(value)} entries, wanted {len(first)}"]
    parts = [*first, *[schema.get("items", {})] * (len(value) - len(first))]
    pairs = enumerate(zip(value, parts, strict=True))
    return [f for n, (v, part) in pairs for f in faults(v, part, top=top, at=f"{at}[{n}]")]


@pytest.mark.parametrize(
    ("name", "schema"),
    [("report", report_schema), ("comparison", comparison_schema)],
)
def test_the_published_schema_is_that_of_the_classes(name, schema):
    published = (DOCS / f"{name}.schema.json").read_text()
    again = (
        "from nsgauge.eval.report.files import json_text; "
        f"from nsgauge.eval.report.schema import {name}_schema as made; print(json_text(made()))"
    )
    wanted = f"write docs/{name}.schema.json anew: python -c '{again}'"
    assert json.loads(published) == schema(), wanted


def worlds(simulated, judged_world):
    """Reports with and without scores, with every section and with few."""
    whole = simulated(60, judged_share=0.7)
    table = pa.Table.from_pylist(whole.scores, schema=SCORES_SCHEMA)
    yield whole.inputs(controls={"shuffled_images": table}, bundle={"judges": ["human"], "n": 1})
    yield simulated(20, judged_share=0.0).inputs()
    yield judged_world.inputs()


def test_reports_are_of_the_schema(simulated, judged_world):
    schema = report_schema()
    for inputs in worlds(simulated, judged_world):
        written = json.loads(json_text(build_report(inputs)))
        assert faults(written, schema, top=schema) == []


def test_comparisons_are_of_the_schema(judged_world):
    rows = join_rows(judged_world.inputs())
    first, second = (judge_side(judge) for judge in rows.judges)
    found = side_by_side(
        rows,
        first=first,
        second=second,
        reference=rows.judges[0],
        facts={"command": "c"},
    )
    schema = comparison_schema()
    assert faults(plain(found), schema, top=schema) == []


def test_the_schema_refuses_what_is_not_a_report(judged_world):
    schema = report_schema()
    report = json.loads(json_text(build_report(judged_world.inputs())))
    missing = {name: value for name, value in report.items() if name != "judges"}
    assert faults(missing, schema, top=schema) == ["$: no judges"]
    assert faults(report | {"more": 1}, schema, top=schema) == ["$.more: unknown"]
    wrong = report | {"title": 3}
    assert faults(wrong, schema, top=schema) == ["$.title: 3 is no ['string']"]
