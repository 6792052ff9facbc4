"""The shape of every R4 type, read once from the R4B models: what JSON and XML need to become each other.

XML drops what JSON says by itself: which elements repeat, which values are numbers or booleans, which child is a
resource. JSON drops the order XML demands. Both come from here.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from pydantic import BaseModel

RESOURCE = "Resource"
"""Type name of an element that holds any resource."""
XHTML = "Xhtml"
_SKIPPED = frozenset({"fhir_comments", "resource_type"})


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a type, under its JSON name."""

    type: str
    """A type name (`HumanName`, `ClaimItem`) or, for primitives, the primitive's (`Boolean`, `DateTime`)."""
    many: bool
    primitive: bool


def model(type_name: str) -> type[BaseModel] | None:
    """The R4B model class of a type; None when R4 has no such type."""
    if not type_name.isalnum():
        return None
    models = import_module("fhir.resources.R4B")
    try:
        found: type[BaseModel] = models.get_fhir_model_class(type_name)
    except (ValueError, LookupError, AttributeError):
        return None
    return found


@cache
def is_resource(type_name: str) -> bool:
    """Is this the name of a concrete R4 resource?"""
    found = model(type_name)
    if found is None or type_name in {"Resource", "DomainResource"}:
        return False
    return any(base.__name__ == "Resource" for base in found.__mro__)


@cache
def elements(type_name: str) -> dict[str, Element]:
    """Elements of a type in XML order; empty for an unknown type. `_name` companions are not listed."""
    found = model(type_name)
    if found is None:
        return {}
    shapes = {
        str(field.alias or name): _element(field.annotation, field.metadata)
        for name, field in found.model_fields.items()
        if name not in _SKIPPED and not name.endswith("__ext")
    }
    order: list[str] = found.elements_sequence()  # type: ignore[attr-defined]
    names = [name for name in order if name in shapes]
    return {name: shapes[name] for name in names + [name for name in shapes if name not in order]}


def _element(annotation: Any, metadata: list[Any]) -> Element:
    many = False
    names = [type(item).__name__ for item in metadata]
    stack = [annotation]
    while stack:
        current = stack.pop()
        origin = typing.get_origin(current)
        if origin is list:
            many = True
        if origin is typing.Annotated:
            names += [type(item).__name__ for item in current.__metadata__]
            stack.append(current.__origin__)
        elif origin is not None:
            stack.extend(typing.get_args(current))
        else:
            names.append(getattr(current, "__name__", ""))
    complex_name = next((name for name in names if name.endswith("Type") and name != "NoneType"), None)
    if complex_name:
        return Element(complex_name.removesuffix("Type"), many, primitive=False)
    kind = next((name for name in names if name not in {"NoneType", "FieldInfo", "str", ""}), "String")
    return Element(kind, many, primitive=True)
