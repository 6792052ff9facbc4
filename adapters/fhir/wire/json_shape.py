"""What FHIR JSON demands beyond JSON (R4 2.6.2), which the models let pass: no empty value, no null, exact types.

Null is legal only in a list of primitives beside its `_name` companion. Unknown elements are left to the models. An
empty list is read as absence: many serializers write one.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from adapters.fhir.wire.schema import RESOURCE, Element, elements, is_resource
from gateway.core.errors import Issue

INTEGERS = frozenset({"Integer", "PositiveInt", "UnsignedInt", "Integer64"})


def shape_issues(value: dict[str, Any], type_name: str, path: str) -> Iterator[Issue]:
    """Issues of an object of this type and of all below it."""
    shapes = elements(type_name)
    if not any(name != "resourceType" for name in value) and type_name not in ("Parameters", RESOURCE):
        yield Issue("structure", path, "an object may not be empty")
    for name, child in value.items():
        where = f"{path}.{name.removeprefix('_')}"
        shape = shapes.get(name)
        if name.startswith("_") and name[1:] in shapes:
            yield from _companions(child, shapes[name[1:]], where)
        elif shape is not None:
            yield from _members(child, shape, where, aligned=f"_{name}" in value)


def _members(child: Any, shape: Element, path: str, *, aligned: bool) -> Iterator[Issue]:
    if not shape.many:
        yield from _one(child, shape, path)
    elif not isinstance(child, list):
        yield Issue("structure", path, "a list expected")
    else:
        for number, member in enumerate(child):
            if not (member is None and aligned and shape.primitive):
                yield from _one(member, shape, f"{path}[{number}]")


def _one(value: Any, shape: Element, path: str) -> Iterator[Issue]:
    if shape.primitive:
        if not right_json_type(value, shape.type):
            yield Issue("value", path, "the value has the wrong JSON type, or is empty")
        return
    if not isinstance(value, dict):
        yield Issue("structure", path, "an object expected")
        return
    kind = value.get("resourceType") if shape.type == RESOURCE else shape.type
    if shape.type == RESOURCE and not (isinstance(kind, str) and is_resource(kind)):
        yield Issue("structure", path, "not a FHIR R4 resource")
    else:
        yield from shape_issues(value, str(kind), path)


def _companions(child: Any, shape: Element, path: str) -> Iterator[Issue]:
    for member in child if shape.many and isinstance(child, list) else [child]:
        if isinstance(member, dict):
            yield from shape_issues(member, "Element", path)
        elif not (shape.many and member is None):
            yield Issue("structure", path, "an object expected")


def right_json_type(value: Any, type_name: str) -> bool:
    """Whether a primitive of this type is written as FHIR JSON writes it, and not empty."""
    if type_name == "bool":
        return isinstance(value, bool)
    if type_name in INTEGERS:
        return isinstance(value, int) and not isinstance(value, bool)
    if type_name == "Decimal":
        return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return isinstance(value, str) and bool(value.strip())
