"""The OpenAPI 3.0 document of the edge, made from the same table as its routes (nothing served is missing in it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FHIR_TYPES = ("application/fhir+json", "application/fhir+xml")
STATUSES = {
    "200": "done",
    "201": "created",
    "204": "deleted",
    "304": "not changed",
    "400": "not readable",
    "401": "not authenticated",
    "403": "not allowed",
    "404": "not found",
    "406": "no such form",
    "408": "too slow",
    "409": "known key, other content",
    "412": "another version, or prefetch missing",
    "413": "too large",
    "415": "not a form served here",
    "422": "breaks a rule",
    "503": "our servers do not answer; try again later",
}
FAILURES = ("400", "401", "403", "406", "408", "413", "415", "422", "503")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One documented route."""

    method: str
    path: str
    summary: str
    answers: Sequence[str]
    body: str = ""
    """`fhir`, `form`, `json` or none."""
    open: bool = False
    """Served without credentials."""
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Schemas of its query parameters, none of which is needed."""


def document(operations: Sequence[Operation], base_url: str) -> dict[str, Any]:
    """The document for these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.0.3",
        "info": {"title": "FHIR edge", "version": "1", "description": "Da Vinci PAS, FHIR R4 intake, CDS Hooks"},
        "servers": [{"url": base_url}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Resource": {
                    "type": "object",
                    "required": ["resourceType"],
                    "properties": {"resourceType": {"type": "string"}},
                }
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": [*_parameters(operation.path), *_query(operation.query)],
        "responses": {status: _response(status, operation) for status in operation.answers},
        "security": [] if operation.open else [{"bearer": []}],
    }
    if operation.body:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    return described


def _parameters(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    pattern = {"type": "string", "pattern": "^[A-Za-z0-9.-]{1,64}$"}
    return [{"name": name, "in": "path", "required": True, "schema": pattern} for name in names]


def _query(query: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, "in": "query", "required": False, "schema": dict(schema)} for name, schema in query.items()]


def _content(body: str) -> dict[str, Any]:
    if body == "form":
        fields = ("grant_type", "scope", "client_assertion_type", "client_assertion")
        properties = {name: {"type": "string"} for name in fields}
        schema = {"type": "object", "required": list(fields), "properties": properties}
        return {"application/x-www-form-urlencoded": {"schema": schema}}
    if body == "json":
        return {"application/json": {"schema": {"type": "object"}}}
    return {"application/fhir+json": {"schema": {"$ref": "#/components/schemas/Resource"}}}


def _response(status: str, operation: Operation) -> dict[str, Any]:
    if status in {"204", "304"}:
        return {"description": STATUSES[status]}
    resource = {"$ref": "#/components/schemas/Resource"}
    plain: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    fhir = {kind: {"schema": resource if kind.endswith("json") else {}} for kind in FHIR_TYPES}
    own_form = operation.body in {"form", "json"} or (operation.open and not operation.path.endswith("metadata"))
    content = plain if own_form and status == "200" else {**fhir, **(plain if operation.body == "form" else {})}
    return {"description": STATUSES[status], "content": content}
