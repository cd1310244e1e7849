"""The JSON Schema of report.json and comparison.json, made from the classes that they are."""

import dataclasses
import types
from collections.abc import Mapping
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from nsgauge.eval.report.contents import Report
from nsgauge.eval.report.side_by_side import SideBySide

Schema = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS = {bool: "boolean", int: "integer", str: "string", type(None): "null"}


def report_schema() -> Schema:
    """What report.json holds."""
    return _document(Report)


def comparison_schema() -> Schema:
    """What comparison.json holds."""
    return _document(SideBySide)


def _document(result: type) -> Schema:
    definitions: dict[str, Schema] = {}
    top = _schema_of(result, definitions=definitions)
    return {"$schema": _DIALECT, **top, "$defs": dict(sorted(definitions.items()))}


def _schema_of(kind: Any, *, definitions: dict[str, Schema]) -> Schema:
    """The schema of one type; classes with fields go into `definitions`.

    Raises:
        TypeError: a type that has no place in a report.
    """
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if kind is float:
        # A number that isn't finite is written as null.
        return {"type": ["number", "null"]}
    if kind in (object, Any):
        return {}
    if isinstance(kind, type) and (issubclass(kind, Enum) or _has_fields(kind)):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}
            definitions[kind.__name__] = _named(kind, definitions=definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    return _generic(kind, definitions=definitions)


def _has_fields(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")


def _named(kind: type, *, definitions: dict[str, Schema]) -> Schema:
    """An enum's values, or an object with exactly the fields of a dataclass or a named tuple."""
    if issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    hints = get_type_hints(kind)
    fields = list(getattr(kind, "_fields", ())) or _fields(kind)
    return {
        "type": "object",
        "properties": {name: _schema_of(hints[name], definitions=definitions) for name in fields},
        "required": fields,
        "additionalProperties": False,
    }


def _fields(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _generic(kind: Any, *, definitions: dict[str, Schema]) -> Schema:
    """Unions, tuples, mappings and arrays."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema_of(part, definitions=definitions) for part in parts]}
    if origin is tuple and parts[-1] is Ellipsis:
        return {"type": "array", "items": _schema_of(parts[0], definitions=definitions)}
    if origin is tuple:
        entries = [_schema_of(part, definitions=definitions) for part in parts]
        return {"type": "array", "prefixItems": entries, "items": False}
    if origin is dict or origin is Mapping:
        values = _schema_of(parts[1], definitions=definitions)
        return {"type": "object", "additionalProperties": values}
    if getattr(kind, "array_type", None) is np.ndarray:
        return {"type": "array", "items": {"type": ["number", "null"]}}
    raise TypeError(f"a report can't hold a {kind}")
