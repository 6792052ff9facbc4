"""Payers' PAS answers, read with tolerance: a Bundle, or Parameters with `return` or (examples) `responseBundle`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapters.fhir.wire import FHIR_JSON, parse
from gateway.core.errors import MalformedMessage

RETURNS = ("return", "responseBundle")


def claim_responses(data: bytes, content_type: str = FHIR_JSON) -> list[dict[str, Any]]:
    """The PAS Response Bundles of an answer or notification, in order; a lone ClaimResponse is wrapped.

    Raises MalformedMessage for anything that is none of these (an OperationOutcome, a page of a proxy).
    """
    resource = parse(data, content_type)
    kind = resource.get("resourceType")
    if kind == "Parameters":
        rows = resource.get("parameter")
        found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return _answers(row.get("resource") for row in found if row.get("name") in RETURNS)
    if kind == "Bundle" and resource.get("type") == "history":
        return _answers(_inside(resource))
    if _is_answer(resource):
        return [resource]
    if kind == "ClaimResponse":
        return [{"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource}]}]
    raise MalformedMessage("the answer is neither a Bundle with a ClaimResponse nor Parameters")


def _answers(resources: Iterable[Any]) -> list[dict[str, Any]]:
    return [resource for resource in resources if _is_answer(resource)]


def _inside(bundle: dict[str, Any]) -> list[Any]:
    rows = bundle.get("entry")
    return [row.get("resource") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _is_answer(resource: Any) -> bool:
    if not isinstance(resource, dict) or resource.get("resourceType") != "Bundle":
        return False
    return any(isinstance(inner, dict) and inner.get("resourceType") == "ClaimResponse" for inner in _inside(resource))
