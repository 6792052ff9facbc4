"""Structure of any R4 resource by the R4B models, with FHIRPath expressions and no echo of content.

The models differ from R4 4.0.1 only in resources nobody sends here (evidence, subscription topics, medication
definitions). They do not check terminology; profile rules are code in pas_rules.py.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from pydantic import ValidationError

from adapters.fhir.wire.json_shape import shape_issues
from adapters.fhir.wire.schema import is_resource, model
from adapters.fhir.wire.soundness import is_sound
from gateway.core.errors import Issue

MOST = 50
"""Issues reported at most: an answer is for a person to read."""

TEXTS = {
    "extra_forbidden": ("structure", "R4 has no such element here"),
    "missing": ("required", "a required element is missing"),
    "value_error": ("value", "the value breaks its type's format"),
    "list_type": ("structure", "a list expected"),
    "model_type": ("structure", "an object expected"),
    "dict_type": ("structure", "an object expected"),
}
"""Model error kinds → our issue code and text; `…_type` and `…_parsing` of primitives fall to "value"."""


def structure_issues(resource: Any, path: str = "") -> list[Issue]:
    """Check a resource against its R4B model; `path` prefixes the expressions. Empty when sound."""
    name = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(name, str) or not is_resource(name):
        return [Issue("structure", path, "not a FHIR R4 resource")]
    return [] if is_sound(resource) else model_issues(resource, name, path or name)


def model_issues(resource: dict[str, Any], name: str, path: str) -> list[Issue]:
    """What JSON's rules and the model of the resource type say: slower than the quick look, and exact."""
    misshapen = list(islice(shape_issues(resource, name, path), MOST))
    if misshapen:
        return misshapen
    found = model(name)
    assert found is not None  # noqa: S101  # is_resource said so
    try:
        found.model_validate(resource)
    except ValidationError as error:
        rows = error.errors(include_url=False, include_context=False, include_input=False)
        return [_issue(row["type"], row["loc"], path) for row in rows[:MOST]]
    except (AttributeError, KeyError, LookupError, RecursionError, TypeError, ValueError):
        return [Issue("structure", path, "the resource does not follow R4")]
    return []


def _issue(kind: str, location: tuple[int | str, ...], path: str) -> Issue:
    code, text = TEXTS.get(kind, ("value", "the value has the wrong type"))
    # The models' own words (root models, unions) are no elements; FHIR element names are letters and digits.
    steps = [step for step in location if isinstance(step, int) or (step.lstrip("_").isalnum() and step != "root")]
    if kind == "extra_forbidden" and steps:
        steps = steps[:-1]  # the name itself was sent to us; only known names are repeated
    return Issue(code, path + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps), text)
