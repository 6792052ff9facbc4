"""Is a resource surely sound? A quick yes from tables compiled of the R4B models; anything else, the models decide.

Building model objects to throw them away is most of the work of reading a sound resource, and nearly all are sound.
This only looks: elements known, of the right shape, required ones there, one of each choice, primitives accepted by
the models' own types. It is never more lenient than the models (structure.py) and may be stricter where that is rare:
ids without values, nulls and empty lists go the long way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from adapters.fhir.wire.json_shape import right_json_type
from adapters.fhir.wire.schema import RESOURCE, Element, elements, is_resource, model

Check = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class _Type:
    """What an object of a type must be like: a check per element, names that must be there, choices of names."""

    checks: dict[str, Check]
    required: tuple[str, ...]
    choices: dict[str, str]
    """By name: the choice (`value[x]`) of which it is one; of each, one name may be there."""
    chosen: frozenset[str]
    """Choices of which one must."""

    def accepts(self, value: dict[str, Any]) -> bool:
        """Whether every element is as it should be and none is missing."""
        checks = self.checks
        for name, child in value.items():
            check = checks.get(name)
            if check is None or not check(child):
                return False
        if not all(name in value for name in self.required):
            return False
        found = [self.choices[name] for name in value if name in self.choices] if self.choices else []
        return len(found) == len(set(found)) and self.chosen.issubset(found)


def is_sound(resource: dict[str, Any]) -> bool:
    """True: the models accept it and FHIR JSON's own rules hold. False: look closely."""
    kind = resource.get("resourceType")
    if not (isinstance(kind, str) and is_resource(kind) and len(resource) > 1):
        return False
    try:
        return _type(kind).accepts(resource)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
        return False


@cache
def _type(name: str) -> _Type:
    found = model(name)
    if found is None:
        raise LookupError(name)
    fields = {str(field.alias or key): field for key, field in found.model_fields.items()}
    shapes = elements(name)
    checks = {element: _check(shape, fields[element]) for element, shape in shapes.items()}
    single = (element for element, shape in shapes.items() if shape.primitive and not shape.many)
    checks |= {f"_{element}": _companion for element in single if f"_{element}" in fields}
    if is_resource(name):
        checks["resourceType"] = lambda value: bool(value == name)
    choices: dict[str, str] = {}
    must: set[str] = set()
    for element in shapes:
        extra = _extra(fields[element])
        if choice := extra.get("one_of_many"):
            choices[element] = choice
            if extra.get("one_of_many_required"):
                must.add(choice)
    required = tuple(
        element
        for element in shapes
        if fields[element].is_required() or _extra(fields[element]).get("element_required")
    )
    return _Type(checks, required, choices, frozenset(must))


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _check(shape: Element, field: FieldInfo) -> Check:
    one = _primitive(shape, field) if shape.primitive else _object(shape.type)
    if not shape.many:
        return one
    return lambda value: isinstance(value, list) and bool(value) and all(map(one, value))


def _primitive(shape: Element, field: FieldInfo) -> Check:
    annotation: Any = field.annotation
    accepts = TypeAdapter(annotation).validator.isinstance_python
    if shape.many:  # the annotation is of the whole list
        return lambda value: right_json_type(value, shape.type) and accepts([value])
    return lambda value: right_json_type(value, shape.type) and accepts(value)


def _object(type_name: str) -> Check:
    if type_name == RESOURCE:
        return lambda value: isinstance(value, dict) and is_sound(value)
    # The table is looked up when it is first needed: types contain each other.
    return lambda value: isinstance(value, dict) and bool(value) and _type(type_name).accepts(value)


_companion: Check = _object("FHIRPrimitiveExtension")
