"""Item definitions: what a value must be to bear a type, with allowed values. What does not conform is null.

Standard: DMN 1.5, 7.3.3 (item definitions) and 10.3.2.9.4 (a list of one is its element where one value is wanted).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from lxml import etree

from gateway.rules.dmn.xml import children, name_of, text_of
from gateway.rules.feel.builtins import text_of as feel_text
from gateway.rules.feel.nodes import Environment, Node, run
from gateway.rules.feel.parser import compile_unary
from gateway.rules.feel.values import Function, Months, kind, read_temporal

BASE = {
    "string": "string", "number": "number", "boolean": "boolean", "date": "date", "time": "time",
    "dateTime": "date and time", "date and time": "date and time", "dayTimeDuration": "days and time duration",
    "days and time duration": "days and time duration", "yearMonthDuration": "years and months duration",
    "years and months duration": "years and months duration",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Type:
    """One item definition."""

    base: str = ""
    many: bool = False
    fields: Mapping[str, Type] = field(default_factory=dict)
    allowed: Node | None = None


def read_types(root: etree._Element) -> dict[str, Type]:
    """The item definitions of a model by name."""
    return {name_of(each): _read(each) for each in children(root, "itemDefinition")}


def _read(element: etree._Element) -> Type:
    reference = next(iter(children(element, "typeRef")), None)
    allowed = next(iter(children(element, "allowedValues")), None)
    function = children(element, "functionItem")
    text = text_of(allowed) if allowed is not None else ""
    return Type(
        base="function" if function else plain_name((reference.text or "") if reference is not None else ""),
        many=element.get("isCollection") == "true",
        fields={name_of(each): _read(each) for each in children(element, "itemComponent")},
        allowed=compile_unary(text, frozenset()) if text else None,
    )


def plain_name(reference: str) -> str:
    """A type reference without its prefix (`feel:number`, `{namespace}number`)."""
    return reference.strip().rpartition("}")[2].rpartition(":")[2]


def names_of(types: Mapping[str, Type]) -> set[str]:
    """The names of all components, for paths with spaces."""
    found: set[str] = set()
    for each in types.values():
        found |= each.fields.keys() | names_of(each.fields)
    return found


def conform(value: Any, wanted: Type | None, types: Mapping[str, Type], depth: int = 0) -> Any:
    """The value where it bears the type (a list of one unwrapped), else null."""
    if value is None or wanted is None or depth > 40:
        return value
    if wanted.many:
        items = value if isinstance(value, list) else [value]
        single = Type(wanted.base, False, wanted.fields, wanted.allowed)
        found = [conform(item, single, types, depth + 1) for item in items]
        return None if any(a is None and b is not None for a, b in zip(found, items, strict=True)) else found
    if isinstance(value, list) and len(value) == 1 and not _is_list(wanted, types):
        value = value[0]
    result = _bear(value, wanted, types, depth)
    if wanted.allowed is not None and run(wanted.allowed, Environment({"?": result})) is not True:
        return None
    return result


def _is_list(wanted: Type, types: Mapping[str, Type]) -> bool:
    return wanted.base in types and (types[wanted.base].many or _is_list(types[wanted.base], types))


def _bear(value: Any, wanted: Type, types: Mapping[str, Type], depth: int) -> Any:
    if wanted.fields:
        if not isinstance(value, dict):
            return None
        found = {key: conform(each, wanted.fields.get(key), types, depth + 1) for key, each in value.items()}
        return (
            None
            if any(found[key] is None and value[key] is not None for key in wanted.fields if key in value)
            else found
        )
    if wanted.base in types:
        return conform(value, types[wanted.base], types, depth + 1)
    expected = BASE.get(wanted.base)
    if wanted.base == "function":
        return value if isinstance(value, Function) else None
    return value if expected is None or kind(value) == expected else None


def of_json(value: Any, wanted: Type | None, types: Mapping[str, Type]) -> Any:
    """A JSON value as FEEL: numbers become decimals, and texts of temporal type become temporal."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float | Decimal):
        return Decimal(str(value))
    resolved = wanted
    for _ in range(40):
        if resolved is None or resolved.base not in types or resolved.fields:
            break
        base = types[resolved.base]
        resolved = Type(base.base, base.many or resolved.many, base.fields)
    if isinstance(value, list):
        single = Type(resolved.base, False, resolved.fields) if resolved else None
        return [of_json(item, single, types) for item in value]
    if isinstance(value, dict):
        fields = resolved.fields if resolved else {}
        return {key: of_json(each, fields.get(key), types) for key, each in value.items()}
    if resolved is not None and BASE.get(resolved.base, "string") not in ("string", "number", "boolean"):
        return read_temporal(value)
    return value


def to_json(value: Any) -> Any:
    """A FEEL value as JSON: exact numbers (int or Decimal), ISO text for what is temporal; functions are null."""
    if isinstance(value, Decimal):
        return int(value) if abs(value) < 10**15 and value == value.to_integral_value() else value
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(each) for key, each in value.items()}
    if isinstance(value, date | datetime | time | timedelta | Months):
        return feel_text(value)
    return value if value is None or isinstance(value, bool | str) else None
